package devices

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/cpu"
)

// readCPU describes the processor. Off Linux, model and memory stay unknown.
func readCPU() (CPU, error) {
	c := CPU{
		Model:    runtime.GOARCH + " processor",
		Cores:    runtime.NumCPU(),
		Threads:  runtime.GOMAXPROCS(0),
		Features: features(),
	}
	if runtime.GOOS != "linux" {
		return c, nil
	}
	err := readFile("/proc/cpuinfo", func(r io.Reader) error {
		model, err := parseModel(r)
		if model != "" {
			c.Model = model
		}
		return err
	})
	if err != nil {
		return CPU{}, err
	}
	err = readFile("/proc/meminfo", func(r io.Reader) (err error) {
		c.MemoryTotal, c.MemoryAvailable, err = parseMemory(r)
		return err
	})
	if err != nil {
		return CPU{}, err
	}
	return c, nil
}

// features lists the instruction sets that vector kernels are written for.
// AVX512 stands for the parts F, BW, DQ and VL together.
func features() []string {
	list := []string{}
	if cpu.X86.HasAVX2 {
		list = append(list, "AVX2")
	}
	if cpu.X86.HasFMA {
		list = append(list, "FMA")
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
		list = append(list, "AVX512")
	}
	return list
}

// readFile opens path for parse and names it in errors.
func readFile(path string, parse func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("devices: %w", err)
	}
	defer f.Close()
	if err := parse(f); err != nil {
		return fmt.Errorf("devices: %s: %w", path, err)
	}
	return nil
}

// parseModel returns the first "model name" of /proc/cpuinfo, empty where the
// architecture has none (arm64).
func parseModel(r io.Reader) (string, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value), nil
		}
	}
	return "", lines.Err()
}

// parseMemory returns MemTotal and MemAvailable of /proc/meminfo in bytes.
// A kernel older than 3.14 has no MemAvailable: 0 then.
func parseMemory(r io.Reader) (total, available uint64, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if !ok || (name != "MemTotal" && name != "MemAvailable") {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
		n, err := strconv.ParseUint(number, 10, 54) // 54 bits of KiB are 64 bits of bytes
		if err != nil || unit != "kB" {
			return 0, 0, fmt.Errorf("%s is %q, expected a number of kB", name, value)
		}
		if name == "MemTotal" {
			total = n << 10
		} else {
			available = n << 10
		}
	}
	if err := lines.Err(); err != nil {
		return 0, 0, err
	}
	if total == 0 {
		return 0, 0, fmt.Errorf("no MemTotal, expected a line such as %q", "MemTotal: 16384 kB")
	}
	return total, available, nil
}
