package kernels

// The routines below are in hadamard_amd64.s. n is a number of elements, a multiple of
// what is transformed at a time.

// hadamard8 multiplies every eight elements by scale and transforms them.
//
//go:noescape
func hadamard8(x *float32, n int, scale float32)

// butterflies2 replaces a, b at distance d, a multiple of 8, by a+b, a−b.
//
//go:noescape
func butterflies2(x *float32, n, d int)

// butterflies4 is butterflies2 at distance d and then at 2d.
//
//go:noescape
func butterflies4(x *float32, n, d int)

// fwht is fwhtGo for float32, bit for bit.
func fwht(x []float32, inner, p int, scale float32) {
	d := inner
	switch {
	case !useAVX2 || len(x) == 0 || inner == 1 && p < 8 || inner > 1 && inner%8 != 0:
		fwhtGo(x, inner, p, scale)
		return
	case inner == 1:
		hadamard8(&x[0], len(x), scale)
		d = 8
	default:
		MulScalar(x, x, scale)
	}
	for ; 4*d <= inner*p; d *= 4 {
		butterflies4(&x[0], len(x), d)
	}
	if d < inner*p {
		butterflies2(&x[0], len(x), d)
	}
}
