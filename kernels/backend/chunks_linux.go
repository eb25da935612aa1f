package backend

import (
	"syscall"
	"unsafe"
)

// hugePage is the size of the pages that large stretches of memory are asked for
// in: with small ones, products spend their time finding them.
const hugePage = 2 << 20

// reserve takes memory from the system; it is zero and costs nothing until it is
// written. release gives it back, after which nobody may look at it.
func reserve(bytes int) (memory []byte, release func(), err error) {
	size := bytes
	if bytes > hugePage {
		size += hugePage
	}
	whole, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	memory = whole[:bytes]
	if bytes > hugePage {
		at := uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
		memory = whole[int(-at%hugePage):][:bytes]
		_ = syscall.Madvise(memory[:bytes/hugePage*hugePage], syscall.MADV_HUGEPAGE) // slower without
	}
	return memory, func() {
		if err := syscall.Munmap(whole); err != nil {
			panic("backend: memory not given back: " + err.Error())
		}
	}, nil
}
