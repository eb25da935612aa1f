package backend

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Regions in use never overlap, and what is given back is found again.
func TestRegions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r regions
	var used []region
	most, sum := 0, 0
	for range 5000 {
		if len(used) > 0 && rng.IntN(5) < 2+len(used)/20 {
			i := rng.IntN(len(used))
			r.give(used[i])
			sum -= used[i].size
			used[i] = used[len(used)-1]
			used = used[:len(used)-1]
			continue
		}
		n := 1 + rng.IntN(5000)
		p := r.take(n)
		if p.size < n || p.at%lineBytes != 0 || p.at+p.size > r.size {
			t.Fatalf("%d bytes at %+v of %d", n, p, r.size)
		}
		for _, u := range used {
			if p.at < u.at+u.size && u.at < p.at+p.size {
				t.Fatalf("%+v overlaps %+v", p, u)
			}
		}
		used = append(used, p)
		sum += p.size
		most = max(most, sum)
	}
	if r.size > 2*most {
		t.Errorf("%d bytes for at most %d in use", r.size, most)
	}
	for _, u := range used {
		r.give(u)
	}
	if len(r.gaps) != 1 || r.gaps[0] != (region{0, r.size}) {
		t.Errorf("all given back: %+v of %d", r.gaps, r.size)
	}
}

// Memory is shared by calls one after the other, a larger call replaces a smaller
// one's, and the limit holds for all together.
func TestChunks(t *testing.T) {
	var p chunks
	unlimited := limit{}
	take := func(n int) *chunk {
		c, err := p.take(n, unlimited)
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.bytes {
			c.bytes[i]++
		}
		return c
	}
	a, b := take(1000), take(2000)
	p.give(a)
	p.give(b)
	if c := take(900); c != a {
		t.Error("the smallest that fits was not taken")
	}
	if c := take(5 << 20); len(p.free) != 0 || len(c.bytes) < 5<<20 {
		t.Error("the larger call didn't replace the idle memory")
	} else {
		p.give(c)
	}
	if p.used != 1000 {
		t.Errorf("%d bytes in use; want 1000", p.used)
	}
	p.give(a)
	if _, err := p.take(10<<20, limit{1 << 20, "test"}); !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "10.0 MiB") || !strings.Contains(err.Error(), "1.0 MiB (test)") {
		t.Errorf("beyond the limit: %v", err)
	}
	a = take(3 << 20)
	if _, err := p.take(2<<20, limit{4 << 20, "test"}); !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "3.0 MiB of other calls") {
		t.Errorf("beyond the limit together: %v", err)
	}
	p.give(a)
	for _, c := range p.free {
		c.idle = time.Now().Add(-keepIdle)
	}
	if p.expire(); len(p.free) != 0 {
		t.Error("idle memory was kept")
	}
}

func TestParseLimit(t *testing.T) {
	for s, want := range map[string]int{"8GiB": 8 << 30, "1.5 KiB": 1536, "2MB": 2e6, "123": 123} {
		if l, err := parseLimit(s); err != nil || l.bytes != want {
			t.Errorf("%q: %d, %v; want %d", s, l.bytes, err, want)
		}
	}
	for _, s := range []string{"", "GiB", "-1GiB", "0", "8 gigs", "NaN", "1e300TiB", "Inf"} {
		if _, err := parseLimit(s); err == nil || !strings.Contains(err.Error(), "8GiB") {
			t.Errorf("%q: %v", s, err)
		}
	}
	if n := memTotal("MemFree: 1 kB\nMemTotal:       24 kB\n"); n != 24<<10 {
		t.Errorf("total memory: %d", n)
	}
	if n := memTotal("MemTotal:"); n != 0 {
		t.Errorf("no number: %d", n)
	}
}
