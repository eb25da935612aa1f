package main

import (
	"fmt"

	"github.com/tlqlab/tlqlab/internal/nearest"
)

// revision is the source's version, set by the root script when it builds;
// without it records take the build's own.
var revision string

// commands lists all commands in the order in which help shows them.
var commands = []entry{
	{
		name: "ablate", args: "[SPEC] [-o DIR] [--smoke] [--plan] [--workers N] [--seeds N] [--limit N] [--cell NAME]",
		summary: "run an experiment and report on it; SPEC is a file or a built-in name: paper (default), formats, decisive, stress, tokens, exposure, methods, fidelity",
		new:     func() command { return &ablate{} },
	},
	{name: "report", args: "DIR [--results SCHEMA]", summary: "rebuild tables, figures and report.html from DIR/records.jsonl", new: func() command { return &rebuild{} }},
	{
		name: "quantize", args: "--model M --method X --format F [--set KEY=VALUE]... [--calib NAME] [--samples N] [--seed N] -o DIR",
		summary: "write a quantized model: dequantized weights and a manifest", new: func() command { return &quantize{} },
	},
	{name: "eval", args: "--model M [--model M2] [--tasks A,B] [--limit N] [-o DIR]", summary: "score a model, or compare two", new: func() command { return &evaluate{} }},
	{name: "loss", args: "--model M --tokens FILE.safetensors[:NAME]", summary: "mean next-token loss and perplexity of token streams", new: func() command { return &loss{} }},
	{name: "generate", args: "--model M [--image FILE]... --prompt TEXT [--max-tokens N]", summary: "answer a prompt", new: func() command { return &generate{} }},
	{name: "inspect", args: "[--premise] MODEL", summary: "configuration, tensors, parameters, bytes, memory a calibration needs", new: func() command { return &inspect{} }},
	{
		name: "claims", args: "[decisive|stress|tokens|exposure|methods|text] [--tokens FILE.safetensors[:NAME]] [-o DIR] [--limit N] [--seeds N]",
		summary: "decide claims: which method is better than which other, over calibration seeds", new: func() command { return &claims{} },
	},
	{name: "fidelity", args: "MODEL [--sites A,B]", summary: "surrogate fidelity: does an objective rank candidates as the true loss does", new: func() command { return &fidelity{} }},
	{name: "diff", args: "RUN1 RUN2", summary: "what changed between two runs", new: func() command { return &difference{} }},
	{name: "train", args: "FAMILY-SCALE [--seed N] -o DIR", summary: "train a model of the zoo, resumable and reproducible", new: func() command { return &trainModel{} }},
	{name: "data", summary: "the packs and tasks", sub: []entry{
		{name: "data list", summary: "tasks, pictures, calibration sets", new: func() command { return &dataList{} }},
		{name: "data show", args: "[TASK]...", summary: "a contact sheet of examples", new: func() command { return &dataShow{} }},
		{name: "data build", args: "[TARBALL]...", summary: "make the packs again from the npm packages that they were made of", new: func() command { return &dataBuild{} }},
	}},
	{name: "methods", args: "[NAME]", summary: "the table of methods with papers and settings, or all settings of one", new: func() command { return &methods{} }},
	{name: "conform", args: "models|algorithms DIR...", summary: "compare with fixture folders", new: func() command { return &compareFixtures{} }},
	{name: "notebook", summary: "notebooks", sub: []entry{
		{name: "notebook run", args: "[-o DIR] [FILE]...", summary: "execute notebooks without Jupyter (default all)", new: func() command { return &notebookRun{} }},
		{name: "notebook open", args: "[FILE]", summary: "start Jupyter with the checkout's kernel", new: func() command { return &notebookOpen{} }},
		{name: "notebook install", summary: "build the kernel", new: func() command { return &notebookInstall{} }},
	}},
	{name: "devices", summary: "accelerators, memory, what would run where", new: func() command { return &listDevices{} }},
	{name: "worker", args: "--join URL", summary: "a calibration worker"},
	{name: "export", args: "--to FORMAT MODEL -o DIR", summary: "write quantized weights in another tool's format"},
}

// nearestHint is "; did you mean X?" where a valid name is near.
func nearestHint(name string, valid []string) string {
	if near := nearest.Name(name, valid); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
