package safetensors

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// The element types that this package converts. Tensors of the format's other
// types (complex, 4-, 6- and 8-bit floats) are listed and their bytes handed out,
// but not converted.
const (
	F64  = "F64"  // IEEE 754 binary64
	F32  = "F32"  // IEEE 754 binary32
	F16  = "F16"  // IEEE 754 binary16
	BF16 = "BF16" // the upper half of a binary32
	I64  = "I64"
	U64  = "U64"
	I32  = "I32"
	U32  = "U32"
	I16  = "I16"
	U16  = "U16"
	I8   = "I8"
	U8   = "U8"
	Bool = "BOOL" // one byte, 0 or 1
)

// dtypeBits gives the bits per element of every type of the format.
var dtypeBits = map[string]uint64{
	F64: 64, F32: 32, F16: 16, BF16: 16,
	I64: 64, U64: 64, I32: 32, U32: 32, I16: 16, U16: 16, I8: 8, U8: 8, Bool: 8,
	"C64": 64, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}

// dtypeNames lists every type of the format for error messages.
func dtypeNames() string {
	names := make([]string, 0, len(dtypeBits))
	for n := range dtypeBits {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// byteSize returns the number of bytes that shape takes at dtype.
func byteSize(dtype string, shape []int) (uint64, error) {
	width, ok := dtypeBits[dtype]
	if !ok {
		return 0, fmt.Errorf("unknown dtype %q; the format has %s", dtype, dtypeNames())
	}
	total := width
	empty := false
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative side", shape)
		}
		if d == 0 {
			empty = true
			continue
		}
		hi, lo := bits.Mul64(total, uint64(d))
		if hi != 0 {
			return 0, fmt.Errorf("shape %v of %s is larger than any file", shape, dtype)
		}
		total = lo
	}
	if empty {
		return 0, nil
	}
	if total%8 != 0 {
		return 0, fmt.Errorf("shape %v of %s does not fill whole bytes", shape, dtype)
	}
	return total / 8, nil
}
