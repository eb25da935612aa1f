package kernels

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomProblem makes weights and a Hessian of correlated inputs.
func randomProblem(rng *rand.Rand, rows, cols, tokens int) (w, h []float64) {
	w = make([]float64, rows*cols)
	for i := range w {
		w[i] = rng.NormFloat64()
	}
	x := make([]float32, tokens*cols)
	for t := range tokens {
		shared := rng.NormFloat64()
		for c := range cols {
			x[t*cols+c] = float32(rng.NormFloat64()*math.Exp(0.3*float64(c%7)) + shared)
		}
	}
	h = make([]float64, cols*cols)
	AddGram(h, x, nil, cols)
	return w, h
}

// invert is Gauss–Jordan elimination.
func invert(a []float64, n int) []float64 {
	a = slices.Clone(a)
	inv := make([]float64, n*n)
	for i := range n {
		inv[i*n+i] = 1
	}
	for k := range n {
		d := a[k*n+k]
		for j := range n {
			a[k*n+j] /= d
			inv[k*n+j] /= d
		}
		for i := range n {
			if f := a[i*n+k]; i != k {
				for j := range n {
					a[i*n+j] -= f * a[k*n+j]
					inv[i*n+j] -= f * inv[k*n+j]
				}
			}
		}
	}
	return inv
}

// naiveSolve is the column solver from optimal brain surgery's definition: round
// column j, spread its error by the inverse of the Hessian of the columns that
// are left. One row at a time, no blocks, one grid per row.
func naiveSolve(w, h []float64, rows, cols int, rule GridRule) (codes []int32) {
	for r := range rows {
		row := slices.Clone(w[r*cols : (r+1)*cols])
		step, zero := FindGrid(rule, row)
		for j := range cols {
			n := cols - j
			left := make([]float64, n*n)
			for a := range n {
				for b := range n {
					left[a*n+b] = h[(j+a)*cols+j+b]
				}
			}
			inv := invert(left, n)
			code := Quantize(rule, row[j], step, zero)
			codes = append(codes, int32(code))
			e := (row[j] - Dequantize(code, step, zero)) / inv[0]
			for k := range n {
				row[j+k] -= e * inv[k]
			}
		}
	}
	return codes
}

func TestSolveColumnsEqualsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const rows, cols = 5, 23
	w, h := randomProblem(rng, rows, cols, 60)
	for _, rule := range []GridRule{{Kind: GridRange, Bits: 3, Symmetric: true}, {Kind: GridGPTQ, Bits: 3}, {Kind: GridGPTQ, Bits: 4, Symmetric: true, Shrink: true}} {
		want := naiveSolve(w, h, rows, cols, rule)
		for _, block := range []int{1, 8, 23, 128} {
			s, err := SolveColumns(w, rows, cols, h, SolveOptions{Rule: rule, Block: block})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(s.Codes, want) {
				t.Errorf("%v, block %d: codes differ", rule, block)
			}
			checkLoss(t, s, w, h, rows, cols)
		}
	}
}

// checkLoss compares twice the loss with tr((W−Q)·H·(W−Q)ᵀ).
func checkLoss(t *testing.T, s *Solution, w, h []float64, rows, cols int) {
	t.Helper()
	var loss, trace float64
	for r := range rows {
		loss += s.RowLoss[r]
		for i := range cols {
			for j := range cols {
				hij := h[i*cols+j]
				if i == j {
					hij += s.Damped
				}
				trace += (w[r*cols+i] - s.Value(r, i, rows, cols)) * hij * (w[r*cols+j] - s.Value(r, j, rows, cols))
			}
		}
	}
	if math.Abs(2*loss-trace) > 1e-9*trace {
		t.Errorf("twice the loss is %v, tr((W−Q)H(W−Q)ᵀ) %v", 2*loss, trace)
	}
}

// With inputs that don't correlate nothing can be spread: the solver rounds to
// nearest in any order and grouping, bit for bit where the range is no difference,
// which float32 rounds.
func TestSolveColumnsWithIdentity(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	const rows, cols = 9, 32
	w, _ := randomProblem(rng, rows, cols, 1)
	narrow := make([]float32, len(w))
	for i := range w {
		narrow[i] = float32(w[i])
		w[i] = float64(narrow[i])
	}
	h := make([]float64, cols*cols)
	for i := range cols {
		h[i*cols+i] = 2
	}
	for _, symmetric := range []bool{true, false} {
		for _, group := range []int{0, 8} {
			for _, order := range []bool{false, true} {
				s, err := SolveColumns(w, rows, cols, h, SolveOptions{Rule: GridRule{Kind: GridRange, Bits: 3, Symmetric: symmetric}, Group: group, Block: 8, Damp: 0.01, ActOrder: order, StaticGroups: order})
				if err != nil {
					t.Fatal(err)
				}
				want := make([]float32, len(w))
				size := group
				if size == 0 {
					size = cols
				}
				step := make([]float32, rows*cols/size)
				if symmetric {
					RoundSymmetric(want, step, narrow, rows, cols, size, 3)
				} else {
					RoundAsymmetric(want, step, nil, narrow, rows, cols, size, 3)
				}
				for i := range step {
					if math.Abs(s.Step[i]-float64(step[i])) > 1e-6*s.Step[i] || symmetric && float32(s.Step[i]) != step[i] {
						t.Fatalf("step %d is %v, want %v", i, s.Step[i], step[i])
					}
				}
				for i := range want {
					g := i / size
					got := Dequantize(float32(s.Codes[i]), float32(s.Step[g]), float32(s.Zero[g]))
					if math.Abs(float64(got-want[i])) > 1e-5*s.Step[g] || symmetric && got != want[i] {
						t.Fatalf("symmetric %t, group %d, order %t: weight %d is %v, want %v", symmetric, group, order, i, got, want[i])
					}
				}
			}
		}
	}
}

// Handling columns in another order is the same as permuting the problem.
func TestSolveColumnsOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	const rows, cols = 4, 24
	w, h := randomProblem(rng, rows, cols, 70)
	rule := GridRule{Kind: GridGPTQ, Bits: 3}
	o := SolveOptions{Rule: rule, Group: 8, Block: 5, Damp: 0.01, ActOrder: true}
	got, err := SolveColumns(w, rows, cols, h, o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(got.Order, func(a, b int) int {
		return map[bool]int{true: 1, false: -1}[h[a*cols+a] < h[b*cols+b]]
	}) {
		t.Error("columns are not in order of falling diagonal")
	}
	o.ActOrder = false
	want, err := SolveColumns(permuteColumns(w, rows, got.Order), rows, cols, permute(h, got.Order), o)
	if err != nil {
		t.Fatal(err)
	}
	for k, j := range got.Order {
		if got.Index[j] != want.Index[k] {
			t.Errorf("column %d is in group %d, want %d", j, got.Index[j], want.Index[k])
		}
		for r := range rows {
			if got.Codes[r*cols+j] != want.Codes[r*cols+k] {
				t.Errorf("row %d, column %d: codes differ", r, j)
			}
		}
	}
	checkLoss(t, got, w, h, rows, cols)
}

func TestSolveColumnsDeadAndSingular(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	const rows, cols = 4, 16
	w, h := randomProblem(rng, rows, cols, 40)
	for k := range cols {
		h[3*cols+k], h[k*cols+3] = 0, 0
	}
	o := SolveOptions{Rule: GridRule{Kind: GridRange, Bits: 4, Symmetric: true}, Block: 128, Damp: 0.01, Retries: 50}
	s, err := SolveColumns(w, rows, cols, h, o)
	if err != nil || !slices.Equal(s.Dead, []int{3}) || s.Value(1, 3, rows, cols) != 0 {
		t.Errorf("dead columns %v, %v", s, err)
	}
	// Rank 2 and a negative eigenvalue: damping has to be repeated.
	w, h = randomProblem(rng, rows, cols, 2)
	mean := 0.0
	for j := range cols {
		mean += h[j*cols+j] / cols
	}
	for j := range cols {
		h[j*cols+j] -= 0.025 * mean
	}
	if s, err = SolveColumns(w, rows, cols, h, o); err != nil || s.Attempts < 3 {
		t.Errorf("got %v after %v attempts", err, s)
	}
	o.Retries = 0
	if _, err = SolveColumns(w, rows, cols, h, o); !errors.Is(err, ErrNotPositive) {
		t.Errorf("got %v", err)
	}
	h[5] = math.NaN()
	if _, err = SolveColumns(w, rows, cols, h, o); err == nil {
		t.Error("a Hessian with NaN was taken")
	}
}

// In place the solution has the same bits, and the Hessian is whole again, after an error
// too.
func TestSolveColumnsInPlace(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 1))
	const rows, cols = 9, 300
	w, h := randomProblem(rng, rows, cols, 700)
	for _, o := range []SolveOptions{
		{Group: 50, Block: 100}, {Block: 128, ActOrder: true, StaticGroups: true, Group: 60}, {Group: 64, Block: 100},
	} {
		o.Rule, o.Damp = GridRule{Kind: GridGPTQ, Bits: 4}, 0.01
		want, err := SolveColumns(w, rows, cols, h, o)
		if err != nil {
			t.Fatal(err)
		}
		o.InPlace = true
		whole := slices.Clone(h)
		got, err := SolveColumns(w, rows, cols, whole, o)
		if err != nil || !slices.Equal(got.Codes, want.Codes) || !slices.Equal(got.RowLoss, want.RowLoss) {
			t.Errorf("%+v: another solution in place, %v", o, err)
		}
		if !slices.Equal(whole, h) {
			t.Errorf("%+v: the Hessian has changed", o)
		}
		whole[5*cols+5] = -1
		bad := slices.Clone(whole)
		if _, err := SolveColumns(w, rows, cols, bad, o); !errors.Is(err, ErrNotPositive) {
			t.Errorf("%+v: got %v", o, err)
		}
		if !slices.Equal(whole, bad) {
			t.Errorf("%+v: the Hessian has changed with an error", o)
		}
	}
}

// Without drift GPTAQ is GPTQ, bit for bit; with it, the definition of P holds.
func TestSolveColumnsDrift(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	const rows, cols = 4, 20
	w, h := randomProblem(rng, rows, cols, 60)
	o := SolveOptions{Rule: GridRule{Kind: GridQuaRot, Bits: 3, Symmetric: true}, Block: 8, Damp: 0.01}
	plain, err := SolveColumns(w, rows, cols, h, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Drift, o.DriftWeight = make([]float64, cols*cols), 0.25
	zero, err := SolveColumns(w, rows, cols, h, o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(plain.Codes, zero.Codes) || !slices.Equal(plain.RowLoss, zero.RowLoss) {
		t.Error("a drift of zero changes the solution")
	}
	d := make([]float64, cols*cols)
	for i := range d {
		d[i] = rng.NormFloat64()
	}
	u, err := InverseFactor(h, cols)
	if err != nil {
		t.Fatal(err)
	}
	p := driftFactor(d, u, cols, 0.25)
	for i := range cols {
		for j := range cols {
			var want float64
			for k := i + 1; k < cols; k++ { // triu(D·Uᵀ, 1)[i, k]·U[k, j]
				var du float64
				for m := range cols {
					du += d[i*cols+m] * u[k*cols+m]
				}
				want += 0.25 * du * u[k*cols+j]
			}
			if math.Abs(p[i*cols+j]-want) > 1e-12 {
				t.Fatalf("P[%d, %d] is %v, want %v", i, j, p[i*cols+j], want)
			}
		}
	}
}

func TestInverseFactor(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	const n = 17
	_, h := randomProblem(rng, 1, n, 50)
	u, err := InverseFactor(h, n)
	if err != nil {
		t.Fatal(err)
	}
	inv := invert(h, n)
	for i := range n {
		for j := range n {
			var sum float64
			for k := range n {
				sum += u[k*n+i] * u[k*n+j]
			}
			if math.Abs(sum-inv[i*n+j]) > 1e-9*math.Abs(inv[i*n+i]) {
				t.Fatalf("UᵀU[%d, %d] is %v, want %v", i, j, sum, inv[i*n+j])
			}
			if j < i && u[i*n+j] != 0 {
				t.Fatalf("U[%d, %d] is %v below the diagonal", i, j, u[i*n+j])
			}
		}
	}
}

// shrinkGo is FindGrid with Shrink as it is published.
func shrinkGo[T Float](g GridRule, w []T) (step, zero T) {
	low, top := rangeOf(g, w)
	best := math.Inf(1)
	for i := range 80 {
		p := T(1 - float64(i)/100)
		s, z := fit(g, p*low, p*top)
		var sum float64
		for _, v := range w {
			d := Dequantize(Quantize(g, v, s, z), s, z) - v
			sum += float64(T(math.Pow(math.Abs(float64(d)), 2.4)))
		}
		if sum < best {
			best, step, zero = sum, s, z
		}
	}
	return step, zero
}

func testShrink[T Float](t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 1))
	for range 300 {
		w := make([]T, 1+rng.IntN(200))
		for i := range w {
			w[i] = T(rng.NormFloat64() * math.Exp(rng.NormFloat64()))
		}
		rule := GridRule{Kind: GridGPTQ, Bits: 2 + rng.IntN(7), Symmetric: rng.IntN(2) == 1, Shrink: true}
		step, zero := FindGrid(rule, w)
		if wantStep, wantZero := shrinkGo(rule, w); step != wantStep || zero != wantZero {
			t.Fatalf("%+v, %d values: step %v, zero %v; want %v, %v", rule, len(w), step, zero, wantStep, wantZero)
		}
	}
}

func TestShrinkEqualsDefinition(t *testing.T) {
	t.Run("float32", testShrink[float32])
	t.Run("float64", testShrink[float64])
}

func TestPower24(t *testing.T) {
	const tolerance = 1e-13 // math.Pow's own error grows with the logarithm
	rng := rand.New(rand.NewPCG(12, 1))
	for _, d := range []float64{0, 1, -1, 1e-200, 1e-100, 1e100, 1e-150, 1.1e-150, 1e149, 1e160, math.Inf(1), math.SmallestNonzeroFloat64} {
		if got, want := power24(d), math.Pow(math.Abs(d), 2.4); !(got == want || math.Abs(got-want) <= tolerance*want) {
			t.Errorf("|%v|^2.4 = %v, want %v", d, got, want)
		}
	}
	for range 100000 {
		d := rng.NormFloat64() * math.Exp(20*rng.NormFloat64())
		if got, want := power24(d), math.Pow(math.Abs(d), 2.4); !(math.Abs(got-want) <= tolerance*want) {
			t.Fatalf("|%v|^2.4 = %v, want %v", d, got, want)
		}
	}
	if v := power24(math.NaN()); v == v {
		t.Errorf("|NaN|^2.4 = %v", v)
	}
}

// BenchmarkShrink searches the grid of a group of 128 weights.
func BenchmarkShrink(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	w := make([]float32, 128)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	rule := GridRule{Kind: GridGPTQ, Bits: 4, Shrink: true}
	b.Run("fast", func(b *testing.B) {
		for b.Loop() {
			FindGrid(rule, w)
		}
	})
	b.Run("pow", func(b *testing.B) {
		for b.Loop() {
			shrinkGo(rule, w)
		}
	})
}

// FindGrid's float32 grids are those of the fast quantizers.
func TestFindGridEqualsFastRounding(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	for range 200 {
		w := make([]float32, 1+rng.IntN(40))
		shift := float32(rng.NormFloat64())
		for i := range w {
			w[i] = float32(rng.NormFloat64()) + shift
		}
		for _, symmetric := range []bool{true, false} {
			rule := GridRule{Kind: GridRange, Bits: 2 + rng.IntN(7), Symmetric: symmetric}
			step, zero := FindGrid(rule, w)
			want, wantStep, wantZero := make([]float32, len(w)), make([]float32, 1), make([]float32, 1)
			if symmetric {
				RoundSymmetric(want, wantStep, w, 1, len(w), len(w), rule.Bits)
			} else {
				RoundAsymmetric(want, wantStep, wantZero, w, 1, len(w), len(w), rule.Bits)
			}
			if step != wantStep[0] || zero != wantZero[0] {
				t.Fatalf("%v: step %v, zero %v; want %v, %v", rule, step, zero, wantStep[0], wantZero[0])
			}
			for i, v := range w {
				if got := Dequantize(Quantize(rule, v, step, zero), step, zero); got != want[i] {
					t.Fatalf("%v: %v became %v, want %v", rule, v, got, want[i])
				}
			}
		}
	}
}

func TestAddGram(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	const tokens, cols = 11, 5
	x, a := make([]float32, tokens*cols), make([]float32, tokens)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for i := range a {
		a[i] = float32(i % 3)
	}
	h := make([]float64, cols*cols)
	AddGram(h, x, a, cols)
	AddGram(h, x, nil, cols)
	for i := range cols {
		for j := range cols {
			var want float64
			for k := range tokens {
				want += float64(1+a[k]) * float64(x[k*cols+i]) * float64(x[k*cols+j])
			}
			if math.Abs(h[i*cols+j]-want) > 1e-12*(1+math.Abs(want)) {
				t.Errorf("[%d, %d] is %v, want %v", i, j, h[i*cols+j], want)
			}
		}
	}
}

func TestAddCross(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	const tokens, cols = 9, 4
	x, y, a := make([]float32, tokens*cols), make([]float32, tokens*cols), make([]float32, tokens)
	for i := range x {
		x[i], y[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
	}
	for i := range a {
		a[i] = float32(i % 3)
	}
	d := make([]float64, cols*cols)
	AddCross(d, y, x, a, cols)
	AddCross(d, y, x, nil, cols)
	for i := range cols {
		for j := range cols {
			var want float64
			for k := range tokens {
				want += float64(1+a[k]) * float64(y[k*cols+i]) * float64(x[k*cols+j])
			}
			if math.Abs(d[i*cols+j]-want) > 1e-12*(1+math.Abs(want)) {
				t.Errorf("[%d, %d] is %v, want %v", i, j, d[i*cols+j], want)
			}
		}
	}
}
