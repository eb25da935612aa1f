package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// table prints what it reads: a line for each case, number of threads and peer, with
// medians. The ratio is the peer's time to ours: above 1 we are faster.
func table() error {
	var all []measurement
	for d := json.NewDecoder(os.Stdin); ; {
		var m measurement
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("measurement %d is not a JSON object: %w", len(all), err)
		}
		if len(m.Seconds) == 0 {
			return fmt.Errorf("%s by %s on %d threads has no repetitions", m.Case, m.Runner, m.Threads)
		}
		all = append(all, m)
	}
	fmt.Println("| what | threads | tlq | peer | ratio | repetitions |\n|---|---|---|---|---|---|")
	for i := range all {
		if all[i].Runner != ours {
			continue
		}
		alone := true
		for j := range all {
			if p := &all[j]; p.Runner != ours && p.Case == all[i].Case && p.Threads == all[i].Threads {
				alone = false
				fmt.Printf("| %s | %d | %s | %s %s | %.2f | %d, %d |\n", p.Case, p.Threads, all[i].value(), p.Runner, p.value(),
					median(p.Seconds)/median(all[i].Seconds), len(all[i].Seconds), len(p.Seconds))
			}
		}
		if alone {
			fmt.Printf("| %s | %d | %s | | | %d |\n", all[i].Case, all[i].Threads, all[i].value(), len(all[i].Seconds))
		}
	}
	return nil
}

// value is the median as what it stands for: a rate or a time, and memory.
func (m *measurement) value() string {
	t := median(m.Seconds)
	switch {
	case m.Peak > 0:
		return fmt.Sprintf("%.0f ms, %.0f MB", t*1e3, m.Peak/1e6)
	case m.Bytes > 0:
		return fmt.Sprintf("%.1f GB/s", m.Bytes/t/1e9)
	case m.FLOPs > 0 && t < 0.1:
		return fmt.Sprintf("%.1f GFLOP/s", m.FLOPs/t/1e9)
	case m.FLOPs > 0:
		return fmt.Sprintf("%.3f s, %.1f GFLOP/s", t, m.FLOPs/t/1e9)
	}
	return fmt.Sprintf("%.4f s", t)
}

func median(s []float64) float64 {
	s = slices.Sorted(slices.Values(s))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
