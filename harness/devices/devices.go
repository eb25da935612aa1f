// Package devices lists what a machine computes with: NVIDIA accelerators as
// the driver's management library (NVML) reports them, the processor with the
// instruction sets that the kernels look for, and what would run where.
//
// NVML needs cgo, and its bindings are heavy to link, so the package stands
// apart from what notebook cells import. A build without cgo has no NVML in
// it and says so; everything else stays the same.
package devices

import (
	"fmt"
	"strings"
)

// Report is everything found on this machine.
type Report struct {
	Driver       string        `json:"driver,omitempty"` // NVIDIA driver version, empty without one
	CUDA         string        `json:"cuda,omitempty"`   // highest CUDA version that the driver runs, e.g. "12.4"
	Note         string        `json:"note,omitempty"`   // why there are no accelerators
	Accelerators []Accelerator `json:"accelerators"`     // in NVML's order; empty, never null
	CPU          CPU           `json:"cpu"`
}

// Accelerator is one NVIDIA device. Memory is in bytes.
type Accelerator struct {
	Index       int    `json:"index"` // NVML's, which is CUDA's under CUDA_DEVICE_ORDER=PCI_BUS_ID
	Name        string `json:"name"`
	UUID        string `json:"uuid,omitempty"`
	Compute     string `json:"compute,omitempty"` // CUDA compute capability, e.g. "8.0"
	MemoryTotal uint64 `json:"memory_total_bytes"`
	MemoryUsed  uint64 `json:"memory_used_bytes"`
	MemoryFree  uint64 `json:"memory_free_bytes"`
	Utilization *int   `json:"utilization_percent,omitempty"` // share of time in which a kernel ran; nil where the driver doesn't say (MIG)
	Problem     string `json:"problem,omitempty"`             // what the driver failed to tell; then the fields above may be empty
	Plan        string `json:"plan"`                          // what would run on it
}

// CPU is the processor as this process may use it. Memory is in bytes, 0
// where the system doesn't tell.
type CPU struct {
	Model           string   `json:"model"`
	Cores           int      `json:"cores"`    // logical processors
	Threads         int      `json:"threads"`  // that Go schedules on: fewer where a container limits them
	Features        []string `json:"features"` // of AVX2, FMA, AVX512; empty, never null
	MemoryTotal     uint64   `json:"memory_total_bytes"`
	MemoryAvailable uint64   `json:"memory_available_bytes"` // without swapping, as the kernel estimates it
	Plan            string   `json:"plan"`                   // what would run on it
}

// List asks NVML and the operating system. Having no NVIDIA driver, or a
// driver that doesn't answer, is not an error: Note then says which. An error
// means that the processor's own description could not be read.
func List() (*Report, error) {
	cpu, err := readCPU()
	if err != nil {
		return nil, err
	}
	r := &Report{CPU: cpu, Accelerators: []Accelerator{}}
	addAccelerators(r)
	for i := range r.Accelerators {
		r.Accelerators[i].Plan = r.Accelerators[i].plan()
	}
	r.CPU.Plan = r.CPU.plan()
	return r, nil
}

// bytesPerParameter is BF16's, the type in which checkpoints are stored.
const bytesPerParameter = 2

// plan says what a computes here: nothing yet, as the backends in this build
// run on the processor, but what would fit it helps to choose a machine.
func (a *Accelerator) plan() string {
	if a.Problem != "" {
		return "unusable: " + a.Problem
	}
	return fmt.Sprintf("idle: this build's backends run on the CPU; BF16 weights of up to %.1f billion parameters would fit its free memory",
		float64(a.MemoryFree)/bytesPerParameter/1e9)
}

// plan says what c computes: everything.
func (c *CPU) plan() string {
	kernels := "plain Go kernels"
	if len(c.Features) > 0 {
		kernels = "vector kernels where a backend has them (" + strings.Join(c.Features, ", ") + ")"
	}
	return fmt.Sprintf("runs calibration, evaluation and training on %s with %s", count(c.Threads, "thread"), kernels)
}

// Text is the report for a terminal, one device per paragraph, ending in a
// newline.
func (r *Report) Text() string {
	var b strings.Builder
	switch {
	case len(r.Accelerators) > 0:
		fmt.Fprintf(&b, "NVIDIA driver %s (CUDA %s), %s\n", r.Driver, orUnknown(r.CUDA), count(len(r.Accelerators), "accelerator"))
	default:
		fmt.Fprintf(&b, "%s\n", r.Note)
	}
	for _, a := range r.Accelerators {
		fmt.Fprintf(&b, "\nGPU %d  %s", a.Index, orUnknown(a.Name))
		if a.Compute != "" {
			fmt.Fprintf(&b, " (compute %s)", a.Compute)
		}
		if a.Problem == "" {
			fmt.Fprintf(&b, "\n       %s memory, %s used, %s free", gib(a.MemoryTotal), gib(a.MemoryUsed), gib(a.MemoryFree))
		}
		if a.Utilization != nil {
			fmt.Fprintf(&b, ", %d%% busy", *a.Utilization)
		}
		fmt.Fprintf(&b, "\n       %s\n", a.Plan)
	}
	fmt.Fprintf(&b, "\nCPU    %s, %s", r.CPU.Model, count(r.CPU.Cores, "core"))
	if len(r.CPU.Features) > 0 {
		fmt.Fprintf(&b, ", %s", strings.Join(r.CPU.Features, " "))
	}
	if r.CPU.MemoryTotal > 0 {
		fmt.Fprintf(&b, "\n       %s memory, %s available", gib(r.CPU.MemoryTotal), gib(r.CPU.MemoryAvailable))
	}
	fmt.Fprintf(&b, "\n       %s\n", r.CPU.Plan)
	return b.String()
}

// gib prints bytes in GiB.
func gib(bytes uint64) string {
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// count prints a number with its noun.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
