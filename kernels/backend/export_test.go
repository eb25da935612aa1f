package backend

import "github.com/gomlx/compute"

// WithoutFusing compiles in f without strips.
func WithoutFusing(f func()) {
	fusing = false
	defer func() { fusing = true }()
	f()
}

// Strips is the number of operations in each strip of an executable.
func Strips(e compute.Executable) []int {
	var list []int
	for _, s := range e.(*executable).steps {
		if s.strip != nil {
			list = append(list, len(s.strip.members))
		}
	}
	return list
}

// Memory is what an executable keeps for a call, in bytes, beside scratch memory.
func Memory(e compute.Executable) int {
	return e.(*executable).bytes
}
