// Package ptq is the calibration engine: formats, token importance and
// selection, the exposed layer-wise search, and methods as plain values.
//
// It reproduces TLQ (token-level importance-aware layer-wise quantization,
// arXiv:2602.07899) as a reconstruction, since the paper's body and code are not
// public, beside the methods that share its search. One engine serves all: a
// [Method] says which tokens count, on which path, what is searched and how
// weights are rounded.
//
// # Stages
//
// Each stage is a function of its inputs alone, and its result can be stored:
//
//	Calibration.Gradients       mean|dL/dy| of every token at the outputs of o_proj and down_proj
//	Calibration.Importance      the importance of every token at those sites
//	SelectTokens                the token-level calibration set: which tokens count, how much
//	Calibration.CalibrateLayer  search, fold, round, and advance both streams through one layer
//	QuantizeLayer               round a layer whose scales are folded
//
// # Conventions
//
// A weight W is [out, in], row-major; a linear layer is y = x·Wᵀ + b. Groups run
// along in. s is always the step, never its inverse, and a code is
// q = clamp(roundEven(w/s) + z), its value s·(q − z). Bits are those of one
// weight without scales; average bits count a 16-bit step per group and, in
// asymmetric formats, a zero point of as many bits as a weight.
//
// Tokens are rows. A token is a vision token, an answer token (the model's
// output there predicts a scored token) or other text. Two streams run through
// the layers: fp, the residual stream of the unquantized model, and exposed, that of
// the quantized model up to here.
//
// Sites name where linears read their input: qkv, o, gate_up, down. Token
// weights come from the gradient at the output of o_proj for qkv and o, of down_proj
// for gate_up and down, as in MBQ.
//
// # Methods and what the engine adds
//
// [Methods] lists the methods of the literature as published where the engine can follow
// them, and says where it does not; docs/methods restates each. A method at a format that it
// was not published for (SmoothQuant at a16, AWQ and GPTQ with rounded activations) is
// what its settings say. Settings combine: TLQ's scales with GPTQ's rounding is
// tlq with rounding.kind=gptq, and needs no code.
//
// Importances that depend on the layers calibrated before (QIG's integrated gradients,
// RSQ's scores, VLMQ's block errors, and everything under Tokens.Refresh) have no stage of
// their own: SelectTokens then only prepares a set, and each site's tokens are selected in
// front of its search and its rounding ([LateTokens]).
//
// GPTQ's Hessian is Σ a_t·x_t·xᵀ_t over the inputs of a group on the method's path,
// before they are rounded, with the weights of the token-level calibration set.
//
// # Scaling
//
// Scaling factors are s = max(mᵅ, 1e-4) / sqrt(max s · min s), with m the mean
// magnitude of each input channel; they divide activations and multiply weight
// columns.
//
// # Memory
//
// Layers come from the [Model] one at a time, and each is there as it is, rounded, and
// in scaled copies of the sites at work. What is kept of all samples lies in a [Spill]:
// both streams in front of a layer and behind it, the unquantized outputs that a search
// compares with, the inputs of its candidates. A pass takes one micro-batch per worker and
// lets the rest of them rest, so that the peak does not grow with the samples.
//
// # Order
//
// Sums over tokens are float64. Sums over samples are taken in sample order from
// per-sample values, so that no grouping into batches or workers changes a bit.
package ptq
