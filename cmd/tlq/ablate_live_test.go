package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/tlqlab/tlqlab/harness"
)

// liveState is a run of two models, two methods and two seeds, a part of which is done.
func liveState() harness.RunState {
	s := harness.RunState{Changed: -1, Elapsed: 190 * time.Second, Left: 4000 * time.Second}
	add := func(model, format, method string, seed uint64, share float64, record *harness.Record) {
		if record != nil {
			record.Method = method
		}
		s.Cells = append(s.Cells, harness.CellState{
			Cell: harness.Cell{Model: model, Format: format, Method: method, Seed: seed}, Running: share > 0 && share < 1, Share: share, Record: record,
		})
	}
	ok := func(kl, accuracy float64) *harness.Record {
		return &harness.Record{Status: harness.StatusOK, Metrics: harness.Metrics{KL: kl, Accuracy: accuracy}}
	}
	failed := &harness.Record{Status: harness.StatusFailed, Events: []harness.Event{{Kind: harness.EventError, Text: "no disk"}}}
	add("zoo:a-nano", "", harness.MethodFP, 0, 1, ok(0, 0.5))
	add("zoo:a-nano", "w4a8", "rtn", 0, 1, ok(0.1, 0.4))
	add("zoo:a-nano", "w4a8", "rtn", 1, 1, ok(0.3, 0.4))
	add("zoo:a-nano", "w4a8", "tlq", 0, 1, failed)
	add("zoo:a-nano", "w4a8", "tlq", 1, 0, nil)
	add("zoo:b-nano", "", harness.MethodFP, 0, 0, nil)
	add("zoo:b-nano", "w4a8", "rtn", 0, 0.5, nil)
	add("zoo:b-nano", "w4a8", "rtn", 1, 0, nil)
	return s
}

func TestLiveTable(t *testing.T) {
	var b bytes.Buffer
	l := newLiveTable(&b, "paper")
	s := liveState()
	l.draw(&s)
	want := `model   setting      fp         rtn  tlq
------  -----------  ------  ------  ------
a-nano  unquantized  0.5000
a-nano  w4a8                 0.2000  failed
b-nano  unquantized  ·
b-nano  w4a8                    25%
paper 4/8 cells, 3m10s, about 1h7m left
`
	if b.String() != want {
		t.Errorf("got:\n%swant:\n%s", b.String(), want)
	}
	b.Reset()
	l.draw(&s)
	if !strings.HasPrefix(b.String(), "\x1b[7A\x1b[J") {
		t.Errorf("the second drawing begins with %q", b.String()[:12])
	}
}

// TestLiveLines writes a line for a cell that took a while, none for one from the store.
func TestLiveLines(t *testing.T) {
	var b bytes.Buffer
	l := newLiveTable(&b, "paper")
	s := liveState()
	l.watch(s)
	s.Changed = 1
	l.watch(s)
	if b.Len() > 0 {
		t.Errorf("a cell from the store: %s", b.String())
	}
	l.started[1] = time.Now().Add(-3 * time.Second)
	l.watch(s)
	if got := b.String(); !strings.Contains(got, "paper 4/8 cells") || !strings.Contains(got, "zoo:a-nano w4a8 rtn seed 0: KL 0.1000, accuracy 0.400 in 3.0s") {
		t.Errorf("got %s", got)
	}
	s.Changed = 3
	l.started[3] = time.Now().Add(-time.Minute)
	b.Reset()
	l.watch(s)
	if !strings.Contains(b.String(), "failed: no disk in 1m0s") {
		t.Errorf("got %s", b.String())
	}
}
