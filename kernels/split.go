package kernels

import (
	"runtime"
	"sync/atomic"
	"time"
)

// split runs f for 0 … n−1, each once, on up to GOMAXPROCS threads, which take the
// next number when they are free: the caller's, and helpers that stay for later calls.
// The caller takes numbers like the helpers that happen to be free and waits only for
// what others have begun, so that there is nothing to deadlock on.
func split(n int, f func(i int)) {
	threads := min(runtime.GOMAXPROCS(0), n)
	if threads <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	t := &task{f: f, n: int64(n), finished: make(chan struct{})}
	offer(t, threads-1)
	t.work()
	watch(func() bool { return t.done.Load() == t.n })
	<-t.finished
}

// task is one call of split.
type task struct {
	f          func(i int)
	n          int64
	next, done atomic.Int64
	finished   chan struct{} // closed with the last number
}

// work takes numbers until there are none left.
func (t *task) work() {
	for {
		i := t.next.Add(1) - 1
		if i >= t.n {
			return
		}
		t.f(int(i))
		if t.done.Add(1) == t.n {
			close(t.finished)
		}
	}
}

// patience is how long a thread looks for work before it sleeps: to wake one up takes
// about as long, and products come one after the other.
const patience = 50 * time.Microsecond

// watch looks at a condition for some time.
func watch(holds func() bool) {
	for start := time.Now(); !holds() && time.Since(start) < patience; {
		runtime.Gosched()
	}
}

var (
	// tasks are offered to helpers. What does not fit is done by who brings it.
	tasks   = make(chan *task, 64)
	helpers atomic.Int64
)

// offer gives a task to a number of helpers, and starts those that don't exist yet.
func offer(t *task, count int) {
	for n := helpers.Load(); n < int64(count); n = helpers.Load() {
		if helpers.CompareAndSwap(n, n+1) {
			go help()
		}
	}
	for range count {
		select {
		case tasks <- t:
		default:
			return
		}
	}
}

func help() {
	for {
		watch(func() bool { return len(tasks) > 0 })
		(<-tasks).work()
	}
}
