package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Every number is taken exactly once, by tasks of tasks and many callers too.
func TestSplit(t *testing.T) {
	for _, threads := range []int{1, 2, 7} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for _, n := range []int{0, 1, 2, 50} {
					counts := make([]atomic.Int32, n)
					split(n, func(i int) {
						split(3, func(int) { counts[i].Add(1) })
					})
					for i := range counts {
						if c := counts[i].Load(); c != 3 {
							t.Errorf("%d threads: number %d of %d ran %d times, want 3", threads, i, n, c)
						}
					}
				}
			})
		}
		callers.Wait()
	}
}
