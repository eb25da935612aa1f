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
//	claims.json     every comparison as [harness.ClaimVerdict], by KL, NLL and
//	                accuracy: what tlq claims writes, in one family
//
// The page links each cell to its answers in samples/ and gives the command that
// runs it alone; a premise.json in the folder, or in a folder of it, that is of
// one of the run's models is summed up and linked.
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
// comparisons of a measure in the run, and a difference whose interval holds 0
// is called undecided, with the number of questions that it would take.
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
