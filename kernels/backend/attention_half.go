package backend

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
)

// widen converts queries, keys and values to float32 where all are of one type of half
// precision, a mask or bias of that type with them, and returns the type; where
// there is nothing to convert, float32 and the options as they are.
func (f *function) widen(options *compute.ScaledDotProductAttentionConfig, operands ...*compute.Value) (dtypes.DType, *compute.ScaledDotProductAttentionConfig, error) {
	half := dtypes.Float32
	for i, v := range operands {
		n, err := f.node(*v)
		if err != nil {
			return half, nil, err
		}
		if i == 0 && n.shape.DType.IsHalfPrecision() {
			half = n.shape.DType
		}
		if n.shape.DType != half { // of two types, or not half: the operation says what it expects
			return dtypes.Float32, options, nil
		}
	}
	if half == dtypes.Float32 {
		return half, options, nil
	}
	if options != nil {
		converted := *options
		options = &converted
		operands = append(operands, &options.Mask, &options.Bias)
	}
	for _, v := range operands {
		if err := f.widenOne(v, half); err != nil {
			return half, nil, err
		}
	}
	return half, options, nil
}

// widenOne converts a value of the type to float32, if there is one.
func (f *function) widenOne(v *compute.Value, half dtypes.DType) error {
	if *v == nil {
		return nil
	}
	n, err := f.node(*v)
	if err != nil || n.shape.DType != half {
		return err
	}
	*v, err = f.ConvertDType(*v, dtypes.Float32)
	return err
}

// narrow converts results back from float32.
func (f *function) narrow(half dtypes.DType, results ...*compute.Value) error {
	if half == dtypes.Float32 {
		return nil
	}
	for _, v := range results {
		var err error
		if *v, err = f.ConvertDType(*v, half); err != nil {
			return err
		}
	}
	return nil
}
