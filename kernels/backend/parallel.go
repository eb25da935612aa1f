package backend

import (
	"runtime"
	"sync/atomic"
	"time"
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
	j := &job{f: f, n: n, grain: grain, pieces: int64(pieces), seats: int64(workers), finished: make(chan struct{})}
	help(j, workers-1)
	j.work(0)
	j.wait()
	if r := j.failure.Load(); r != nil {
		panic(*r)
	}
}

// Package kernels has helpers too, for its functions that split their work themselves.
// They are not these: jobs number their goroutines, each of which has memory of its
// own for strips, and raise panics again on the caller. Nothing here calls those
// functions, so that the two never compete within a graph.

// job is work in pieces. The goroutine that brings it takes pieces like the
// helpers that happen to be free, and waits only for pieces that others have
// begun: nobody waits for somebody to begin.
type job struct {
	f        func(worker, from, to int)
	n, grain int
	pieces   int64
	seats    int64 // goroutines that may take part
	taken    atomic.Int64
	next     atomic.Int64
	done     atomic.Int64
	finished chan struct{} // closed with the last piece
	failure  atomic.Pointer[any]
}

// work takes pieces until there are none left.
func (j *job) work(worker int) {
	for {
		p := j.next.Add(1) - 1
		if p >= j.pieces {
			return
		}
		if j.failure.Load() == nil {
			j.piece(worker, int(p))
		}
		if j.done.Add(1) == j.pieces {
			close(j.finished)
		}
	}
}

func (j *job) piece(worker, p int) {
	defer func() {
		if r := recover(); r != nil {
			j.failure.CompareAndSwap(nil, &r)
		}
	}()
	j.f(worker, p*j.grain, min(j.n, (p+1)*j.grain))
}

// patience is how long a goroutine looks for work before it sleeps: between the
// steps of a graph there is less than that, and waking one up takes longer.
const patience = 20 * time.Microsecond

// wait returns when all pieces are done.
func (j *job) wait() {
	watch(func() bool { return j.done.Load() == j.pieces })
	<-j.finished
}

// watch looks at a condition for some time.
func watch(holds func() bool) {
	for start := time.Now(); !holds() && time.Since(start) < patience; {
		runtime.Gosched()
	}
}

var (
	// jobs are offered to helpers. What does not fit is done by who brings it.
	jobs    = make(chan *job, 64)
	helpers atomic.Int64
)

// help offers a job to a number of helpers, and starts those that don't exist yet;
// they stay for other jobs.
func help(j *job, count int) {
	for {
		n := helpers.Load()
		if n >= int64(count) {
			break
		}
		if helpers.CompareAndSwap(n, n+1) {
			go helper()
		}
	}
	for range count {
		select {
		case jobs <- j:
		default:
			return
		}
	}
}

func helper() {
	for {
		watch(func() bool { return len(jobs) > 0 })
		j := <-jobs
		if seat := j.taken.Add(1); seat < j.seats {
			j.work(int(seat))
		}
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
