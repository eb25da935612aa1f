// Package kernels holds the numerical work on plain slices that models and their
// calibration spend their time in: matrix products in single and double precision
// (also of packed operands, of few rows, in batches and on several threads), Gram
// matrices, factorizations, Hadamard transforms, elementary functions, softmax and
// norms, rounding to a grid. Assembly for AVX2 and FMA is chosen at run time; plain
// Go does the same elsewhere. kernels/bench measures it beside other libraries.
//
// Matrices are row-major slices with their sizes given beside them. Functions
// panic with a message that starts with "kernels:" when lengths do not fit, for
// that is a programmer's error; they never allocate unless they say so, and a
// row's result depends on that row alone, so that any number of threads gives the
// same bits.
package kernels
