// Package report turns a run's folder into something to read: report.html and
// report.md, figures as PNG and SVG, tables as CSV.
//
// [Build] reads records.jsonl and the artifacts beside it, nothing else, and
// writes
//
//	report.html     one file, figures inside; needs no network and no script
//	report.md       the same text and tables, figures linked
//	figures/*.png   and .svg
//	tables/*.csv    every number of the tables with all its digits
//	tables/*.md     the tables for a README
//	tables/*.tex    the tables for a paper
//	tables/costs.*  time and memory per method: the only file that may differ
//	                between runs that are the same, and so not on the page
//	claims.json     every comparison by KL, NLL and accuracy as a claim with its 13
//	                fields, in two families: "methods" in each setting and, where a
//	                run has several, "grid" over all of them (model and format "all");
//	                tables/claims.csv has the rest, such as the n that it would take
//
// The page links each cell to its answers in samples/ and gives the command that
// runs it alone; [harness.PremiseFile] is a section of its own, and a premise's
// report in a folder of the run's is summed up and linked.
//
// A run of many settings is shown by a choice: curves and token importance of one
// method in each model's first format, answers that flip in one format a model;
// long tables are folded. Error over depth is drawn in every setting.
//
// The figures and the summary are functions of records and artifacts as well,
// for notebook cells: [AccuracyKept], [AccuracyByBits], [Divergence],
// [AlphaCurves], [Importance], [ErrorGrowth], [Summary].
//
// # What is said and when
//
// No sentence is fixed beforehand: which method is ahead, by how much, and
// whether that is noise follow from the numbers. The primary measure is the KL
// divergence to the unquantized model's answers, then the answers' negative
// log-likelihood, then accuracy. Methods are compared question by question;
// everything is compared with "rtn" and with "tlq", or with the first and the
// last method where these are missing. Holm's correction runs over all
// comparisons of a measure in the run, its p being the bootstrap's or, where no
// resampled mean lies beyond 0, that of the normal tail, and a difference whose interval holds 0
// is called undecided, with the number of questions that it would take.
//
// # The whole grid
//
// Where several settings have the same methods, seeds and questions, the run is
// taken as one: a method's KL in a setting is divided by the baseline's, NLL is
// taken above the unquantized model's, accuracy is divided by the unquantized
// one, and each setting counts once. The settings are fixed, so that what is
// said speaks of these models and formats; questions and calibration seeds are
// resampled, the same ones in all settings at once. Ratios of means are
// linearized (the delta method).
//
// # Intervals
//
// One calibration seed: the record's own, a bootstrap clustered by picture or
// concept. Several seeds: [eval.BootstrapCrossed] over the per-question
// answers. Where those are missing, a normal approximation from the records,
//
//	SE² = (mean over seeds of the bootstrap's SE)² + (variance over seeds)/seeds
//
// whose first term does not shrink with seeds, since all of them answer the
// same questions. Accuracy kept is accuracy ÷ unquantized accuracy; its interval
// is the paired difference's, divided by the unquantized accuracy, so that it
// excludes 100% exactly when the difference's excludes 0.
//
// Two runs that are the same ([harness.SameRun]) and report the same events
// have byte-identical reports: nothing but tables/costs.* carries a time, a
// duration or a folder's name.
package report
