package main

import (
	"fmt"

	"github.com/tlqlab/tlqlab/harness"
)

// commands is the table of all commands, in the order in which help shows them.
var commands []entry

func init() {
	// Filled here, not where it is declared, because help reads it.
	commands = []entry{
		{name: "fidelity", args: "MODEL [--sites A,B]", summary: "surrogate fidelity: does an objective rank candidates as the true loss does"},
		{name: "diff", args: "RUN1 RUN2", summary: "what changed between two runs"},
		{name: "conform", args: "models|algorithms DIR...", summary: "compare with fixture folders"},
		{name: "worker", args: "--join URL", summary: "a calibration worker"},
		{name: "export", args: "--to FORMAT MODEL -o DIR", summary: "write quantized weights in another tool's format"},
	}
}

// nearestHint is "; did you mean X?" where a valid name is near.
func nearestHint(name string, valid []string) string {
	if near := harness.Nearest(name, valid); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
