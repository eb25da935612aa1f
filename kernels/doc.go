// Package kernels holds the numerical work on plain slices that the calibration
// engine spends its time in: rounding weights and activations to a grid, scaling
// columns, reducing errors over tokens.
//
// Matrices are row-major slices with their sizes given beside them. Functions
// panic with a message that starts with "kernels:" when lengths do not fit, for
// that is a programmer's error; they never allocate unless they say so, and a
// row's result depends on that row alone, so that any number of threads gives the
// same bits.
package kernels
