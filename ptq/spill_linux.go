package ptq

import (
	"errors"
	"os"
	"syscall"
)

// canMap tells whether a Spill can use a file.
const canMap = true

// mapSpill lengthens the file by size bytes at the given place and maps them. The
// blocks are reserved first: a full disk is an error here, not a signal at the first
// touch.
func mapSpill(f *os.File, at, size int64) ([]byte, error) {
	err := syscall.Fallocate(int(f.Fd()), 0, at, size)
	if errors.Is(err, syscall.EOPNOTSUPP) { // some file systems reserve nothing: write
		_, err = f.WriteAt(make([]byte, size), at)
	}
	if err != nil {
		return nil, err
	}
	return syscall.Mmap(int(f.Fd()), at, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}

// restSpill takes the pages of a region out of the process; the file keeps their
// contents.
func restSpill(region []byte) {
	// It is advice: a system that refuses it keeps the pages, and nothing else changes.
	_ = syscall.Madvise(region, syscall.MADV_DONTNEED)
}

func unmapSpill(region []byte) error { return syscall.Munmap(region) }
