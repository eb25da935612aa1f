package backend_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/notimplemented"
	"github.com/gomlx/compute/shapes"
)

// Misuse is refused while the graph is built, by operation and shapes.
func TestBuildErrors(t *testing.T) {
	b := open(t, "tlq")
	f := b.Builder("wrong").Main()
	parameter := func(dtype dtypes.DType, dims ...int) compute.Value {
		v, err := f.Parameter("p", shapes.Make(dtype, dims...), nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	x, y, none := parameter(dtypes.Float32, 2, 3), parameter(dtypes.Float32, 3, 2), parameter(dtypes.Float32, 0, 3)
	scalar, ints, flags := parameter(dtypes.Float32), parameter(dtypes.Int32, 2, 3), parameter(dtypes.Bool, 2, 3)
	other, err := b.Builder("other").Main().Parameter("q", shapes.Make(dtypes.Float32), nil)
	if err != nil {
		t.Fatal(err)
	}
	type result = func() (compute.Value, error)
	for name, c := range map[string]struct {
		call result
		want []string
	}{
		"types":           {func() (compute.Value, error) { return f.Add(x, ints) }, []string{"Add", "Float32", "Int32"}},
		"dimensions":      {func() (compute.Value, error) { return f.Mul(x, y) }, []string{"Mul", "[2, 3]", "[3, 2]"}},
		"empty axis":      {func() (compute.Value, error) { return f.Sub(none, parameter(dtypes.Float32, 1, 3)) }, []string{"Sub", "0 and 1"}},
		"comparison":      {func() (compute.Value, error) { return f.LessThan(x, ints) }, []string{"LessThan", "Int32"}},
		"exp of integers": {func() (compute.Value, error) { return f.Exp(ints) }, []string{"Exp", "Int32"}},
		"not of numbers":  {func() (compute.Value, error) { return f.LogicalNot(x) }, []string{"LogicalNot", "Float32"}},
		"bits of floats":  {func() (compute.Value, error) { return f.BitwiseAnd(x, x) }, []string{"BitwiseAnd", "Float32"}},
		"NaN of booleans": {func() (compute.Value, error) { return f.IsNaN(flags) }, []string{"IsNaN", "Bool"}},
		"where":           {func() (compute.Value, error) { return f.Where(x, x, x) }, []string{"Where", "boolean"}},
		"clamp":           {func() (compute.Value, error) { return f.Clamp(y, x, scalar) }, []string{"Clamp", "[3, 2]"}},
		"reshape":         {func() (compute.Value, error) { return f.Reshape(x, 7) }, []string{"Reshape", "[2, 3]", "7"}},
		"negative":        {func() (compute.Value, error) { return f.Reshape(x, -2, -3) }, []string{"Reshape"}},
		"transpose":       {func() (compute.Value, error) { return f.Transpose(x, 0, 0) }, []string{"Transpose", "repeated"}},
		"broadcast order": {func() (compute.Value, error) {
			return f.BroadcastInDim(x, shapes.Make(dtypes.Float32, 3, 2), []int{1, 0})
		}, []string{"BroadcastInDim", "ascending"}},
		"broadcast type": {func() (compute.Value, error) { return f.BroadcastInDim(x, shapes.Make(dtypes.Int8, 2, 3), []int{0, 1}) }, []string{"BroadcastInDim", "Int8"}},
		"broadcast size": {func() (compute.Value, error) {
			return f.BroadcastInDim(x, shapes.Make(dtypes.Float32, 2, 4), []int{0, 1})
		}, []string{"BroadcastInDim"}},
		"slice":             {func() (compute.Value, error) { return f.Slice(x, []int{0, 0}, []int{2, 9}, nil) }, []string{"Slice", "9"}},
		"reverse":           {func() (compute.Value, error) { return f.Reverse(x, 1, 1) }, []string{"Reverse", "twice"}},
		"concatenate":       {func() (compute.Value, error) { return f.Concatenate(2, x, x) }, []string{"Concatenate", "axis 2"}},
		"concatenate one":   {func() (compute.Value, error) { return f.Concatenate(5, x) }, []string{"Concatenate", "axis 5"}},
		"concatenate none":  {func() (compute.Value, error) { return f.Concatenate(0) }, []string{"Concatenate"}},
		"pad":               {func() (compute.Value, error) { return f.Pad(ints, scalar) }, []string{"Pad", "fill"}},
		"pad with array":    {func() (compute.Value, error) { return f.Pad(x, x) }, []string{"Pad", "scalar"}},
		"reduced axis":      {func() (compute.Value, error) { return f.ReduceSum(x, 2) }, []string{"ReduceSum", "axis 2"}},
		"reduced twice":     {func() (compute.Value, error) { return f.ReduceMax(x, 1, 1) }, []string{"ReduceMax", "twice"}},
		"sum of booleans":   {func() (compute.Value, error) { return f.ReduceSum(flags) }, []string{"ReduceSum", "numbers"}},
		"all of numbers":    {func() (compute.Value, error) { return f.ReduceLogicalAnd(x) }, []string{"ReduceLogicalAnd", "booleans"}},
		"bits of numbers":   {func() (compute.Value, error) { return f.ReduceBitwiseOr(x) }, []string{"ReduceBitwiseOr", "integers"}},
		"argmax axis":       {func() (compute.Value, error) { return f.ArgMinMax(x, 3, dtypes.Int32, false) }, []string{"ArgMinMax", "3"}},
		"argmax of nothing": {func() (compute.Value, error) { return f.ArgMinMax(none, 0, dtypes.Int32, false) }, []string{"ArgMinMax", "empty"}},
		"dot": {func() (compute.Value, error) {
			return f.DotGeneral(x, []int{1}, nil, y, []int{1}, nil, compute.DotGeneralConfig{})
		}, []string{"DotGeneral", "[2, 3]", "[3, 2]"}},
		"dot axis": {func() (compute.Value, error) {
			return f.DotGeneral(x, []int{4}, nil, y, []int{1}, nil, compute.DotGeneralConfig{})
		}, []string{"DotGeneral", "4"}},
		"dot of booleans": {func() (compute.Value, error) {
			return f.DotGeneral(flags, []int{1}, nil, flags, []int{1}, nil, compute.DotGeneralConfig{})
		}, []string{"DotGeneral", "Bool"}},
		"gather by numbers": {func() (compute.Value, error) {
			return f.Gather(x, y, 1, []int{1}, []int{0}, []int{0, 1}, []int{1, 3}, false)
		}, []string{"Gather", "integers"}},
		"gather sizes": {func() (compute.Value, error) {
			return f.Gather(x, ints, 1, []int{1}, []int{0}, []int{0, 1, 0}, []int{9, 3}, false)
		}, []string{"Gather", "9"}},
		"gather map": {func() (compute.Value, error) {
			return f.Gather(x, ints, 1, []int{1}, []int{0}, []int{0, 1, 0}, []int{1, 3}, false)
		}, []string{"Gather", "twice"}},
		"scatter": {func() (compute.Value, error) {
			return f.ScatterSum(x, parameter(dtypes.Int32, 5, 1), y, 1, []int{1}, []int{0}, []int{0}, false, false)
		}, []string{"ScatterSum", "[5]", "[3]"}},
		"dynamic slice": {func() (compute.Value, error) {
			return f.DynamicSlice(x, []compute.Value{scalar, scalar}, []int{1, 1})
		}, []string{"DynamicSlice", "integers"}},
		"dynamic starts": {func() (compute.Value, error) {
			return f.DynamicSlice(x, nil, []int{1, 1})
		}, []string{"DynamicSlice", "0 starts for 2 axes"}},
		"dynamic update": {func() (compute.Value, error) {
			return f.DynamicUpdateSlice(x, y, []compute.Value{parameter(dtypes.Int32), parameter(dtypes.Int32)})
		}, []string{"DynamicUpdateSlice", "3"}},
		"bitcast":        {func() (compute.Value, error) { return f.Bitcast(scalar, dtypes.Float64) }, []string{"Bitcast"}},
		"constant":       {func() (compute.Value, error) { return f.Constant([]float32{1, 2}, 3) }, []string{"length 2", "length 3"}},
		"constant value": {func() (compute.Value, error) { return f.Constant(float32(1)) }, []string{"expected a slice"}},
		"constant type":  {func() (compute.Value, error) { return f.Constant([]string{"a"}, 1) }, []string{"InvalidDType"}},
		"iota":           {func() (compute.Value, error) { return f.Iota(shapes.Make(dtypes.Float32, 2), 1) }, []string{"Iota", "axis 1"}},
		"random state": {func() (compute.Value, error) {
			_, v, err := f.RNGBitGenerator(x, shapes.Make(dtypes.Uint32, 2))
			return v, err
		}, []string{"RNGBitGenerator", "state"}},
		"softmax axis":        {func() (compute.Value, error) { return f.FusedSoftmax(x, -1) }, []string{"FusedSoftmax", "axis -1", "[2, 3]"}},
		"softmax of integers": {func() (compute.Value, error) { return f.FusedSoftmax(ints, 0) }, []string{"FusedSoftmax", "Int32"}},
		"gelu of booleans":    {func() (compute.Value, error) { return f.FusedGelu(flags, true) }, []string{"FusedGelu", "Bool"}},
		"norm of nothing":     {func() (compute.Value, error) { return f.FusedLayerNorm(x, nil, 1e-5, nil, nil) }, []string{"FusedLayerNorm", "no axes"}},
		"norm axis":           {func() (compute.Value, error) { return f.FusedLayerNorm(x, []int{-3}, 1e-5, nil, nil) }, []string{"FusedLayerNorm", "axis -1"}},
		"norm gain":           {func() (compute.Value, error) { return f.FusedLayerNorm(x, []int{1}, 1e-5, y, nil) }, []string{"[2, 3]", "[3, 2]"}},
		"norm bias": {func() (compute.Value, error) {
			return f.FusedLayerNorm(x, []int{1}, 1e-5, nil, parameter(dtypes.Float32, 1, 2, 3))
		}, []string{"FusedLayerNorm", "beta has more axes"}},
		"norm of integers": {func() (compute.Value, error) { return f.FusedLayerNorm(ints, []int{1}, 1e-5, nil, nil) }, []string{"FusedLayerNorm", "Int32"}},
		"another graph's":  {func() (compute.Value, error) { return f.Add(x, other) }, []string{"not a value of computation"}},
		"nil":              {func() (compute.Value, error) { return f.Neg(nil) }, []string{"not a value"}},
		"huge": {func() (compute.Value, error) {
			return f.BroadcastInDim(scalar, shapes.Make(dtypes.Float32, 1<<40, 1<<40), nil)
		}, []string{"larger than any memory"}},
	} {
		v, err := c.call()
		if err == nil || v != nil {
			t.Errorf("%s: got %v, no error", name, v)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q lacks %q", name, err, w)
			}
		}
	}
}

// What isn't computed answers with GoMLX's own error, on which it falls back, and
// isn't among the capabilities.
func TestNotImplemented(t *testing.T) {
	b := open(t, "tlq")
	f := b.Builder("missing").Main()
	x, err := f.Parameter("x", shapes.Make(dtypes.Float32, 2, 3), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"Atan2":       func() error { _, err := f.Atan2(x, x); return err },
		"FusedDense":  func() error { _, err := f.FusedDense(x, x, nil, compute.DenseConfig{}); return err },
		"Closure":     func() error { _, err := f.Closure(); return err },
		"NewFunction": func() error { _, err := f.Builder().NewFunction("g"); return err },
		"complex":     func() error { _, err := f.Parameter("c", shapes.Make(dtypes.Complex64, 2), nil); return err },
		"dynamic": func() error {
			_, err := f.Parameter("d", shapes.MakeDynamic(dtypes.Float32, []int{shapes.DynamicDim}, []string{"batch"}), nil)
			return err
		},
		"int4": func() error { _, err := f.ConvertDType(x, dtypes.Int4); return err },
		"buffer": func() error {
			_, err := b.BufferFromFlatData(0, []complex64{1}, shapes.Make(dtypes.Complex64, 1))
			return err
		},
		"rank": func() error {
			_, err := f.Reshape(x, 2, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
			return err
		},
	} {
		if err := call(); !compute.IsNotImplemented(err) && !errors.Is(err, notimplemented.NotImplementedError) {
			t.Errorf("%s: %v; want %v", name, err, compute.ErrNotImplemented)
		}
	}
	c := b.Capabilities()
	if c.Functions || c.DynamicAxes || c.Operations[compute.OpTypeAtan2] || c.DTypes[dtypes.Complex64] {
		t.Errorf("capabilities claim too much: %+v", c)
	}
}

// Buffers and executables that don't fit are refused, never a panic.
func TestExecutionErrors(t *testing.T) {
	b := open(t, "tlq")
	shape := shapes.Make(dtypes.Float32, 2)
	build := b.Builder("add")
	f := build.Main()
	if _, err := build.Compile(); err == nil {
		t.Error("compiled without outputs")
	}
	if err := f.Return(nil, nil); err == nil {
		t.Error("returned nothing")
	}
	x, err := f.Parameter("weights", shape, nil)
	if err != nil {
		t.Fatal(err)
	}
	y, err := f.Add(x, x)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Return([]compute.Value{y}, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Return([]compute.Value{y}, nil); err == nil {
		t.Error("returned twice")
	}
	if _, err := f.Neg(y); err == nil {
		t.Error("added after Return")
	}
	exec, err := build.Compile()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := build.Compile(); err == nil {
		t.Error("compiled twice")
	}
	good, err := b.BufferFromFlatData(0, []float32{1, 2}, shape)
	if err != nil {
		t.Fatal(err)
	}
	longer, _ := b.BufferFromFlatData(0, []float32{1, 2, 3}, shapes.Make(dtypes.Float32, 3))
	integers, _ := b.BufferFromFlatData(0, []int32{1, 2}, shapes.Make(dtypes.Int32, 2))
	foreign, err := open(t, reference).BufferFromFlatData(0, []float32{1, 2}, shape)
	if err != nil {
		t.Fatal(err)
	}
	cousin, _ := open(t, "tlq").BufferFromFlatData(0, []float32{1, 2}, shape)
	gone, _ := b.BufferFromFlatData(0, []float32{1, 2}, shape)
	if err := gone.Finalize(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		in     []compute.Buffer
		donate []bool
		want   string
	}{
		"none":     {nil, nil, "0 inputs; it has 1"},
		"nil":      {[]compute.Buffer{nil}, nil, "another backend"},
		"foreign":  {[]compute.Buffer{foreign}, nil, "another backend"},
		"cousin":   {[]compute.Buffer{cousin}, nil, "another backend"},
		"longer":   {[]compute.Buffer{longer}, nil, `"weights"`},
		"integers": {[]compute.Buffer{integers}, nil, "Int32"},
		"gone":     {[]compute.Buffer{gone}, nil, "finalized"},
		"donation": {[]compute.Buffer{good}, []bool{true, true}, "donates 2"},
	} {
		if _, err := exec.Execute(c.in, c.donate, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	if err := gone.ToFlatData(make([]float32, 2)); err == nil {
		t.Error("a finalized buffer was read")
	}
	for _, flat := range []any{nil, float32(1), []float32{1}, []int32{1, 2}} {
		if err := good.ToFlatData(flat); err == nil {
			t.Errorf("a buffer of %s was read as %T", shape, flat)
		}
		if _, err := b.BufferFromFlatData(0, flat, shape); err == nil {
			t.Errorf("a buffer of %s was made of %T", shape, flat)
		}
	}
	if _, err := b.BufferFromFlatData(1, []float32{1, 2}, shape); err == nil {
		t.Error("a second device")
	}
	if _, err := exec.Execute([]compute.Buffer{good}, nil, 0); err != nil {
		t.Error(err)
	}
	exec.Finalize()
	if _, err := exec.Execute([]compute.Buffer{good}, nil, 0); err == nil {
		t.Error("a finalized executable ran")
	}
	b.Finalize()
	if _, err := b.BufferFromFlatData(0, []float32{1, 2}, shape); err == nil || !b.IsFinalized() {
		t.Error("a finalized backend took data")
	}
	if _, err := compute.NewWithConfig("tlq:fast"); err == nil {
		t.Error("took an unknown configuration")
	}
}
