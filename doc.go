// Package tlqlab is the root of TLQ Lab, a notebook kernel and research
// harness for post-training quantization of vision-language models. It holds no
// code; its tests keep the rules of the house: which package may import which,
// that everything exported is documented, and what no file may contain.
//
// From top to bottom, imports run only downwards:
//
//	notebooks, cmd/tlq   cells and the command line
//	harness              experiments: spec, plan, store, run, record, report
//	ptq, eval            the calibration engine; scores and paired statistics
//	models, datasets     vision-language models as graphs; pictures and questions
//	kernels              numbers on slices
//
// display, a leaf, shows figures and tables and is used by the first two rows.
package tlqlab
