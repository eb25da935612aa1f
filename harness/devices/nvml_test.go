//go:build cgo && linux

package devices

import (
	"fmt"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/gpus"
)

// a100Server is go-nvml's mock of a DGX A100: eight A100-SXM4-40GB with the
// driver of its dgxa100 package. GPU i uses i GiB and is busy 10·i percent.
func a100Server() (*mock.Interface, []*mock.Device) {
	configs := gpus.Multiple(8, gpus.A100_SXM4_40GB)
	devices := make([]*mock.Device, len(configs))
	for i, c := range configs {
		total := c.MemoryMB << 20
		used := uint64(i) << 30
		devices[i] = &mock.Device{
			GetNameFunc: func() (string, nvml.Return) { return c.Name, nvml.SUCCESS },
			GetUUIDFunc: func() (string, nvml.Return) { return fmt.Sprint("GPU-", i), nvml.SUCCESS },
			GetMemoryInfoFunc: func() (nvml.Memory, nvml.Return) {
				return nvml.Memory{Total: total, Used: used, Free: total - used}, nvml.SUCCESS
			},
			GetCudaComputeCapabilityFunc: func() (int, int, nvml.Return) { return c.CudaMajor, c.CudaMinor, nvml.SUCCESS },
			GetUtilizationRatesFunc: func() (nvml.Utilization, nvml.Return) {
				return nvml.Utilization{Gpu: uint32(10 * i)}, nvml.SUCCESS
			},
		}
	}
	return &mock.Interface{
		InitFunc:                       func() nvml.Return { return nvml.SUCCESS },
		ShutdownFunc:                   func() nvml.Return { return nvml.SUCCESS },
		SystemGetDriverVersionFunc:     func() (string, nvml.Return) { return "550.54.15", nvml.SUCCESS },
		SystemGetCudaDriverVersionFunc: func() (int, nvml.Return) { return 12040, nvml.SUCCESS },
		DeviceGetCountFunc:             func() (int, nvml.Return) { return len(devices), nvml.SUCCESS },
		DeviceGetHandleByIndexFunc: func(i int) (nvml.Device, nvml.Return) {
			return devices[i], nvml.SUCCESS
		},
	}, devices
}

// report queries lib and plans, as List does with the real library.
func report(lib nvml.Interface) *Report {
	r := &Report{CPU: CPU{Model: "test CPU", Cores: 2, Threads: 2}}
	queryNVML(lib, r)
	for i := range r.Accelerators {
		r.Accelerators[i].Plan = r.Accelerators[i].plan()
	}
	return r
}

func TestEightGPUs(t *testing.T) {
	lib, _ := a100Server()
	r := report(lib)
	if r.Driver != "550.54.15" || r.CUDA != "12.4" || r.Note != "" || len(r.Accelerators) != 8 {
		t.Fatalf("driver %q, CUDA %q, note %q, %d accelerators", r.Driver, r.CUDA, r.Note, len(r.Accelerators))
	}
	for i, a := range r.Accelerators {
		if a.Index != i || a.Name != gpus.A100_SXM4_40GB.Name || a.Compute != "8.0" || a.UUID != fmt.Sprint("GPU-", i) {
			t.Errorf("GPU %d: %+v", i, a)
		}
		used := uint64(i) << 30
		if a.MemoryTotal != 40<<30 || a.MemoryUsed != used || a.MemoryFree != 40<<30-used {
			t.Errorf("GPU %d: memory %d, %d, %d", i, a.MemoryTotal, a.MemoryUsed, a.MemoryFree)
		}
		if a.Utilization == nil || *a.Utilization != 10*i {
			t.Errorf("GPU %d: utilization %v, want %d", i, a.Utilization, 10*i)
		}
	}
	// 40 GiB − 3 GiB = 39.73e9 bytes, two a parameter
	if want := "up to 19.9 billion parameters"; !strings.Contains(r.Accelerators[3].Plan, want) {
		t.Errorf("plan of GPU 3 %q, want %q in it", r.Accelerators[3].Plan, want)
	}
	text := r.Text()
	for _, want := range []string{"NVIDIA driver 550.54.15 (CUDA 12.4), 8 accelerators", "GPU 7 ", "40.0 GiB memory, 0.0 GiB used, 40.0 GiB free, 0% busy", "40.0 GiB memory, 3.0 GiB used, 37.0 GiB free, 30% busy", "test CPU"} {
		if !strings.Contains(text, want) {
			t.Errorf("text lacks %q:\n%s", want, text)
		}
	}
	if n := len(lib.ShutdownCalls()); n != 1 {
		t.Errorf("NVML was shut down %d times, want once", n)
	}
}

// TestPartialAnswers: what one device does not tell hides neither the rest
// of it nor the other devices.
func TestPartialAnswers(t *testing.T) {
	lib, devices := a100Server()
	devices[1].GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) {
		return nvml.Utilization{}, nvml.ERROR_NOT_SUPPORTED // as in MIG mode
	}
	devices[2].GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, nvml.ERROR_GPU_IS_LOST }
	devices[3].GetNameFunc = func() (string, nvml.Return) { return "", nvml.ERROR_UNKNOWN }
	handle := lib.DeviceGetHandleByIndexFunc
	lib.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if i == 4 {
			return nil, nvml.ERROR_NO_PERMISSION
		}
		return handle(i)
	}
	r := report(lib)
	if len(r.Accelerators) != 8 {
		t.Fatalf("%d accelerators, want 8", len(r.Accelerators))
	}
	if a := r.Accelerators[1]; a.Utilization != nil || a.Problem != "" || a.MemoryTotal == 0 {
		t.Errorf("without utilization: %+v", a)
	}
	for i, want := range map[int]string{2: "memory", 3: "name", 4: "access"} {
		if a := r.Accelerators[i]; !strings.Contains(a.Problem, want) || !strings.Contains(a.Plan, "unusable") {
			t.Errorf("GPU %d: %+v, want a problem with its %s", i, a, want)
		}
	}
	if a := r.Accelerators[5]; a.Problem != "" {
		t.Errorf("GPU 5 has the problem %q of another", a.Problem)
	}
	// Busy are 0, 5, 6 and 7; 2, 3 and 4 show their problem instead of memory.
	if text := r.Text(); strings.Count(text, "% busy") != 4 || strings.Count(text, "GiB memory") != 5 || strings.Count(text, "unusable") != 3 {
		t.Errorf("text:\n%s", text)
	}
}

func TestNoAccelerators(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*mock.Interface)
		want   string
	}{
		{"no library", func(m *mock.Interface) {
			m.InitFunc = func() nvml.Return { return nvml.ERROR_LIBRARY_NOT_FOUND }
		}, "no NVIDIA driver"},
		{"not loaded", func(m *mock.Interface) {
			m.InitFunc = func() nvml.Return { return nvml.ERROR_DRIVER_NOT_LOADED }
		}, "does not start"},
		{"no device", func(m *mock.Interface) {
			m.DeviceGetCountFunc = func() (int, nvml.Return) { return 0, nvml.SUCCESS }
		}, "550.54.15, but no accelerator"},
		{"no count", func(m *mock.Interface) {
			m.DeviceGetCountFunc = func() (int, nvml.Return) { return 0, nvml.ERROR_UNKNOWN }
		}, "cannot be counted"},
	} {
		lib, _ := a100Server()
		c.change(lib)
		r := report(lib)
		if len(r.Accelerators) != 0 || !strings.Contains(r.Note, c.want) || !strings.Contains(r.Text(), c.want) {
			t.Errorf("%s: note %q, want %q in it; text:\n%s", c.name, r.Note, c.want, r.Text())
		}
	}
}
