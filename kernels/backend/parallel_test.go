package backend

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// Every piece runs once, whatever the sizes, with workers of distinct numbers.
func TestParallel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(procs)
		for _, n := range []int{0, 1, 7, 100, 1001} {
			for _, grain := range []int{1, 3, 100, 5000} {
				count := make([]int32, n)
				busy := make([]atomic.Bool, procs)
				parallelWorkers(procs, n, grain, func(worker, from, to int) {
					if busy[worker].Swap(true) {
						t.Error("two goroutines have one number")
					}
					if from%grain != 0 || to > n || to-from > grain {
						t.Errorf("piece [%d, %d) of %d by %d", from, to, n, grain)
					}
					for i := from; i < to; i++ {
						count[i]++
					}
					busy[worker].Store(false)
				})
				if slices.ContainsFunc(count, func(c int32) bool { return c != 1 }) {
					t.Errorf("%d by %d on %d: %v", n, grain, procs, count)
				}
			}
		}
	}
}

// Many callers at a time, and calls within calls, come to an end.
func TestParallelNests(t *testing.T) {
	var total atomic.Int64
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for range 20 {
				parallel(16, 1, func(from, to int) {
					parallel(8, 1, func(from, to int) { total.Add(int64(to - from)) })
				})
			}
		})
	}
	group.Wait()
	if got := total.Load(); got != 20*20*16*8 {
		t.Errorf("%d of %d pieces", got, 20*20*16*8)
	}
}

// A panic in a piece reaches the caller, and the helpers survive it.
func TestParallelPanics(t *testing.T) {
	for range 50 {
		func() {
			defer func() {
				if r := recover(); r != "piece 7" {
					t.Errorf("recovered %v", r)
				}
			}()
			parallelWorkers(4, 100, 1, func(_, from, _ int) {
				if from == 7 {
					panic("piece 7")
				}
			})
		}()
	}
	TestParallel(t)
}
