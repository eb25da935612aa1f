// Package benchmarks reads the public benchmarks of vision-language models from local
// files as their hubs publish them: MMMU, TextVQA, VizWiz, ChartQA, OCRBench,
// ScienceQA and SEED, in Parquet or JSON.
//
// Prompts, accepted answers and the rules of scoring are those of lmms-eval
// (lmms_eval/tasks of 2025 and 2026), so that scores can be compared: every question is
// open, the model answers in its own words ([datasets.Example] without Choices), and
// package eval scores them by the example's Scoring.
//
// This package links a Parquet reader; keep it out of what notebook cells import.
package benchmarks
