package backend

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// RNGBitGenerator fills a shape with random bits from Philox4x32-10 (Salmon et al.,
// "Parallel Random Numbers: As Easy as 1, 2, 3", 2011). The state is {key, counter
// low, counter high}; each step of the counter gives 16 bytes. The same state gives
// the same bits everywhere; they differ from other backends'.
func (f *function) RNGBitGenerator(state compute.Value, shape shapes.Shape) (newState, values compute.Value, err error) {
	const op = compute.OpTypeRNGBitGenerator
	in, err := f.nodesOf(state)
	if err != nil {
		return nil, nil, err
	}
	switch want := compute.RNGStateShape; {
	case !sameShape(in[0].shape, want):
		return nil, nil, opError(op, in, fmt.Errorf("expected a state of shape %s", want))
	case shape.DType == dtypes.Bool:
		return nil, nil, opError(op, in, fmt.Errorf("random bits of type %s; expected numbers", shape.DType))
	}
	if err := checkShape(shape); err != nil {
		return nil, nil, opError(op, in, err)
	}
	shape = shape.Clone()
	blocks := (shape.Size()*shape.DType.Size() + 15) / 16
	if newState, err = value(f.add(&node{op: op, shape: in[0].shape, inputs: in, run: func(in []*buffer, out *buffer) {
		s, next := in[0].flat.([]uint64), out.flat.([]uint64)
		low, carry := bits.Add64(s[1], uint64(blocks), 0)
		next[0], next[1], next[2] = s[0], low, s[2]+carry
	}})); err != nil {
		return nil, nil, err
	}
	values, err = value(f.add(&node{op: op, shape: shape, inputs: in, moves: true, run: func(in []*buffer, out *buffer) {
		s, dst := in[0].flat.([]uint64), asBytes(out)
		parallel(blocks, pieceSize/16, func(from, to int) {
			var block [16]byte
			for i := from; i < to; i++ {
				philox(s, uint64(i), &block)
				copy(dst[i*16:], block[:])
			}
		})
	}}))
	return newState, values, err
}

// philox computes the block that lies i steps after the state's counter.
func philox(state []uint64, i uint64, block *[16]byte) {
	low, carry := bits.Add64(state[1], i, 0)
	high := state[2] + carry
	c := [4]uint32{uint32(low), uint32(low >> 32), uint32(high), uint32(high >> 32)}
	k0, k1 := uint32(state[0]), uint32(state[0]>>32)
	for range 10 {
		a, b := uint64(c[0])*0xD2511F53, uint64(c[2])*0xCD9E8D57
		c = [4]uint32{uint32(b>>32) ^ c[1] ^ k0, uint32(b), uint32(a>>32) ^ c[3] ^ k1, uint32(a)}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	for j, v := range c {
		binary.LittleEndian.PutUint32(block[4*j:], v)
	}
}
