package backend

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// Fused softmax, layer norm and GELU are the operations that GoMLX decomposes them
// into, one by one. Since equal nodes are one, a graph that has both, because GoMLX
// differentiates the decomposed form, computes nothing twice; and since such
// operations run together in strips, nothing is lost.

// FusedSoftmax is the softmax along an axis.
func (f *function) FusedSoftmax(x compute.Value, axis int) (compute.Value, error) {
	const op = compute.OpTypeFusedSoftmax
	in, err := f.floats(op, x)
	if err != nil {
		return nil, err
	}
	if err := checkAxes("softmax", []int{axis}, in[0].shape.Rank()); err != nil {
		return nil, opError(op, in, err)
	}
	c := &chain{f: f}
	peak := c.keep(x, []int{axis}, f.ReduceMax)
	e := c.do(f.Exp(c.do(f.Sub(x, peak))))
	return c.result(f.Div(e, c.keep(e, []int{axis}, f.ReduceSum)))
}

// FusedGelu is x·Φ(x), with the error function or with Hendrycks' and Gimpel's
// approximation by the hyperbolic tangent.
func (f *function) FusedGelu(x compute.Value, exact bool) (compute.Value, error) {
	in, err := f.floats(compute.OpTypeFusedGelu, x)
	if err != nil {
		return nil, err
	}
	c, t := &chain{f: f}, in[0].shape.DType
	if exact {
		root := float64(math.Sqrt2) // rounded before the division, as GoMLX does
		e := c.do(f.Erf(c.do(f.Mul(x, c.scalar(t, 1/root)))))
		return c.result(f.Mul(x, c.do(f.Mul(c.do(f.Add(e, c.scalar(t, 1))), c.scalar(t, 0.5)))))
	}
	y := c.do(f.Add(x, c.do(f.Mul(c.do(f.Pow(x, c.scalar(t, 3))), c.scalar(t, 0.044715)))))
	y = c.do(f.Tanh(c.do(f.Mul(y, c.scalar(t, math.Sqrt(2/math.Pi))))))
	return c.result(f.Mul(x, c.do(f.Mul(c.do(f.Add(c.scalar(t, 1), y)), c.scalar(t, 0.5)))))
}

// FusedLayerNorm is (x − mean)/√(variance + epsilon)·gamma + beta over some axes,
// negative ones counted from the last on, for GoMLX passes them as it gets them.
// gamma and beta may be nil, and are spread from the right.
func (f *function) FusedLayerNorm(x compute.Value, axes []int, epsilon float64, gamma, beta compute.Value) (compute.Value, error) {
	const op = compute.OpTypeFusedLayerNorm
	in, err := f.floats(op, x)
	if err != nil {
		return nil, err
	}
	shape, axes := in[0].shape, slices.Clone(axes)
	for i, a := range axes {
		if a < 0 {
			axes[i] = a + shape.Rank()
		}
	}
	if err := checkAxes("normalized", axes, shape.Rank()); err != nil {
		return nil, opError(op, in, err)
	}
	if len(axes) == 0 {
		return nil, opError(op, in, fmt.Errorf("no axes"))
	}
	slices.Sort(axes)
	c := &chain{f: f}
	mean := func(x compute.Value) compute.Value {
		n := 1
		for _, a := range axes {
			n *= shape.Dimensions[a]
		}
		return c.keep(x, axes, func(x compute.Value, axes ...int) (compute.Value, error) {
			return f.Mul(c.do(f.ReduceSum(x, axes...)), c.scalar(shape.DType, 1/float64(n)))
		})
	}
	y := c.do(f.Sub(x, mean(x)))
	y = c.do(f.Div(y, c.do(f.Sqrt(c.do(f.Add(mean(c.do(f.Mul(y, y))), c.scalar(shape.DType, epsilon)))))))
	for i, v := range []compute.Value{gamma, beta} {
		if v == nil {
			continue
		}
		n, err := f.node(v)
		if err != nil {
			return nil, err
		}
		if n.shape.Rank() > shape.Rank() {
			return nil, opError(op, append(in, n), fmt.Errorf("%s has more axes than the operand", []string{"gamma", "beta"}[i]))
		}
		v = c.do(f.Reshape(v, append(slices.Repeat([]int{1}, shape.Rank()-n.shape.Rank()), n.shape.Dimensions...)...))
		if i == 0 {
			y = c.do(f.Mul(y, v))
		} else {
			y = c.do(f.Add(y, v))
		}
	}
	if c.err == nil && !sameShape(y.(*node).shape, shape) {
		return nil, opError(op, in, fmt.Errorf("gamma or beta make it %s", y.(*node).shape))
	}
	return c.result(y, c.err)
}

// floats checks that operands are floating-point numbers.
func (f *function) floats(op compute.OpType, operands ...compute.Value) ([]*node, error) {
	in, err := f.nodesOf(operands...)
	if err != nil {
		return nil, err
	}
	for _, n := range in {
		if !n.shape.DType.IsFloat() {
			return nil, opError(op, in, fmt.Errorf("of type %s; expected floating-point numbers", n.shape.DType))
		}
	}
	return in, nil
}

// chain strings operations together and remembers the first error.
type chain struct {
	f   *function
	err error
}

func (c *chain) do(v compute.Value, err error) compute.Value {
	if c.err == nil {
		c.err = err
	}
	return v
}

// result is the last operation's, or the chain's error.
func (c *chain) result(v compute.Value, err error) (compute.Value, error) {
	if c.do(v, err); c.err != nil {
		return nil, c.err
	}
	return v, nil
}

func (c *chain) scalar(t dtypes.DType, v float64) compute.Value {
	return c.do(c.f.Constant(scalarOf(t, v)))
}

// scalarOf is a slice of one value of a floating-point type.
func scalarOf(t dtypes.DType, v float64) any {
	flat := allocate(t, 1)
	convert(&buffer{shape: shapes.Make(dtypes.Float64), flat: []float64{v}}, &buffer{shape: shapes.Make(t), flat: flat}, 0, 1)
	return flat
}

// keep reduces axes of x to one value each.
func (c *chain) keep(x compute.Value, axes []int, reduce func(x compute.Value, axes ...int) (compute.Value, error)) compute.Value {
	n, err := c.f.node(x)
	if c.do(x, err); c.err != nil {
		return nil
	}
	dims := slices.Clone(n.shape.Dimensions)
	for _, a := range axes {
		dims[a] = 1
	}
	return c.do(c.f.Reshape(c.do(reduce(x, axes...)), dims...))
}
