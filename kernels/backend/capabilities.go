package backend

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
)

// types that buffers may hold. Half precision is stored as such and computed in
// single.
var types = []dtypes.DType{
	dtypes.Float32, dtypes.Float64, dtypes.Float16, dtypes.BFloat16,
	dtypes.Int8, dtypes.Int16, dtypes.Int32, dtypes.Int64,
	dtypes.Uint8, dtypes.Uint16, dtypes.Uint32, dtypes.Uint64, dtypes.Bool,
}

// otherOps are the operations that are not in a list of their own.
var otherOps = []compute.OpType{
	compute.OpTypeParameter, compute.OpTypeConstant, compute.OpTypeIdentity, compute.OpTypeIota,
	compute.OpTypeReshape, compute.OpTypeTranspose, compute.OpTypeBroadcastInDim, compute.OpTypeSlice, compute.OpTypeReverse,
	compute.OpTypeConcatenate, compute.OpTypePad, compute.OpTypeBitcast, compute.OpTypeConvertDType,
	compute.OpTypeWhere, compute.OpTypeClamp,
	compute.OpTypeGather, compute.OpTypeScatterSum, compute.OpTypeScatterMax, compute.OpTypeScatterMin,
	compute.OpTypeDynamicSlice, compute.OpTypeDynamicUpdateSlice,
	compute.OpTypeArgMinMax, compute.OpTypeDotGeneral, compute.OpTypeRNGBitGenerator,
	compute.OpTypeFusedSoftmax, compute.OpTypeFusedGelu, compute.OpTypeFusedLayerNorm,
	compute.OpTypeFusedScaledDotProductAttention, compute.OpTypeFusedScaledDotProductAttentionVJP,
	compute.OpTypeOptimizationBarrier, compute.OpTypeSchedulingBarrier,
}

var capabilities = func() compute.Capabilities {
	c := compute.Capabilities{Operations: map[compute.OpType]bool{}, DTypes: map[dtypes.DType]bool{}}
	for _, t := range types {
		c.DTypes[t] = true
	}
	for _, list := range [][]compute.OpType{
		otherOps, binaryOps, bitwiseOps, comparisonOps, logicalOps, unaryOps, bitOps, predicateOps, reductionOps,
	} {
		for _, op := range list {
			c.Operations[op] = true
		}
	}
	return c
}()
