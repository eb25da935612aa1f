package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documented are the commands in a document's code spans.
var documented = regexp.MustCompile("`\\./tlq ([^`]*)`")

// TestReproduceCommandsParse checks that every command of docs/reproduce.md is one that the
// program takes: name, options and number of arguments.
func TestReproduceCommandsParse(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "reproduce.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := documented.FindAllStringSubmatch(string(data), -1)
	if len(found) < 25 {
		t.Fatalf("%d commands: expected those of every document", len(found))
	}
	for _, m := range found {
		args := strings.Fields(m[1])
		e, ok := find(args[0])
		if args = args[1:]; ok && len(e.sub) > 0 {
			ok = false
			for i := range e.sub {
				if len(args) > 0 && e.sub[i].name == e.name+" "+args[0] {
					e, args, ok = &e.sub[i], args[1:], true
					break
				}
			}
		}
		if !ok || e.new == nil {
			t.Errorf("%s: no such command", m[1])
			continue
		}
		cmd := e.new()
		fs := flag.NewFlagSet(e.name, flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		cmd.Flags(fs)
		rest, err := parse(fs, args)
		if err == nil {
			err = cmd.Validate(rest)
		}
		if err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
}
