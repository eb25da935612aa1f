// Command measure times the kernels for kernels/bench/run and prints one JSON object
// per measurement; with "table" it reads such objects, ours and those of the peers'
// programs, and prints them side by side in Markdown.
package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/tlqlab/tlqlab/kernels"
)

// ours is the name of the runner that others are compared with.
const ours = "tlq"

// measurement is one case on one number of threads, all repetitions.
type measurement struct {
	Case    string    `json:"case"`
	Threads int       `json:"threads"`
	Runner  string    `json:"runner"`
	FLOPs   float64   `json:"flops,omitempty"` // of one repetition
	Bytes   float64   `json:"bytes,omitempty"` // that one repetition reads
	Peak    float64   `json:"peak,omitempty"`  // largest resident memory of the process, bytes
	Seconds []float64 `json:"seconds"`
}

func main() {
	pieces := map[string]func() error{"products": products, "few": few, "factor": factor, "table": table}
	if len(os.Args) != 2 || pieces[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: measure products|few|factor|table")
		os.Exit(2)
	}
	if err := pieces[os.Args[1]](); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

// report runs f so many times after a few that don't count, and prints how long it took.
func report(m measurement, discard, runs int, f func(run int)) error {
	m.Threads = runtime.GOMAXPROCS(0)
	if m.Runner == "" {
		m.Runner = ours
	}
	runtime.GC() // of what was made for the measurement
	for r := range discard + runs {
		start := time.Now()
		f(r)
		if r >= discard {
			m.Seconds = append(m.Seconds, time.Since(start).Seconds())
		}
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

func uniform(n int) []float32 {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	s := make([]float32, n)
	for i := range s {
		s[i] = rng.Float32() - 0.5
	}
	return s
}

func products() error {
	for _, size := range [][2]int{{512, 61}, {1024, 25}, {2048, 11}} {
		n, runs := size[0], size[1]
		a, b, c := uniform(n*n), uniform(n*n), make([]float32, n*n)
		m := measurement{Case: fmt.Sprintf("product %d³", n), FLOPs: 2 * float64(n) * float64(n) * float64(n)}
		err := report(m, 2, runs, func(int) { kernels.ParallelSgemm(false, false, n, n, n, a, n, b, n, c, n, false) })
		if err != nil {
			return err
		}
	}
	return nil
}

// few times one to eight rows with one matrix of weights, which stays in the last
// cache where that holds 16 MiB, and one row with sixteen of them in turn, which come
// from memory. Beside one row stands plainly reading what it reads.
func few() error {
	const n, size = 2048, 4 * 2048 * 2048
	weights := [][]float32{uniform(n * n)}
	x, y := uniform(8*n), make([]float32, 8*n)
	for rows := 1; rows <= 8; rows++ {
		m := measurement{Case: fmt.Sprintf("%d × 2048²", rows), FLOPs: 2 * float64(rows) * n * n}
		err := report(m, 3, 51, func(int) { kernels.ParallelSgemmFewRows(rows, n, n, x, n, weights[0], n, y, n) })
		if err != nil {
			return err
		}
	}
	for _, from := range []string{"the last cache", "memory"} {
		m := measurement{Case: "1 × 2048², weights in " + from, Bytes: size}
		err := report(m, 3, 51, func(run int) {
			kernels.ParallelSgemmFewRows(1, n, n, x, n, weights[run%len(weights)], n, y, n)
		})
		if err != nil {
			return err
		}
		m.Runner = "plain read"
		if err := report(m, 3, 51, func(run int) { readAll(weights[run%len(weights)]) }); err != nil {
			return err
		}
		for len(weights) < 16 {
			weights = append(weights, slices.Clone(weights[0]))
		}
	}
	return nil
}

// readAll reads x once on all threads, as two streams each: a dot product of its
// halves.
func readAll(x []float32) {
	threads := runtime.GOMAXPROCS(0)
	sums := make(chan float32, threads)
	for i := range threads {
		part := x[len(x)*i/threads : len(x)*(i+1)/threads]
		go func() { sums <- kernels.Sdot(part[:len(part)/2], part[len(part)/2:]) }()
	}
	for range threads {
		<-sums
	}
}

func factor() error {
	for n := 2048; n <= 4096; n *= 2 {
		a, l := make([]float64, n*n), make([]float64, n*n)
		for i := range n {
			for j := range n {
				a[i*n+j] = 1 / float64(1+max(i-j, j-i))
			}
			a[i*n+i] += float64(n)
		}
		runs := 7
		if n > 2048 {
			runs = 5
		}
		m := measurement{Case: fmt.Sprintf("Cholesky + inverse of the factor, n = %d", n), FLOPs: 2. / 3 * float64(n) * float64(n) * float64(n), Runner: ours}
		m.Threads = runtime.GOMAXPROCS(0)
		for r := range runs + 1 {
			copy(l, a)
			start := time.Now()
			if err := kernels.Cholesky(l, n); err != nil {
				return err
			}
			kernels.InvertLower(l, n)
			if r > 0 {
				m.Seconds = append(m.Seconds, time.Since(start).Seconds())
			}
		}
		if err := json.NewEncoder(os.Stdout).Encode(m); err != nil {
			return err
		}
	}
	return nil
}
