package report

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// link leads to a file of the run's folder.
type link struct{ text, address, after string }

// links is a list of them.
type links struct{ items []link }

// command is a line for a shell, with a name that the page's links lead to.
type command struct{ id, text string }

// commands are such lines.
type commands struct{ items []command }

// address is a file's URL, relative to the run's folder; "" where the name
// leads out of it.
func address(name string) string {
	if name == "" || !filepath.IsLocal(filepath.FromSlash(name)) {
		return ""
	}
	return (&url.URL{Path: path.Clean(name)}).String()
}

// quoted is one word for a shell.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:,./-_=+@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// cellCommand runs a cell again: with the experiment as the folder has it, the
// rest of the grid left out. The unquantized model is asked alone.
func (r *run) cellCommand(rec *harness.Record) string {
	if r.spec == nil {
		return ""
	}
	if rec.Method != harness.MethodFP {
		return fmt.Sprintf("./tlq ablate FOLDER/%s --cell %s", harness.SpecFile, quoted(rec.Cell()))
	}
	return fmt.Sprintf("./tlq eval --model %s --tasks %s --split %s --limit %d", quoted(rec.Model), quoted(strings.Join(r.spec.Tasks, ",")), r.spec.Split, r.spec.Limit)
}

// cellID names a cell's command in the page.
func cellID(i int) string { return fmt.Sprintf("cell-%d", i+1) }

// cellCommands lists the command of every cell.
func (r *run) cellCommands() commands {
	var out commands
	for i := range r.records {
		if text := r.cellCommand(&r.records[i]); text != "" {
			out.items = append(out.items, command{cellID(i), text})
		}
	}
	return out
}

// linkedCells is the table of cells for the page: with links from each cell to its answers
// and to its command.
func (r *run) linkedCells(cells *display.Table) *display.Table {
	t := &display.Table{Caption: cells.Caption, Columns: append(slices.Clone(cells.Columns), "answers", "command"), Links: map[[2]int]string{}}
	for i, row := range cells.Rows {
		rec := &r.records[i]
		answers, below := none, none
		if to := address(rec.Samples); to != "" && rec.Status == harness.StatusOK {
			answers, t.Links[[2]int{i, len(row)}] = "answers", to
		}
		if r.cellCommand(rec) != "" {
			below, t.Links[[2]int{i, len(row) + 1}] = "below", "#"+cellID(i)
		}
		t.Rows = append(t.Rows, append(slices.Clone(row), answers, below))
	}
	return t
}

// fileLinks says what lies beside the page.
func (r *run) fileLinks(s *sheets) links {
	out := links{[]link{
		{tablesDir + "/" + costsFile + ".md", tablesDir + "/" + costsFile + ".md", ": time and memory per method. They differ between runs that are otherwise the same, and so are not on this page."},
		{ClaimsFile, ClaimsFile, ": every comparison as a claim by KL, NLL and accuracy, shown, refuted or undecidable; tables/claims.csv has the n that it would take."},
		{harness.RecordsFile, harness.RecordsFile, ": every cell, with the hashes of its weights, data and experiment."},
	}}
	what := map[string]string{
		"grid": "methods over the whole grid", "grid-tasks": "methods on each task over the whole grid", "leaders": "who is ahead in each setting", "summary": "methods and formats", "comparisons": "methods against each other",
		"claims": "every claim with all that is known of it", "accuracy": "accuracy by task", "tasks": "all measures by task", "cells": "every cell, with the command that runs it again", "premise": "the premise of each model",
	}
	for _, x := range s.list() {
		if text := what[x.name]; text != "" {
			base := tablesDir + "/" + x.name
			out.items = append(out.items, link{base + ".csv", base + ".csv", fmt.Sprintf(": %s; as %s.md and .tex too", text, x.name)})
		}
	}
	return out
}
