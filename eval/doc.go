// Package eval scores vision-language models on questions and compares the
// scores with paired statistics.
//
// Every score belongs to one question first (a [Sample]); tables, intervals
// and tests are made from samples, never from other tables. A quantized model
// and the unquantized one answer the same questions, so differences are taken
// question by question and the questions' own difficulty cancels.
//
// [NewQuestion] tokenizes an example, [Ask] puts a batch of questions to a
// model, [Summarize] and [Compare] read the samples.
//
// # What is measured
//
//   - accuracy: the choice with the highest mean log-likelihood per answer
//     token wins ([Choose]); questions without choices are answered by greedy
//     generation and compared after normalization ([ExactMatch]).
//   - NLL: −ln p per token of the right answer, its end token included, in nats.
//   - KL: KL(unquantized ‖ quantized) in nats per answer token over the whole
//     vocabulary ([KL]). It moves long before an answer changes and is the
//     primary measure; accuracy decides little at a few thousand questions.
//   - agreement: the share of answer positions at which both models rank the
//     same token first.
//
// # How differences are judged
//
// Questions about one picture, table or concept are not independent, so
// intervals come from a bootstrap that draws whole clusters ([Bootstrap]),
// and over calibration seeds as well where there are several
// ([BootstrapCrossed], [SeedInterval]); other statistics than means go through [BootstrapOf]. Changed answers get McNemar's exact test ([McNemar]),
// families of comparisons Holm's correction ([Holm]). [Decide] turns an
// interval into one of three words: shown, refuted, or undecidable at this n,
// with the n that it would take.
//
// Sums run in float64 in sample order, randomness is a *rand.Rand argument:
// the same samples and seed give the same bits.
package eval
