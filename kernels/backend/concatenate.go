package backend

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

// Concatenate joins operands along an axis.
func (f *function) Concatenate(axis int, operands ...compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(operands...)
	if err != nil {
		return nil, err
	}
	shape, err := infer(compute.OpTypeConcatenate, in, func() (shapes.Shape, error) {
		list := make([]shapes.Shape, len(in))
		for i, n := range in {
			list[i] = n.shape
			if axis < 0 || axis >= n.shape.Rank() {
				return shapes.Invalid(), fmt.Errorf("axis %d of %s", axis, n.shape)
			}
		}
		return shapeinference.Concatenate(list, axis)
	})
	if err != nil {
		return nil, err
	}
	move := moverOf(shape.DType)
	return value(f.add(&node{op: compute.OpTypeConcatenate, shape: shape, inputs: in, moves: true, run: func(in []*buffer, out *buffer) {
		move.concatenate(in, out, axis)
	}}))
}

func (moving[W]) concatenate(in []*buffer, out *buffer, axis int) {
	dst := asWords[W](out)
	outer, row := size(out.shape.Dimensions[:axis]), size(out.shape.Dimensions[axis:])
	at := 0
	for _, b := range in {
		src, width := asWords[W](b), size(b.shape.Dimensions[axis:])
		to := at
		at += width
		if len(src) == 0 {
			continue
		}
		parallel(outer, max(1, pieceSize/width), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				copy(dst[i*row+to:], src[i*width:(i+1)*width])
			}
		})
	}
}

// padding says where a padded array's values go: the output is filled first, then
// the rows of the operand are copied. Negative padding crops.
type padding struct {
	from, to []int // dimensions before and after
	axes     []compute.PadAxis
}

// Pad surrounds and interleaves x with fill; negative padding crops.
func (f *function) Pad(x, fill compute.Value, axes ...compute.PadAxis) (compute.Value, error) {
	in, err := f.nodesOf(x, fill)
	if err != nil {
		return nil, err
	}
	shape, err := infer(compute.OpTypePad, in, func() (shapes.Shape, error) {
		if s := in[1].shape; s.Rank() != 0 || s.DType != in[0].shape.DType {
			return s, fmt.Errorf("fill value of shape %s; expected a scalar of the operand's type", s)
		}
		return shapeinference.Pad(in[0].shape, axes...)
	})
	if err != nil {
		return nil, err
	}
	p := padding{from: in[0].shape.Dimensions, to: shape.Dimensions, axes: slices.Clone(axes)}
	for len(p.axes) < len(p.from) {
		p.axes = append(p.axes, compute.PadAxis{})
	}
	move := moverOf(shape.DType)
	return value(f.add(&node{op: compute.OpTypePad, shape: shape, inputs: in, moves: true, run: func(in []*buffer, out *buffer) {
		move.pad(p, in[0], in[1], out)
	}}))
}

// place is where index i of an axis goes; inside is false where it is cropped.
func (p *padding) place(axis, i int) (to int, inside bool) {
	to = p.axes[axis].Start + i*(1+p.axes[axis].Interior)
	return to, to >= 0 && to < p.to[axis]
}

func (moving[W]) pad(p padding, x, fill, out *buffer) {
	dst, src := asWords[W](out), asWords[W](x)
	v := asWords[W](fill)[0]
	for i := range dst {
		dst[i] = v
	}
	rank := len(p.from)
	if len(src) == 0 || len(dst) == 0 {
		return
	}
	if rank == 0 {
		dst[0] = src[0]
		return
	}
	strides := out.shape.Strides()
	inner := p.from[rank-1]
	for row := range len(src) / inner {
		at, inside := 0, true
		rest := row
		for axis := rank - 2; axis >= 0 && inside; axis-- {
			var to int
			to, inside = p.place(axis, rest%p.from[axis])
			rest /= p.from[axis]
			at += to * strides[axis]
		}
		if !inside {
			continue
		}
		for i, v := range src[row*inner : (row+1)*inner] {
			if to, inside := p.place(rank-1, i); inside {
				dst[at+to] = v
			}
		}
	}
}
