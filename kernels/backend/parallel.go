package backend

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// pieceSize is how many cheap values a goroutine should have to be worth waking.
const pieceSize = 16384

// parallel splits [0, n) into pieces of the given grain and runs f on each, on as
// many goroutines as there are processors. Where the pieces begin and end depends
// on n and grain alone, so that results don't depend on the number of goroutines;
// which goroutine runs which piece does not matter. Pieces never wait for each
// other. A panic of f is raised again on the calling goroutine, when all have
// stopped.
func parallel(n, grain int, f func(from, to int)) {
	parallelWorkers(runtime.GOMAXPROCS(0), n, grain, func(_, from, to int) { f(from, to) })
}

// parallelWorkers is parallel on at most so many goroutines, of which f learns the
// number, from 0 on.
func parallelWorkers(workers, n, grain int, f func(worker, from, to int)) {
	pieces := (n + grain - 1) / grain
	workers = min(workers, pieces)
	if workers <= 1 {
		for at := 0; at < n; at += grain {
			f(0, at, min(n, at+grain))
		}
		return
	}
	var next atomic.Int64
	var failure atomic.Pointer[any]
	work := func(worker int) {
		defer func() {
			if r := recover(); r != nil {
				failure.CompareAndSwap(nil, &r)
				next.Store(int64(pieces))
			}
		}()
		for {
			p := int(next.Add(1)) - 1
			if p >= pieces {
				return
			}
			f(worker, p*grain, min(n, (p+1)*grain))
		}
	}
	var group sync.WaitGroup
	for w := range workers - 1 {
		group.Go(func() { work(w + 1) })
	}
	work(0)
	group.Wait()
	if r := failure.Load(); r != nil {
		panic(*r)
	}
}

// run computes the whole output.
func (r *rowwise) run(in []*buffer, out *buffer) {
	grain := max(1, pieceSize/max(1, r.cost))
	if r.grain > 1 {
		grain = (grain + r.grain - 1) / r.grain * r.grain
	}
	parallel(out.shape.Size(), grain, func(from, to int) { r.part(in, out, from, to) })
}
