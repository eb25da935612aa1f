package safetensors

import (
	"os"
	"syscall"
	"unsafe"
)

// restPages lets go of the whole pages inside data, a part of a read-only mapping of a
// file.
func restPages(data []byte) {
	if len(data) == 0 {
		return
	}
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(&data[0]))
	skip := (page - start%page) % page
	if uintptr(len(data)) < skip+page {
		return
	}
	whole := (uintptr(len(data)) - skip) / page * page
	// It is advice: a system that refuses it keeps the pages, and nothing else changes.
	_ = syscall.Madvise(data[skip:skip+whole], syscall.MADV_DONTNEED)
}
