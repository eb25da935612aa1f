package kernels

import "golang.org/x/sys/cpu"

// useAVX2 selects the assembly routines. It is a variable so that tests can run
// the plain Go routines on the same machine.
var useAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA
