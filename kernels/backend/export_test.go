package backend

import "github.com/gomlx/compute"

// WithoutFusing compiles in f without strips.
func WithoutFusing(f func()) {
	fusing = false
	defer func() { fusing = true }()
	f()
}

// WithoutRecognising compiles in f without joining the parts of activations.
func WithoutRecognising(f func()) {
	recognising = false
	defer func() { recognising = true }()
	f()
}

// Operations is the number of operations that an executable computes.
func Operations(e compute.Executable) int {
	count := 0
	for _, s := range e.(*executable).steps {
		count += len(s.members())
	}
	return count
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

// Built lists the operations of the graph that an executable was compiled from.
func Built(e compute.Executable) []compute.OpType {
	var list []compute.OpType
	for _, n := range e.(*executable).builder.main.nodes {
		list = append(list, n.op)
	}
	return list
}
