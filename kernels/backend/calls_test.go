package backend_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/tlqlab/tlqlab/kernels/backend"
)

// A graph that would not fit into memory is refused when it is compiled, with its
// name, what it needs and what there is.
func TestMemoryLimit(t *testing.T) {
	build := func(b builder2) []compute.Value {
		x := b.must(b.f.Parameter("x", shapes.Make(dtypes.Float32, 1000, 1000), nil))
		y := b.must(b.f.DotGeneral(x, []int{1}, nil, x, []int{1}, nil, compute.DotGeneralConfig{}))
		return []compute.Value{b.must(b.f.DotGeneral(y, []int{1}, nil, x, []int{1}, nil, compute.DotGeneralConfig{}))}
	}
	compiled(t, open(t, "tlq:memory=12MB"), build) // x, y and the result
	small := open(t, "tlq:memory=11MB").Builder("large graph")
	if err := small.Main().Return(build(builder2{t, small.Main()}), nil); err != nil {
		t.Fatal(err)
	}
	_, err := small.Compile()
	if !errors.Is(err, backend.ErrMemory) {
		t.Fatalf("got %v; want %v", err, backend.ErrMemory)
	}
	for _, want := range []string{"large graph", "needs 11.4 MiB", "3.8 MiB of it intermediate", "10.5 MiB (memory=11MB)", "smaller batches"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	for config, want := range map[string]string{"tlq:memory=much": "8GiB", "tlq:threads=3": "memory=SIZE"} {
		if _, err := compute.NewWithConfig(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
}

// chain is products one after the other.
func chain(n, size int) func(b builder2) []compute.Value {
	return func(b builder2) []compute.Value {
		x := b.must(b.f.Parameter("x", shapes.Make(dtypes.Float32, size, size), nil))
		y := x
		for range n {
			y = b.must(b.f.DotGeneral(y, []int{1}, nil, x, []int{1}, nil, compute.DotGeneralConfig{}))
		}
		return []compute.Value{y}
	}
}

// Finalizing an executable or its backend stops calls that run.
func TestFinalizeStops(t *testing.T) {
	for _, what := range []string{"executable", "backend"} {
		b := open(t, "tlq")
		e := compiled(t, b, chain(20_000, 128)) // a second or more
		x, err := b.BufferFromFlatData(0, make([]float32, 128*128), shapes.Make(dtypes.Float32, 128, 128))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(20*time.Millisecond, func() {
			if what == "backend" {
				b.Finalize()
			} else {
				e.Finalize()
			}
		})
		if _, err := e.Execute([]compute.Buffer{x}, nil, 0); !errors.Is(err, backend.ErrFinalized) {
			t.Errorf("%s finalized during a call: %v", what, err)
		}
		if _, err := e.Execute([]compute.Buffer{x}, nil, 0); !errors.Is(err, backend.ErrFinalized) {
			t.Errorf("%s finalized before a call: %v", what, err)
		}
	}
}

// Many calls of several graphs at a time come to an end, with the bits of calls
// one by one, however many processors there are.
func TestCallsSideBySide(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	b := open(t, "tlq")
	attention := attentionCase{layout: compute.AttentionAxesLayoutBSHD, batch: 2, heads: 2, keyHeads: 1, queries: 20, keys: 20, width: 4, mask: "causal"}
	block := blockSize{batch: 2, tokens: 24, width: 32, heads: 4}
	type job struct {
		exec *graph.Exec
		args []any
		want []uint32
	}
	var jobs []*job
	for _, j := range []struct {
		build func(in []*graph.Node) []*graph.Node
		args  []any
	}{
		{block.step, block.arguments(1)},
		{func(in []*graph.Node) []*graph.Node { return []*graph.Node{attention.fused(in[0], in[1], in[2])} }, attention.inputs()},
		{func(in []*graph.Node) []*graph.Node { return []*graph.Node{graph.ReduceAllSum(graph.Sin(in[0]))} }, []any{tensors.FromFlatDataAndDimensions(make([]float32, 50_000), 50_000)}},
	} {
		exec, err := graph.NewExec(b, j.build)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call(j.args...)
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, &job{exec, j.args, bits(t, out)})
	}
	for _, procs := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(procs)
		var group sync.WaitGroup
		for i := range 24 {
			j := jobs[i%len(jobs)]
			group.Go(func() {
				for range 5 {
					out, err := j.exec.Call(j.args...)
					if err != nil {
						t.Error(err)
					} else if !slices.Equal(bits(t, out), j.want) {
						t.Errorf("graph %d on %d processors: other bits", i%len(jobs), procs)
					}
				}
			})
		}
		group.Wait()
	}
}
