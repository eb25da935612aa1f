//go:build cgo && linux

package devices

import (
	"errors"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// addAccelerators fills r in from the machine's NVML library.
func addAccelerators(r *Report) { queryNVML(nvml.New(), r) }

// queryNVML fills r in from lib. What the driver refuses to tell becomes a
// note or a device's problem: one broken card must not hide the others.
func queryNVML(lib nvml.Interface, r *Report) {
	switch ret := lib.Init(); {
	case errors.Is(ret, nvml.ERROR_LIBRARY_NOT_FOUND):
		r.Note = "no NVIDIA driver (libnvidia-ml.so.1 was not found)"
		return
	case ret != nvml.SUCCESS:
		r.Note = fmt.Sprintf("no NVIDIA driver: NVML is installed but does not start (%v)", ret)
		return
	}
	defer lib.Shutdown()
	if version, ret := lib.SystemGetDriverVersion(); ret == nvml.SUCCESS {
		r.Driver = version
	}
	if version, ret := lib.SystemGetCudaDriverVersion(); ret == nvml.SUCCESS {
		r.CUDA = fmt.Sprintf("%d.%d", version/1000, version%1000/10) // 12040 is 12.4
	}
	n, ret := lib.DeviceGetCount()
	switch {
	case ret != nvml.SUCCESS:
		r.Note = fmt.Sprintf("NVIDIA driver %s, but its devices cannot be counted (%v)", r.Driver, ret)
	case n == 0:
		r.Note = fmt.Sprintf("NVIDIA driver %s, but no accelerator", r.Driver)
	}
	for i := range n {
		r.Accelerators = append(r.Accelerators, queryDevice(lib, i))
	}
}

// queryDevice describes one device. Name and memory are required, the rest
// is not supported everywhere.
func queryDevice(lib nvml.Interface, index int) Accelerator {
	a := Accelerator{Index: index}
	device, ret := lib.DeviceGetHandleByIndex(index)
	if ret != nvml.SUCCESS {
		a.Problem = fmt.Sprintf("the driver does not give access to it (%v)", ret)
		return a
	}
	if a.Name, ret = device.GetName(); ret != nvml.SUCCESS {
		a.Problem = fmt.Sprintf("the driver does not tell its name (%v)", ret)
		return a
	}
	memory, ret := device.GetMemoryInfo()
	if ret != nvml.SUCCESS {
		a.Problem = fmt.Sprintf("the driver does not tell its memory (%v)", ret)
		return a
	}
	a.MemoryTotal, a.MemoryUsed, a.MemoryFree = memory.Total, memory.Used, memory.Free
	if uuid, ret := device.GetUUID(); ret == nvml.SUCCESS {
		a.UUID = uuid
	}
	if major, minor, ret := device.GetCudaComputeCapability(); ret == nvml.SUCCESS {
		a.Compute = fmt.Sprintf("%d.%d", major, minor)
	}
	if rates, ret := device.GetUtilizationRates(); ret == nvml.SUCCESS {
		percent := int(rates.Gpu)
		a.Utilization = &percent
	}
	return a
}
