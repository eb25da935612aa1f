package backend_test

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

func float32s(t testing.TB, x *tensors.Tensor) []float32 {
	t.Helper()
	flat, err := tensors.CopyFlatData[float32](x)
	if err != nil {
		t.Fatal(err)
	}
	return flat
}

// bits of all outputs, one after the other.
func bits(t testing.TB, out []*tensors.Tensor) []uint32 {
	t.Helper()
	var list []uint32
	for _, o := range out {
		for _, v := range float32s(t, o) {
			list = append(list, math.Float32bits(v))
		}
	}
	return list
}

// No output shares memory with another, with an input or with what the executable
// keeps: scribbling over everything that a call returned changes nothing in
// the next.
func TestOutputsAreTheCallers(t *testing.T) {
	b := open(t, "tlq")
	for seed := range uint64(150) {
		exec, err := graph.NewExec(b, func(in []*graph.Node) []*graph.Node {
			out, _ := build(seed, in)
			reshaped := graph.Reshape(out[0], out[0].Shape().Size())
			constant := graph.Const(in[0].Graph(), []float32{1, 2, 3})
			return append(out, in[0], in[0], reshaped, constant, graph.Reshape(constant, 3, 1), graph.Sin(out[0]))
		})
		if err != nil {
			t.Fatal(err)
		}
		in := inputs(seed, dtypes.Float32)
		first, err := exec.Call(in...)
		if err != nil {
			t.Fatal(err)
		}
		want := bits(t, first)
		for i, o := range first {
			if err := tensors.MutableFlatData(o, func(flat []float32) {
				for k := range flat {
					flat[k] = float32(i) + 0.125
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		for i, o := range first {
			for _, v := range float32s(t, o) {
				if v != float32(i)+0.125 {
					t.Fatalf("seed %d: output %d shares memory with another", seed, i)
				}
			}
		}
		second, err := exec.Call(in...)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(bits(t, second), want) {
			t.Fatalf("seed %d: the second call differs", seed)
		}
		exec.Finalize()
	}
}

// The same bytes for any number of processors, and from calls side by side.
func TestDeterminism(t *testing.T) {
	b := open(t, "tlq")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var want []uint32
	for _, procs := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(procs)
		exec := small.exec(t, b)
		out, err := exec.Call(small.arguments(3)...)
		if err != nil {
			t.Fatal(err)
		}
		got := bits(t, out)
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("other bytes with %d processors", procs)
		}
	}
	exec := small.exec(t, b)
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			args := small.arguments(3)
			for range 3 {
				out, err := exec.Call(args...)
				if err != nil {
					t.Error(err)
					return
				}
				if !slices.Equal(bits(t, out), want) {
					t.Error("other bytes in calls side by side")
					return
				}
			}
		})
	}
	group.Wait()
}

// Random graphs give the same bytes for any number of processors.
func TestRandomGraphsDeterministic(t *testing.T) {
	b := open(t, "tlq")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for seed := range uint64(60) {
		var want string
		for _, procs := range []int{1, 3} {
			runtime.GOMAXPROCS(procs)
			out, _, trail := run(t, b, seed, dtypes.Float32)
			got := fmt.Sprintf("%x", out)
			if want == "" {
				want = got
			}
			if got != want {
				t.Fatalf("seed %d: other bytes with %d processors\n%v", seed, procs, trail)
			}
		}
	}
}

// Rows are independent: a batch gives each of its parts the bytes that the part
// gets alone.
func TestRowsAreIndependent(t *testing.T) {
	b := open(t, "tlq")
	const width, rows = 48, 700
	x := make([]float32, rows*width)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)))
	}
	exec, err := graph.NewExec(b, func(x *graph.Node) *graph.Node {
		w := graph.MulScalar(graph.IotaFull(x.Graph(), shapes.Make(dtypes.Float32, width, width)), 1e-3)
		y := graph.Sigmoid(graph.DotGeneral(x, []int{1}, nil, graph.Sin(w), []int{1}, nil))
		return rowSoftmax(rmsNorm(y, graph.Ones(x.Graph(), shapes.Make(dtypes.Float32, width))))
	})
	if err != nil {
		t.Fatal(err)
	}
	result := func(from, to int) []float32 {
		out, err := exec.Call1(tensors.FromFlatDataAndDimensions(slices.Clone(x[from*width:to*width]), to-from, width))
		if err != nil {
			t.Fatal(err)
		}
		return float32s(t, out)
	}
	all := result(0, rows)
	for _, part := range [][2]int{{0, 1}, {1, 8}, {350, 700}, {699, 700}} {
		if !slices.Equal(result(part[0], part[1]), all[part[0]*width:part[1]*width]) {
			t.Errorf("rows %v alone differ", part)
		}
	}
}

// NaN and infinities go where IEEE 754 sends them.
func TestNaNTravels(t *testing.T) {
	b := open(t, "tlq")
	exec, err := graph.NewExec(b, func(x *graph.Node) []*graph.Node {
		column := graph.ReduceAndKeep(x, graph.ReduceSum, -1)
		return []*graph.Node{
			graph.DotGeneral(x, []int{1}, nil, x, []int{1}, nil), column, graph.ReduceMax(x, 0), graph.Div(x, column), rowSoftmax(x),
			graph.ReduceMin(x, 1), graph.Sub(graph.ScalarZero(x.Graph(), dtypes.Float32), x), graph.ReduceMean(x, 0),
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	const rows, columns = 20, 37
	data := make([]float32, rows*columns)
	for i := range data {
		data[i] = 0.01 * float32(1+i%11)
	}
	data[3*columns+5] = float32(math.NaN())
	data[7*columns+9] = float32(math.Inf(1))
	out, err := exec.Call(tensors.FromFlatDataAndDimensions(data, rows, columns))
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range out {
		width := o.Shape().Size() / rows
		for k, v := range float32s(t, o) {
			row, column := k/max(width, 1), k%max(width, 1)
			if i == 2 || i == 7 { // one value per column
				row, column = -1, k
			}
			var nan, inf bool
			switch i {
			case 0:
				nan = row == 3 || column == 3
				inf = !nan && (row == 7 || column == 7)
			case 1, 5:
				nan, inf = row == 3, row == 7 && i == 1
			case 2, 7:
				nan, inf = column == 5, column == 9
			case 3:
				nan = row == 3 || (row == 7 && column == 9)
			case 4:
				nan = row == 3 || row == 7
			case 6:
				nan, inf = row == 3 && column == 5, row == 7 && column == 9
			}
			if (v != v) != nan || math.IsInf(float64(v), 0) != inf {
				t.Fatalf("output %d[%d]: %v; NaN expected: %t, infinity: %t", i, k, v, nan, inf)
			}
		}
	}
}

// What is not needed is not computed: its parameters may still be given.
func TestUnusedResults(t *testing.T) {
	b := open(t, "tlq")
	build := b.Builder("unused")
	f := build.Main()
	x, err := f.Parameter("x", shapes.Make(dtypes.Float32, 2), nil)
	if err != nil {
		t.Fatal(err)
	}
	y, err := f.Parameter("y", shapes.Make(dtypes.Int8), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Neg(y); err != nil {
		t.Fatal(err)
	}
	if err := f.Return([]compute.Value{x}, nil); err != nil {
		t.Fatal(err)
	}
	exec, err := build.Compile()
	if err != nil {
		t.Fatal(err)
	}
	in0, _ := b.BufferFromFlatData(0, []float32{1, 2}, shapes.Make(dtypes.Float32, 2))
	in1, _ := b.BufferFromFlatData(0, []int8{3}, shapes.Make(dtypes.Int8))
	out, err := exec.Execute([]compute.Buffer{in0, in1}, []bool{true, false}, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 2)
	if err := out[0].ToFlatData(got); err != nil || got[0] != 1 || got[1] != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := in0.Data(); err == nil {
		t.Error("a donated buffer is still there")
	}
	if _, err := exec.Execute([]compute.Buffer{in0, in1}, nil, 0); err == nil {
		t.Error("a donated buffer was taken again")
	}
}
