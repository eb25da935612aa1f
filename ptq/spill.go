package ptq

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"
)

// Spill is memory for what a calibration keeps of all its samples between two calls
// of the runner: streams, inputs of candidates, targets. Up to a limit it is ordinary
// memory; beyond it lies in a file that is mapped, so that only what a call touches
// is resident ([Spill.Rest] lets go of it again) and the peak does not grow with the
// number of samples. The file has no name from the moment it is made, so that nothing
// is left of it however the process ends. Where files cannot be mapped that way
// (elsewhere than on Linux) everything is ordinary memory.
//
// A nil Spill is ordinary memory without a limit. A Spill may be used by several
// goroutines.
type Spill struct {
	dir   string
	limit int64

	mu     sync.Mutex
	held   int64              // bytes of ordinary memory given out
	mapped int64              // bytes of the file given out
	size   int64              // of the file
	file   *os.File           // nil until it is needed
	used   map[*float32]piece // by first element
	idle   map[int64][][]byte // mapped, free, by length
}

// piece is what a slice given out lies in.
type piece struct {
	bytes  int64
	region []byte // nil: ordinary memory
}

// spillStep is the granularity of regions in the file, in bytes: a multiple of every
// common page size.
const spillStep = 1 << 16

// spillPrefix begins the name that a spill file has for the moment between making it
// and taking its name away.
const spillPrefix = "spill-"

// NewSpill gives ordinary memory up to limit bytes and a file in dir beyond. A
// negative limit means none. Files that a crash left in dir are removed.
func NewSpill(dir string, limit int64) (*Spill, error) {
	s := &Spill{dir: dir, limit: limit, used: map[*float32]piece{}, idle: map[int64][][]byte{}}
	return s, removeSpills(dir)
}

// removeSpills deletes spill files that still have a name. One that another process
// made this moment loses its name a moment earlier, which it wants anyway.
func removeSpills(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ptq: spill folder: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), spillPrefix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("ptq: spill folder: %w", err)
			}
		}
	}
	return nil
}

// Floats returns n zeros. The error says that the disk is full.
func (s *Spill) Floats(n int) ([]float32, error) {
	if s == nil || n == 0 {
		return make([]float32, n), nil
	}
	size := 4 * int64(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit < 0 || s.held+size <= s.limit || !canMap {
		v := make([]float32, n)
		s.held += size
		s.used[&v[0]] = piece{bytes: size}
		return v, nil
	}
	region, err := s.region((size + spillStep - 1) / spillStep * spillStep)
	if err != nil {
		return nil, err
	}
	v := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(region))), n)
	s.mapped += int64(len(region))
	s.used[&v[0]] = piece{bytes: size, region: region}
	return v, nil
}

// Keep returns a copy of v. The error says that the disk is full.
func (s *Spill) Keep(v []float32) ([]float32, error) {
	if s == nil {
		return v, nil // it is the caller's to give
	}
	out, err := s.Floats(len(v))
	if err == nil {
		copy(out, v)
		s.Rest(out)
	}
	return out, err
}

// region returns a zeroed part of the file.
func (s *Spill) region(size int64) ([]byte, error) {
	if list := s.idle[size]; len(list) > 0 {
		region := list[len(list)-1]
		s.idle[size] = list[:len(list)-1]
		clear(region)
		return region, nil
	}
	if s.file == nil {
		file, err := openSpill(s.dir)
		if err != nil {
			return nil, err
		}
		s.file = file
	}
	region, err := mapSpill(s.file, s.size, size)
	if err != nil {
		return nil, fmt.Errorf("ptq: %d more bytes behind %d of a calibration's streams in %s: %w: free some space, use fewer samples or another folder for the store", size, s.size, s.dir, err)
	}
	s.size += size
	return region, nil
}

// openSpill makes a file and takes its name away.
func openSpill(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("ptq: spill folder: %w", err)
	}
	f, err := os.CreateTemp(dir, spillPrefix)
	if err != nil {
		return nil, fmt.Errorf("ptq: spill folder: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("ptq: spill file: %w", err), f.Close())
	}
	return f, nil
}

// Rest lets go of the memory of slices until they are touched again. Slices that the
// Spill did not give are left alone.
func (s *Spill) Rest(list ...[]float32) {
	if s == nil {
		return
	}
	for _, v := range list {
		if p, ok := s.piece(v); ok && p.region != nil {
			restSpill(p.region)
		}
	}
}

func (s *Spill) piece(v []float32) (piece, bool) {
	if len(v) == 0 {
		return piece{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.used[&v[0]]
	return p, ok
}

// Free takes slices back; they must not be used afterwards. Slices that the Spill
// did not give, or that it has back already, are left alone.
func (s *Spill) Free(list ...[]float32) {
	if s == nil {
		return
	}
	for _, v := range list {
		p, ok := s.piece(v)
		if !ok {
			continue
		}
		s.mu.Lock()
		delete(s.used, &v[0])
		if p.region == nil {
			s.held -= p.bytes
		} else {
			restSpill(p.region)
			s.mapped -= int64(len(p.region))
			s.idle[int64(len(p.region))] = append(s.idle[int64(len(p.region))], p.region)
		}
		s.mu.Unlock()
	}
}

// Size is what is given out now in ordinary memory, and the size of the file, in
// bytes.
func (s *Spill) Size() (memory, file int64) {
	if s == nil {
		return 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held, s.size
}

// Close gives the file back. Nothing that the Spill gave may be used afterwards.
func (s *Spill) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, list := range s.idle {
		for _, region := range list {
			err = errors.Join(err, unmapSpill(region))
		}
	}
	for _, p := range s.used {
		if p.region != nil {
			err = errors.Join(err, unmapSpill(p.region))
		}
	}
	clear(s.idle)
	clear(s.used)
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
		s.file = nil
	}
	s.held, s.mapped, s.size = 0, 0, 0
	return err
}
