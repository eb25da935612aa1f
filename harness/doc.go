// Package harness turns an experiment that is written down as data into
// results that can be checked.
//
//	Spec ──► Plan ──► Run ──► Records + artifacts ──► tables, figures, cells
//
// A [Spec] is JSON. [NewPlan] expands it into stages, each with a key that
// hashes everything the stage depends on, and touches no weights. [Plan.Run]
// executes the stages, keeps every artifact in a content-addressed [Store] and
// writes one [Record] per cell of the grid. Whatever is shown later reads
// records and artifacts only.
//
// # A run's folder
//
//	spec.json          the Spec as it was run, defaults filled in
//	records.jsonl      one Record per line, in the order of the grid
//	samples/*.jsonl    one [eval.Sample] per question, named by Record.Samples
//	artifacts/*.json   one [Trace] per calibrated cell, one [TokenMap] per
//	                   model and method that weights tokens
//	artifacts/*.png    the picture that a TokenMap speaks of
//
// Paths inside a Record are relative to that folder and use forward slashes.
// Nothing in the folder carries a time of day, so that two runs of one Spec
// differ in seconds, peak_bytes, code and events only ([SameRun]).
package harness
