// Package algorithms compares the calibration engine with fixture folders: numbers
// that the public reference implementations of quantization methods computed on
// toy models and made-up weights.
//
// A folder holds cases.json, whose "method" names its kind, and safetensors files.
// Kinds that are compared: rtn, gptq and gptaq through package kernels; mbq, awq and
// smoothquant through the methods of that name in package ptq, run on the toy model
// as any other. Every tensor that a folder expects is compared; one that nothing
// compared is a failure. Tolerances are those that the fixtures state for float32
// arithmetic in the forward pass and float64 in the solver.
package algorithms
