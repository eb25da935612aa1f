//go:build !amd64

package kernels

// useAVX2 is always false here: only amd64 has assembly routines.
var useAVX2 = false
