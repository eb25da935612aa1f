package backend

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel splits [0, n) into pieces of the given grain and runs f on each,
// on as many goroutines as there are processors. Where the pieces begin and end
// depends on n and grain alone, so that results don't depend on the number of
// goroutines; which goroutine runs which piece does not matter. Pieces never wait
// for each other.
func parallel(n, grain int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	grain = max(grain, 1)
	pieces := (n + grain - 1) / grain
	workers := min(runtime.GOMAXPROCS(0), pieces)
	if workers == 1 {
		for p := range pieces {
			f(p*grain, min(n, (p+1)*grain))
		}
		return
	}
	var next atomic.Int64
	work := func() {
		for {
			p := int(next.Add(1)) - 1
			if p >= pieces {
				return
			}
			f(p*grain, min(n, (p+1)*grain))
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

// pieceSize is how many cheap values a goroutine should have to be worth waking.
const pieceSize = 16384

// rowsPerPiece is the grain for rows of the given width.
func rowsPerPiece(width int) int { return max(1, pieceSize/max(width, 1)) }
