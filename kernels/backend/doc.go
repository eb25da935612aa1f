// Package backend is a GoMLX backend in pure Go, registered as "tlq": an
// interpreter of compiled graphs over the assembly kernels of package kernels. It
// needs no cgo, no build flag and no download:
//
//	import _ "github.com/tlqlab/tlqlab/kernels/backend"
//	b, err := compute.NewWithConfig("tlq")
//
// Graphs are ordinary GoMLX graphs; nothing in them is written for this backend.
// It takes no configuration: the number of threads is GOMAXPROCS. Backends,
// executables and buffers may be used by several goroutines.
//
// # Execution
//
// A graph is planned once, when it is compiled, for its shapes.
//
//   - What no output needs is dropped. Reshapes, and transposes and broadcasts that
//     don't move values, are views. Broadcasts are read in place by arithmetic, and
//     what all its operands repeat is computed once. Products read through
//     transposes.
//   - Elementwise operations, reductions of rows and batched products that hand rows
//     to each other make a strip: it runs on a few rows at a time, so that
//     values between its operations stay in the cache and need no memory of their
//     own. Softmax, norms, activations and their gradients are found this way, and an
//     attention is one strip forward and one backward. Strips never change results,
//     for each operation does on its rows what it would do alone.
//   - Memory of intermediate values is assigned to slots by lifetime, in place where
//     that is safe, and kept for the next call until the garbage collector takes
//     it. What a call returns is fresh memory that belongs to the caller.
//
// Steps run one after the other. Each spreads its own work in pieces over at most
// GOMAXPROCS goroutines: the caller's, and helpers that all calls share. Nobody
// waits for a piece that has not begun, so that there is nothing to deadlock on. Where a piece begins and ends decides nothing: a row of a product
// or a reduction has the same bits however many rows are computed with it.
// Results are the same bytes for any GOMAXPROCS, in every run, on all machines
// with the same instruction set; machines without AVX2 round products and
// elementary functions differently.
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
// convolutions and windows, sorting, distribution and GoMLX's fused operations
// answer with compute.ErrNotImplemented, on which GoMLX falls back where it can;
// [Backend.Capabilities] lists what there is. Arrays have at most 16 axes.
//
// # Errors
//
// Operands that don't fit are refused while the graph is built, by operation and
// shapes; inputs that don't fit when they are given, by parameter. What goes
// wrong during a call is an error that names the operation. Nothing panics.
package backend
