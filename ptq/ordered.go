package ptq

import (
	"context"
	"runtime"
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
// The first error in order ends it.
func ordered[T any](ctx context.Context, workers, n int, produce func(i int) (T, error), consume func(i int, v T) error) error {
	values, errs := make([]T, workers), make([]error, workers)
	for start := 0; start < n; start += workers {
		if err := ctx.Err(); err != nil {
			return err
		}
		count := min(workers, n-start)
		var group sync.WaitGroup
		for k := 1; k < count; k++ {
			group.Go(func() { values[k], errs[k] = produce(start + k) })
		}
		values[0], errs[0] = produce(start)
		group.Wait()
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
