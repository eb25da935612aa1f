//go:build !linux

package backend

import "unsafe"

// reserve takes memory from Go's heap, which release leaves to the garbage
// collector.
func reserve(bytes int) (memory []byte, release func(), err error) {
	words := make([]uint64, (bytes+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), bytes), func() {}, nil
}
