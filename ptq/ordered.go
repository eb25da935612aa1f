package ptq

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

// workers is the number of calls that run side by side.
func (c *Calibration) workers() int {
	if c.Workers > 0 {
		return c.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// ordered calls produce for 0 … n−1, some of them side by side, and consume with
// their results in order, never side by side. So what consume adds up does not
// depend on the number of workers, and at most that many results are held.
// The first error in order ends it. A panic of produce reaches the caller, who can
// recover from it, wherever it ran.
func ordered[T any](ctx context.Context, workers, n int, produce func(i int) (T, error), consume func(i int, v T) error) error {
	values, errs, panics := make([]T, workers), make([]error, workers), make([]any, workers)
	for start := 0; start < n; start += workers {
		if err := ctx.Err(); err != nil {
			return err
		}
		count := min(workers, n-start)
		var group sync.WaitGroup
		for k := range count {
			group.Go(func() {
				defer func() { panics[k] = kept(recover()) }()
				values[k], errs[k] = produce(start + k)
			})
		}
		group.Wait()
		for _, p := range panics {
			if p != nil {
				panic(p)
			}
		}
		for k := range count {
			if errs[k] != nil {
				return errs[k]
			}
			if err := consume(start+k, values[k]); err != nil {
				return err
			}
		}
		clear(values)
	}
	return nil
}

// kept is a recovered panic with the place where it happened, which is lost when
// another goroutine panics with it again.
func kept(p any) any {
	if p == nil {
		return nil
	}
	return fmt.Sprintf("%v\n%s", p, debug.Stack())
}
