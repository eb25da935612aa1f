package report

import (
	"errors"
	"runtime"
	"sync"
)

// eachAtOnce calls do with every item, as many at once as there are processors. What do
// writes may only be its item's; so the result doesn't depend on the order. Errors come
// joined, in the items' order.
func eachAtOnce[T any](items []T, do func(T) error) error {
	errs := make([]error, len(items))
	todo := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(items)) {
		wg.Go(func() {
			for i := range todo {
				errs[i] = do(items[i])
			}
		})
	}
	for i := range items {
		todo <- i
	}
	close(todo)
	wg.Wait()
	return errors.Join(errs...)
}
