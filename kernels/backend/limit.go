package backend

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ErrMemory is wrapped by errors of what would not fit into memory.
var ErrMemory = errors.New("not enough memory")

// limit is how much memory there is.
type limit struct {
	bytes  int    // 0: not known
	source string // where the number comes from
}

// allows is an error if so many bytes more than what is in use are too many.
func (l limit) allows(bytes, used int) error {
	if l.bytes == 0 || bytes+used <= l.bytes {
		return nil
	}
	if used > 0 {
		return fmt.Errorf("%w: it needs %s beside %s of other calls; the limit is %s (%s)", ErrMemory, inBytes(bytes), inBytes(used), inBytes(l.bytes), l.source)
	}
	return fmt.Errorf("%w: it needs %s; the limit is %s (%s)", ErrMemory, inBytes(bytes), inBytes(l.bytes), l.source)
}

// parseLimit reads a size like 8GiB, 512MiB or a number of bytes.
func parseLimit(s string) (limit, error) {
	number, unit := s, 1
	for _, u := range []struct {
		suffix string
		bytes  int
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			number, unit = rest, u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v > 0) || v*float64(unit) >= 1<<62 {
		return limit{}, fmt.Errorf("backend: memory %q; expected a size like 8GiB or 512MiB", s)
	}
	return limit{bytes: int(v * float64(unit)), source: "memory=" + s}, nil
}

// systemLimit is the least of the machine's memory and the control group's limit;
// nothing where the system tells neither.
func systemLimit() limit {
	var l limit
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		l = limit{bytes: memTotal(string(data)), source: "the machine's memory"}
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err == nil && n > 0 && (l.bytes == 0 || n < l.bytes) {
			l = limit{bytes: n, source: path}
		}
	}
	return l
}

// memTotal finds the size of memory in the text of /proc/meminfo.
func memTotal(text string) int {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if fields := strings.Fields(rest); len(fields) > 0 {
				kib, _ := strconv.Atoi(fields[0])
				return kib << 10
			}
		}
	}
	return 0
}

// inBytes writes a number of bytes for people.
func inBytes(n int) string {
	for _, u := range []struct {
		name  string
		bytes int
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.bytes), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
