package display

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// clocked gives p a clock that the test moves.
func clocked(p *Progress) func(time.Duration) {
	now := p.start
	p.now = func() time.Time { return now }
	return func(d time.Duration) { now = now.Add(d) }
}

func TestProgressLines(t *testing.T) {
	var b bytes.Buffer
	p := newProgress("layers", 8, &b, false)
	tick := clocked(p)
	for range 7 {
		tick(2 * time.Second)
		p.Add(1)
	}
	p.Set(8, "kl 0.1")
	p.Done()
	p.Done()
	p.Add(1)
	want := "layers: 3/8 (6s, 10s left)\nlayers: 6/8 (12s, 4s left)\nlayers: 8/8 kl 0.1 (14s)\n"
	if b.String() != want {
		t.Errorf("got:\n%swant:\n%s", b.String(), want)
	}
}

func TestProgressBar(t *testing.T) {
	var b bytes.Buffer
	p := newProgress("train", 10, &b, true)
	tick := clocked(p)
	p.Set(1, "loss 12.345")
	p.Set(2, "not drawn: too soon")
	tick(time.Second)
	p.Set(5, "")
	p.Done()
	frames := strings.Split(b.String(), "\r")
	if len(frames) != 4 || !strings.HasSuffix(b.String(), "\n") {
		t.Fatalf("frames %q", frames)
	}
	if want := "train [###...........................] 1/10 loss 12.345 (0s)"; frames[1] != want {
		t.Errorf("first frame %q, want %q", frames[1], want)
	}
	if !strings.HasPrefix(frames[2], "train [###############...............] 5/10 (1s, 1s left)") {
		t.Errorf("second frame %q", frames[2])
	}
	if len(frames[2]) < len(frames[1]) {
		t.Errorf("second frame %q leaves part of the first on the screen", frames[2])
	}
}

func TestProgressUnknownTotal(t *testing.T) {
	var b bytes.Buffer
	p := newProgress("read", 0, &b, false)
	clocked(p)
	p.Add(3)
	p.Done()
	if b.String() != "read: 3 (0s)\n" {
		t.Errorf("got %q", b.String())
	}
	var none *Progress
	none.Add(1)
	none.Set(1, "")
	none.Done()
}

// TestProgressStop ends displays of what failed: the next output begins on a line of its own.
func TestProgressStop(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		var b bytes.Buffer
		p := newProgress("layers", 8, &b, terminal)
		p.Stop() // nothing was drawn
		if b.String() != "" {
			t.Errorf("terminal %v: drew %q", terminal, b.String())
		}
		p = newProgress("layers", 8, &b, terminal)
		tick := clocked(p)
		tick(6 * time.Second)
		p.Add(1)
		p.Stop()
		p.Stop()
		p.Add(1)
		p.Done()
		if got := b.String(); strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") || !strings.Contains(got, "1/8") {
			t.Errorf("terminal %v: drew %q", terminal, got)
		}
	}
	(*Progress)(nil).Stop()
}

// TestProgressLinesOnce ends a log whose last line said all already.
func TestProgressLinesOnce(t *testing.T) {
	var b bytes.Buffer
	p := newProgress("layers", 2, &b, false)
	tick := clocked(p)
	tick(6 * time.Second)
	p.Set(2, "")
	p.Done()
	if got, want := b.String(), "layers: 2/2 (6s)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
