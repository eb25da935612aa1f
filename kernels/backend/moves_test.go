package backend_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// counting is 0, 1, 2, …
func counting(n int) []int32 {
	list := make([]int32, n)
	for i := range list {
		list[i] = int32(i)
	}
	return list
}

// places visits all places of a shape in order.
func places(dims []int, visit func(flat int, index []int)) {
	total := 1
	for _, d := range dims {
		total *= d
	}
	for flat := range total {
		index, rest := make([]int, len(dims)), flat
		for a := len(dims) - 1; a >= 0; a-- {
			index[a] = rest % dims[a]
			rest /= dims[a]
		}
		visit(flat, index)
	}
}

func flatAt(dims, index []int) int {
	at := 0
	for a, d := range dims {
		at = at*d + index[a]
	}
	return at
}

// Padding and cropping with all signs against the definition.
func TestPad(t *testing.T) {
	b := open(t, "tlq")
	rng := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		dims := make([]int, rng.IntN(4))
		axes, to := make([]compute.PadAxis, len(dims)), make([]int, len(dims))
		valid := true
		for a := range dims {
			dims[a] = rng.IntN(5)
			axes[a] = compute.PadAxis{Start: rng.IntN(6) - 2, End: rng.IntN(6) - 2, Interior: rng.IntN(3)}
			to[a] = dims[a] + axes[a].Start + axes[a].End + max(0, dims[a]-1)*axes[a].Interior
			valid = valid && to[a] >= 0
		}
		if !valid {
			continue
		}
		n := 1
		for _, d := range dims {
			n *= d
		}
		var want []int32
		places(to, func(int, []int) { want = append(want, -1) })
		places(dims, func(flat int, index []int) {
			for a := range index {
				index[a] = axes[a].Start + index[a]*(1+axes[a].Interior)
				if index[a] < 0 || index[a] >= to[a] {
					return
				}
			}
			want[flatAt(to, index)] = int32(flat)
		})
		got := call(t, b, func(f compute.Function, p []compute.Value) (compute.Value, error) {
			x, err := f.Constant(counting(n), dims...)
			if err != nil {
				return nil, err
			}
			y, err := f.Pad(x, p[0], axes...)
			if err != nil {
				return nil, err
			}
			return f.Reshape(y, len(want))
		}, int32(-1)).([]int32)
		if !slices.Equal(got, want) {
			t.Fatalf("%v padded with %v: %v; want %v", dims, axes, got, want)
		}
	}
}

// Slices that reach beyond the operand: Gather and the dynamic slices move them
// to the border, Scatter leaves them out.
func TestBorders(t *testing.T) {
	b := open(t, "tlq")
	x := [][]int32{{0, 1, 2, 3}, {10, 11, 12, 13}, {20, 21, 22, 23}}
	starts := [][]int64{{-5, 1}, {1, 9}, {2, 2}, {1, 1}}
	gathered := call(t, b, func(f compute.Function, p []compute.Value) (compute.Value, error) {
		return f.Gather(p[0], p[1], 1, []int{1, 2}, nil, []int{0, 1}, []int{2, 2}, false)
	}, x, starts).([][][]int32)
	for i, want := range [][]int32{{1, 2, 11, 12}, {12, 13, 22, 23}, {12, 13, 22, 23}, {11, 12, 21, 22}} {
		if got := slices.Concat(gathered[i]...); !slices.Equal(got, want) {
			t.Errorf("gathered %v from %v; want %v", got, starts[i], want)
		}
	}
	scattered := call(t, b, func(f compute.Function, p []compute.Value) (compute.Value, error) {
		return f.ScatterSum(p[0], p[1], p[2], 1, []int{1, 2}, nil, []int{0, 1}, false, false)
	}, x, starts, [][][]int32{{{1, 1}, {1, 1}}, {{1, 1}, {1, 1}}, {{1, 1}, {1, 1}}, {{100, 200}, {300, 400}}}).([][]int32)
	if got, want := slices.Concat(scattered...), []int32{0, 1, 2, 3, 10, 111, 212, 13, 20, 321, 422, 23}; !slices.Equal(got, want) {
		t.Errorf("scattered %v; want %v", got, want)
	}
	for _, c := range []struct {
		row    int64
		column uint64
		want   []int32
	}{{-1, 0, []int32{0, 1, 2}}, {1, 1, []int32{11, 12, 13}}, {9, 1 << 63, []int32{21, 22, 23}}} {
		got := call(t, b, func(f compute.Function, p []compute.Value) (compute.Value, error) {
			return f.DynamicSlice(p[0], p[1:], []int{1, 3})
		}, x, c.row, c.column).([][]int32)
		if !slices.Equal(got[0], c.want) {
			t.Errorf("slice at %d, %d: %v; want %v", c.row, c.column, got[0], c.want)
		}
		updated := slices.Concat(call(t, b, func(f compute.Function, p []compute.Value) (compute.Value, error) {
			return f.DynamicUpdateSlice(p[0], p[1], p[2:])
		}, x, [][]int32{{-1, -2, -3}}, c.row, c.column).([][]int32)...)
		want := slices.Concat(x...)
		at := slices.Index(want, c.want[0])
		copy(want[at:], []int32{-1, -2, -3})
		if !slices.Equal(updated, want) {
			t.Errorf("update at %d, %d: %v; want %v", c.row, c.column, updated, want)
		}
	}
}

// Index vectors without an axis of their own.
func TestImplicitIndexAxis(t *testing.T) {
	b := open(t, "tlq")
	got := call(t, b, func(f compute.Function, p []compute.Value) (compute.Value, error) {
		return f.Gather(p[0], p[1], 1, []int{1}, []int{0}, []int{0}, []int{1, 2}, false)
	}, [][]int32{{1, 2}, {3, 4}, {5, 6}}, []int8{2, 0}).([][]int32)
	if flat := slices.Concat(got...); !slices.Equal(flat, []int32{5, 6, 1, 2}) {
		t.Errorf("gathered %v", flat)
	}
	sum := call(t, b, func(f compute.Function, p []compute.Value) (compute.Value, error) {
		return f.ScatterMax(p[0], p[1], p[2], 1, nil, []int{0}, []int{0}, false, false)
	}, []float64{1, 2, 3}, []uint8{1, 1}, []float64{5, 4}).([]float64)
	if !slices.Equal(sum, []float64{1, 5, 3}) {
		t.Errorf("scattered %v", sum)
	}
}

// Arrays without values pass through everything.
func TestEmptyArrays(t *testing.T) {
	b := open(t, "tlq")
	build := b.Builder("empty")
	f := build.Main()
	must := func(v compute.Value, err error) compute.Value {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	x := must(f.Parameter("x", shapes.Make(dtypes.Float32, 3, 0, 2), nil))
	y := must(f.Parameter("y", shapes.Make(dtypes.Float32, 3, 2), nil))
	none := must(f.Parameter("none", shapes.Make(dtypes.Int32, 0, 1), nil))
	fill := must(f.Constant([]float32{7}))
	outs := []compute.Value{
		must(f.Add(x, x)), must(f.Exp(x)), must(f.Transpose(x, 2, 1, 0)), must(f.Reverse(x, 1, 0)), must(f.Reshape(x, 0, 5)),
		must(f.ReduceSum(x, 1)), must(f.ReduceMax(x, 1)), must(f.ReduceSum(x, 0, 2)), must(f.ReduceProduct(x)), must(f.Concatenate(1, x, x)),
		must(f.DotGeneral(x, []int{1}, nil, x, []int{1}, nil, compute.DotGeneralConfig{})),
		must(f.DotGeneral(x, []int{2}, []int{0}, x, []int{2}, []int{0}, compute.DotGeneralConfig{})),
		must(f.Gather(y, none, 1, []int{1}, []int{0}, []int{0}, []int{1, 2}, false)),
		must(f.ScatterSum(y, none, must(f.Slice(y, []int{0, 0}, []int{0, 2}, nil)), 1, []int{1}, []int{0}, []int{0}, false, false)),
		must(f.Pad(x, fill, compute.PadAxis{}, compute.PadAxis{Start: 1})), must(f.BroadcastInDim(x, shapes.Make(dtypes.Float32, 4, 3, 0, 2), []int{1, 2, 3})),
		must(f.ConvertDType(x, dtypes.Int8)), must(f.Clamp(fill, x, fill)), must(f.IsNaN(x)),
	}
	if err := f.Return(outs, nil); err != nil {
		t.Fatal(err)
	}
	exec, err := build.Compile()
	if err != nil {
		t.Fatal(err)
	}
	var in []compute.Buffer
	for _, flat := range []struct {
		data any
		dims shapes.Shape
	}{{[]float32{}, shapes.Make(dtypes.Float32, 3, 0, 2)}, {[]float32{1, 2, 3, 4, 5, 6}, shapes.Make(dtypes.Float32, 3, 2)}, {[]int32{}, shapes.Make(dtypes.Int32, 0, 1)}} {
		buf, err := b.BufferFromFlatData(0, flat.data, flat.dims)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, buf)
	}
	out, err := exec.Execute(in, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{5, 10} {
		data, err := out[i].Data()
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range data.([]float32) {
			if v != 0 {
				t.Errorf("output %d: an empty sum is %v", i, v)
			}
		}
	}
	data, err := out[13].Data()
	if err != nil || !slices.Equal(data.([]float32), []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("nothing scattered: %v, %v", data, err)
	}
}

// Random bits: the published vectors of Philox4x32-10 (Random123, kat_vectors),
// and a state that continues where it stopped.
func TestRandomBits(t *testing.T) {
	b := open(t, "tlq")
	draw := func(state []uint64, n int) (next []uint64, values []uint32) {
		t.Helper()
		build := b.Builder("random")
		f := build.Main()
		s, err := f.Parameter("state", compute.RNGStateShape, nil)
		if err != nil {
			t.Fatal(err)
		}
		after, v, err := f.RNGBitGenerator(s, shapes.Make(dtypes.Uint32, n))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Return([]compute.Value{after, v}, nil); err != nil {
			t.Fatal(err)
		}
		exec, err := build.Compile()
		if err != nil {
			t.Fatal(err)
		}
		in, err := b.BufferFromFlatData(0, state, compute.RNGStateShape)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Execute([]compute.Buffer{in}, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		next, values = make([]uint64, 3), make([]uint32, n)
		if err := out[0].ToFlatData(next); err != nil {
			t.Fatal(err)
		}
		if err := out[1].ToFlatData(values); err != nil {
			t.Fatal(err)
		}
		return next, values
	}
	for _, c := range []struct {
		state []uint64
		want  []uint32
	}{
		{[]uint64{0, 0, 0}, []uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[]uint64{^uint64(0), ^uint64(0), ^uint64(0)}, []uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[]uint64{0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e}, []uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if _, got := draw(c.state, 4); !slices.Equal(got, c.want) {
			t.Errorf("state %#x gives %#x; want %#x", c.state, got, c.want)
		}
	}
	start := []uint64{42, ^uint64(0) - 100, 7} // the counter's lower half overflows
	_, all := draw(start, 40000)
	next, first := draw(start, 8000)
	_, rest := draw(next, 32000)
	if !slices.Equal(all, slices.Concat(first, rest)) {
		t.Error("two draws differ from one")
	}
}

// Bits keep their places when types of other sizes read them.
func TestBitcast(t *testing.T) {
	b := open(t, "tlq")
	to := func(dtype dtypes.DType) func(f compute.Function, p []compute.Value) (compute.Value, error) {
		return func(f compute.Function, p []compute.Value) (compute.Value, error) { return f.Bitcast(p[0], dtype) }
	}
	bytes := call(t, b, to(dtypes.Uint8), []uint64{0x0807060504030201}).([][]uint8)
	if !slices.Equal(bytes[0], []uint8{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("bytes %v", bytes[0])
	}
	if back := call(t, b, to(dtypes.Int64), bytes).([]int64); back[0] != 0x0807060504030201 {
		t.Errorf("back %#x", back[0])
	}
}
