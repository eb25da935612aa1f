package kernels

// roundArgs are the arguments of roundColumns8 and roundColumns16.
type roundArgs[T Float] struct {
	w          *T  // the first column's lanes
	ld         int // bytes from column to column, of w and values
	u, p       *T  // [width, width]; p may be nil
	values     *T  // like w; written with p only
	step, zero *T
	at         *int // [width], where in step and zero a column's lanes are, in elements
	codes      *int32
	loss       *float64
	width      int
	low, high  T
	errors     int // 1: e takes the place of the weights, 0: the dequantized q does
}

// roundColumns8 is roundLanesGo for float64 with fused multiply-adds. It is in
// round_tile_amd64.s.
//
//go:noescape
func roundColumns8(a *roundArgs[float64])

// roundColumns16 is roundLanesGo for float32, without p.
//
//go:noescape
func roundColumns16(a *roundArgs[float32])

// roundLanes is roundLanesGo.
func (t *tile[T]) roundLanes(start, width, r int) {
	if !useAVX2 {
		t.roundLanesGo(start, width, r)
		return
	}
	low, high := t.o.Rule.Codes()
	a := roundArgs[T]{
		w: &t.w[start*t.ld+r], ld: t.ld * 64 / lineLanes[T](), u: &t.u[0], step: &t.step[r], zero: &t.zero[r], at: &t.at[0],
		codes: &t.codes[0], loss: &t.loss[r], width: width, low: T(low), high: T(high),
	}
	if !t.direct {
		a.errors = 1
	}
	if t.p != nil {
		a.p, a.values = &t.p[0], &t.values[start*t.ld+r]
	}
	switch a := any(&a).(type) {
	case *roundArgs[float64]:
		roundColumns8(a)
	case *roundArgs[float32]:
		roundColumns16(a)
	}
}
