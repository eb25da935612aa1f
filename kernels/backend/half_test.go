package backend_test

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
)

// Half precision: every value survives widening, and every number between two
// neighbours rounds to the nearer, halves to even.
func TestHalfPrecision(t *testing.T) {
	b := open(t, "tlq")
	to := func(dtype dtypes.DType) func(f compute.Function, p []compute.Value) (compute.Value, error) {
		return func(f compute.Function, p []compute.Value) (compute.Value, error) { return f.ConvertDType(p[0], dtype) }
	}
	brain, ieee := make([]bfloat16.BFloat16, 1<<16), make([]float16.Float16, 1<<16)
	for i := range brain {
		brain[i], ieee[i] = bfloat16.FromBits(uint16(i)), float16.FromBits(uint16(i))
	}
	check := func(name string, list any, dtype dtypes.DType, bits func(i int, v any) uint16) {
		for _, wide := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
			values := call(t, b, to(wide), list)
			back := reflect.ValueOf(call(t, b, to(dtype), values))
			for i := range 1 << 16 {
				v := reflect.ValueOf(values).Index(i).Float()
				got := bits(i, back.Index(i).Interface())
				if got != uint16(i) && !math.IsNaN(v) {
					t.Fatalf("%s %#04x is %v, which becomes %#04x", name, i, v, got)
				}
			}
		}
		values := call(t, b, to(dtypes.Float64), list).([]float64)
		var middle []float64
		var below []int
		for i := range 1<<16 - 1 {
			x, y := values[i], values[i+1]
			if i == 1<<15-1 || math.IsNaN(x) || math.IsNaN(y) || math.IsInf(x, 0) || math.IsInf(y, 0) {
				continue
			}
			middle, below = append(middle, (x+y)/2, (x+y)/2+(y-x)/1024, (x+y)/2-(y-x)/1024), append(below, i)
		}
		rounded := reflect.ValueOf(call(t, b, to(dtype), middle))
		for k, i := range below {
			even, up, down := bits(0, rounded.Index(3*k).Interface()), bits(0, rounded.Index(3*k+1).Interface()), bits(0, rounded.Index(3*k+2).Interface())
			if int(even) != i+i&1 || int(up) != i+1 || int(down) != i {
				t.Fatalf("%s: between %#04x and the next: %#04x, %#04x, %#04x", name, i, even, up, down)
			}
		}
	}
	check("bfloat16", brain, dtypes.BFloat16, func(_ int, v any) uint16 { return v.(bfloat16.BFloat16).Bits() })
	check("float16", ieee, dtypes.Float16, func(_ int, v any) uint16 { return v.(float16.Float16).Bits() })
	got := call(t, b, to(dtypes.Float16), []float64{65519, 65520, -1e9, math.NaN()}).([]float16.Float16)
	if got[0].Float32() != 65504 || got[1].Bits() != 0x7C00 || got[2].Bits() != 0xFC00 || got[3].Float32() == got[3].Float32() {
		t.Errorf("65519, 65520, −1e9 and NaN become %v", got)
	}
}

// Arithmetic of half precision rounds the exact result once.
func TestHalfArithmetic(t *testing.T) {
	b := open(t, "tlq")
	rng := rand.New(rand.NewPCG(3, 3))
	x, y := make([]bfloat16.BFloat16, 300), make([]bfloat16.BFloat16, 300)
	for i := range x {
		x[i], y[i] = bfloat16.FromFloat32(float32(rng.NormFloat64())), bfloat16.FromFloat32(float32(rng.NormFloat64()))
	}
	product := call(t, b, func(f compute.Function, p []compute.Value) (compute.Value, error) { return f.Mul(p[0], p[1]) }, x, y).([]bfloat16.BFloat16)
	sum := call(t, b, func(f compute.Function, p []compute.Value) (compute.Value, error) { return f.ReduceSum(p[0]) }, x).(bfloat16.BFloat16)
	total := 0.0
	for i := range x {
		if want := bfloat16.FromFloat32(x[i].Float32() * y[i].Float32()); product[i] != want {
			t.Fatalf("%v·%v = %v; want %v", x[i], y[i], product[i], want)
		}
		total += x[i].Float64()
	}
	if want := bfloat16.FromFloat64(total); sum != want {
		t.Errorf("sum %v; want %v", sum, want)
	}
	less := call(t, b, func(f compute.Function, p []compute.Value) (compute.Value, error) { return f.LessThan(p[0], p[1]) }, x, y).([]bool)
	for i := range less {
		if less[i] != (x[i].Float32() < y[i].Float32()) {
			t.Fatalf("%v < %v is %v", x[i], y[i], less[i])
		}
	}
}
