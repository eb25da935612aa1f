package kernels

// roundArgs are the arguments of roundColumns8.
type roundArgs struct {
	w          *float64 // the first column's lanes
	ld         int      // bytes from column to column, of w and values
	u, p       *float64 // [width, width]; p may be nil
	values     *float64 // like w; read with p only
	step, zero *float64
	at         *int // [width], where in step and zero a column's lanes are, in elements
	codes      *int32
	loss       *float64
	width      int
	low, high  float64
}

// roundColumns8 is roundLanesGo with fused multiply-adds. It is in
// round_tile_amd64.s.
//
//go:noescape
func roundColumns8(a *roundArgs)

// roundLanes is roundLanesGo.
func (t *tile) roundLanes(start, width, r int) {
	if !useAVX2 {
		t.roundLanesGo(start, width, r)
		return
	}
	low, high := t.o.Rule.Codes()
	a := roundArgs{
		w: &t.w[start*t.ld+r], ld: t.ld * 8, u: &t.u[0], step: &t.step[r], zero: &t.zero[r], at: &t.at[0],
		codes: &t.codes[0], loss: &t.loss[r], width: width, low: float64(low), high: float64(high),
	}
	if t.p != nil {
		a.p, a.values = &t.p[0], &t.values[start*t.ld+r]
	}
	roundColumns8(&a)
}
