//go:build !linux

package harness

import "runtime"

// peakBytes is what the Go runtime has taken from the system, the nearest that
// is known everywhere to the peak resident memory.
func peakBytes() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}
