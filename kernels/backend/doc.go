// Package backend is a GoMLX backend in pure Go, registered as "tlq": an
// interpreter of compiled graphs over the assembly kernels of package kernels. It
// needs no cgo, no build flag and no download:
//
//	import _ "github.com/tlqlab/tlqlab/kernels/backend"
//	b, err := compute.NewWithConfig("tlq")
//
// or, where the environment says so, GOMLX_BACKEND=tlq. Graphs are ordinary GoMLX
// graphs; nothing in them is written for this backend. The number of threads is
// GOMAXPROCS; the only setting is a limit of memory, "tlq:memory=8GiB". Backends,
// executables and buffers may be used by several goroutines.
//
// # Execution
//
// A graph is planned once, when it is compiled, for its shapes.
//
//   - What no output needs is dropped, and what a graph says twice is computed once.
//     Reshapes, and transposes and broadcasts that
//     don't move values, are views. Broadcasts are read in place by arithmetic, and
//     what all its operands repeat is computed once. Products read through
//     transposes.
//   - Elementwise operations, reductions of rows and batched products that hand rows
//     to each other make a strip: it runs on a few rows at a time, so that
//     values between its operations stay in the cache and need no memory of their
//     own. Softmax, norms, activations and their gradients are found this way, however
//     a graph writes them, and an attention is one strip forward and one backward.
//     SiLU, GELU and RMS norm are recognised by their few nodes and run by one kernel,
//     which rounds where the nodes would.
//     Strips never change results,
//     for each operation does on its rows what it would do alone.
//   - Intermediate values get places by lifetime, in one stretch of memory and over
//     their operands where that is safe. Calls of all executables take turns with such
//     stretches: there are as many as there were calls at a time, and none after 20
//     seconds of rest. What a call returns is fresh memory that belongs to the
//     caller.
//
// Steps run one after the other. Each spreads its own work in pieces over at most
// GOMAXPROCS goroutines: the caller's, and helpers that all calls share. Nobody
// waits for a piece that has not begun, so that there is nothing to deadlock on. Where
// a piece begins and ends decides nothing: a row of a product, a reduction or an
// attention has the same bits however many rows are computed with it.
// Results are the same bytes for any GOMAXPROCS, in every run, on all machines
// with the same instruction set; machines without AVX2 round products and
// elementary functions differently.
//
// A call stops before its next step when its executable or the backend is
// finalized; GoMLX's interface has no other way to cancel one.
//
// # Fused operations
//
// FusedScaledDotProductAttention computes attention and its gradients from blocks of
// 96 rows of scores, so that nothing of the size of all scores is kept: causal, with
// boolean and additive masks, biases and lengths, with groups of heads. GoMLX gives
// gradients to queries, keys and values alone, so that masks and biases that depend
// on inputs by way of floating-point numbers are left to its own form.
//
// FusedSoftmax, FusedGelu and FusedLayerNorm are the nodes that GoMLX decomposes
// them into. A graph with gradients, which holds both forms, computes neither
// twice, and strips do the rest. FusedDense is not offered: GoMLX asks it for no
// activation in place of a sigmoid and others that the interface lacks, and
// a product with what follows it gains nothing from it.
//
// # Memory
//
// A graph is refused when it is compiled if its inputs, constants, intermediate values
// and results take more than the limit, and a call if its intermediate values do
// beside those of calls that run; the errors wrap [ErrMemory] and name what it
// needs, the limit and where that comes from: the setting, else the machine's
// memory or the control group's limit.
//
// # Numbers
//
// Float32 runs on vector kernels; see package kernels for their error bounds.
// Float64 and the integer types run in plain Go. Float16 and bfloat16 are stored as
// such; every operation widens its operands to float32 and rounds its result
// once, to nearest, halves to even. Sums over axes of floating-point numbers are
// taken in float64. NaN and infinities travel as IEEE 754 says; a maximum or
// minimum with NaN is NaN.
//
// Where GoMLX leaves a result open it is XLA's: integers wrap around; divided by
// zero they give −1, and the remainder is the dividend; shifts beyond the width give 0
// or the sign; conversions to integers cut off the fraction and take the nearest
// value where that does not fit, 0 for NaN; slices gathered beyond the border
// are moved to it, scattered ones left out. Random bits are Philox4x32-10's.
//
// # What is missing
//
// Complex numbers, types below a byte, dynamic shapes, functions and control flow,
// convolutions and windows, sorting, distribution and quantized products answer with
// compute.ErrNotImplemented, on which GoMLX falls back where it can;
// [Backend.Capabilities] lists what there is. Arrays have at most 16 axes.
//
// # Errors
//
// Operands that don't fit are refused while the graph is built, by operation and
// shapes; inputs that don't fit when they are given, by parameter. What goes
// wrong during a call is an error that names the operation. Nothing panics.
package backend
