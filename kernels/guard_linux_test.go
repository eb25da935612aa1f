package kernels

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"unsafe"
)

// fence hands out buffers that touch pages which can be neither read nor written:
// behind their last element or before their first. A routine that loads or stores one
// element outside faults.
type fence struct {
	t   *testing.T
	rng *rand.Rand
}

const pageSize = 4096

// fenced has n elements at the one or the other end of its pages.
func fenced[T float32 | float64](f fence, n int) []T {
	f.t.Helper()
	size := int(unsafe.Sizeof(T(0)))
	inner := max(1, (n*size+pageSize-1)/pageSize) * pageSize
	pages, err := syscall.Mmap(-1, 0, inner+2*pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = syscall.Munmap(pages) })
	for _, edge := range [][]byte{pages[:pageSize], pages[pageSize+inner:]} {
		if err := syscall.Mprotect(edge, syscall.PROT_NONE); err != nil {
			f.t.Fatal(err)
		}
	}
	at := pageSize
	if f.rng.IntN(2) == 0 {
		at += inner - n*size
	}
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&pages[at])), n)
}

// normals are fenced random elements.
func (f fence) normals(n int) []float32 {
	s := fenced[float32](f, n)
	for i := range s {
		s[i] = float32(f.rng.NormFloat64())
	}
	return s
}

// guardCase is a kernel with its arguments: run computes into out, and both paths must
// agree within tolerance times the size of what an element is a sum of.
type guardCase struct {
	name      string
	tolerance float64
	run       func(out []float32)
	n         int // elements of out
}

// vectorCases are the kernels on slices of n elements.
func vectorCases(f fence, n int) []guardCase {
	x, y := f.normals(n), f.normals(n)
	var list []guardCase
	for name, call := range map[string]func(dst, a, b []float32){
		"Add": Add, "Sub": Sub, "Mul": Mul, "Div": Div, "Max": Max, "Min": Min,
	} {
		list = append(list, guardCase{name, 0, func(out []float32) { call(out, x, y) }, n})
	}
	for name, call := range map[string]func(dst, x []float32){
		"Sqrt": Sqrt, "Exp": Exp, "Sigmoid": Sigmoid, "Silu": Silu, "Gelu": Gelu, "Tanh": Tanh, "Erf": Erf, "Log": Log,
	} {
		list = append(list, guardCase{name, 1e-6, func(out []float32) { call(out, x) }, n})
	}
	s := float32(1.25)
	return append(list,
		guardCase{"AddScalar", 0, func(out []float32) { AddScalar(out, x, s) }, n},
		guardCase{"MulScalar", 0, func(out []float32) { MulScalar(out, x, s) }, n},
		guardCase{"DivScalar", 0, func(out []float32) { DivScalar(out, x, s) }, n},
		guardCase{"Saxpy", 1e-6, func(out []float32) { copy(out, y); Saxpy(s, x, out) }, n},
		guardCase{"Sdot", float64(n+1) * 1e-6, func(out []float32) { out[0] = Sdot(x, y) }, 1},
		guardCase{"sums", 1e-6, func(out []float32) {
			out[0], out[1], out[2] = float32(SumFloat64(x)), float32(SumSquaresFloat64(x)), float32(DotFloat64(x, y))
		}, 3},
	)
}

// rowCases are the kernels on rows of n elements.
func rowCases(f fence, rows, n int) []guardCase {
	stride := n + f.rng.IntN(3)
	x, y, s := f.normals((rows-1)*stride+n), f.normals(n), f.normals(rows)
	tight := f.normals(rows * n)
	order := 1
	for 2*order <= n {
		order *= 2
	}
	hadamard, err := NewHadamard(order)
	if err != nil {
		f.t.Fatal(err)
	}
	var list []guardCase
	for name, call := range map[string]func(dst, a, b []float32, rows, n, strideA, strideB int){
		"AddRows": AddRows, "SubRows": SubRows, "MulRows": MulRows, "DivRows": DivRows,
	} {
		list = append(list, guardCase{name, 0, func(out []float32) { call(out, x, y, rows, n, stride, 0) }, rows * n})
	}
	for name, call := range map[string]func(dst, a, b []float32, rows, n, strideA, strideB int){
		"AddRowScalars": AddRowScalars, "SubRowScalars": SubRowScalars, "MulRowScalars": MulRowScalars, "DivRowScalars": DivRowScalars,
	} {
		list = append(list, guardCase{name, 0, func(out []float32) { call(out, x, s, rows, n, stride, 1) }, rows * n})
	}
	return append(list,
		guardCase{"SumColumns", 0, func(out []float32) { SumColumns(out, x, rows, stride) }, n},
		guardCase{"RowMax", 0, func(out []float32) { RowMax(out, tight, rows, n) }, rows},
		guardCase{"SoftmaxRows", 1e-6, func(out []float32) { SoftmaxRows(out, tight, rows, n) }, rows * n},
		guardCase{"LayerNormRows", 0, func(out []float32) { LayerNormRows(out, tight, y, y, rows, n, 1e-5) }, rows * n},
		guardCase{"Hadamard rows", 1e-5, func(out []float32) { copy(out, tight); hadamard.Apply(out, 1) }, rows * order},
		guardCase{"Hadamard columns", 1e-5, func(out []float32) { copy(out, tight); hadamard.Apply(out, rows) }, rows * order},
		guardCase{"RoundSymmetric", 0, func(out []float32) { RoundSymmetric(out, nil, tight, rows, n, n, 4) }, rows * n},
		guardCase{"RoundAsymmetric", 0, func(out []float32) { RoundAsymmetric(out, nil, nil, tight, rows, n, n, 3) }, rows * n},
		guardCase{"ScaleColumns", 0, func(out []float32) { ScaleColumns(out, tight, y, rows, n) }, rows * n},
		guardCase{"RMSNormRows", 0, func(out []float32) { RMSNormRows(out, tight, y, rows, n, 1e-5) }, rows * n},
		guardCase{"RootMeanSquareRows", 0, func(out []float32) { RootMeanSquareRows(out, tight, rows, n, 1/float32(n), 1e-5) }, rows},
		guardCase{"DivideScaleRows", 0, func(out []float32) { DivideScaleRows(out, tight, s, y, rows, n) }, rows * n},
	)
}

// productCases are the products of m×k and k×n.
func productCases(f fence, m, n, k int) []guardCase {
	tolerance := float64(k+2) * 1e-6
	transA, transB := f.rng.IntN(2) == 1, f.rng.IntN(2) == 1
	lda, ldb, ldc := k+f.rng.IntN(3), n+f.rng.IntN(3), n+f.rng.IntN(3)
	rowsA, colsA, rowsB, colsB := m, k, k, n
	if transA {
		rowsA, colsA, lda = k, m, m+f.rng.IntN(3)
	}
	if transB {
		rowsB, colsB, ldb = n, k, k+f.rng.IntN(3)
	}
	a, b := f.normals((rowsA-1)*lda+colsA), f.normals((rowsB-1)*ldb+colsB)
	x, w, packed := f.normals(m*k), f.normals(n*k), f.normals(PackedSize(k, n))
	wideA, wideB, wideC := fenced[float64](f, len(a)), fenced[float64](f, len(b)), fenced[float64](f, (m-1)*ldc+n)
	for i, v := range a {
		wideA[i] = float64(v)
	}
	for i, v := range b {
		wideB[i] = float64(v)
	}
	gram := fenced[float64](f, k*k)
	size := (m-1)*ldc + n
	return []guardCase{
		{"Sgemm", tolerance, func(out []float32) { Sgemm(transA, transB, m, n, k, a, lda, b, ldb, out, ldc, true) }, size},
		{"PackColumns", 0, func(out []float32) { PackColumns(out, transB, k, n, b, ldb) }, PackedSize(k, n)},
		{"SgemmPacked", tolerance, func(out []float32) { SgemmPacked(transA, m, n, k, a, lda, packed, out, ldc, false) }, size},
		{"SgemmFewRows", tolerance, func(out []float32) { SgemmFewRows(m, n, k, x, k, w, k, out, ldc) }, size},
		{"Dgemm", 1e-6, func(out []float32) {
			Dgemm(transA, transB, m, n, k, 1.5, wideA, lda, wideB, ldb, wideC, ldc, false)
			for i := range m {
				for j := range n {
					out[i*ldc+j] = float32(wideC[i*ldc+j])
				}
			}
		}, size},
		{"AddGram", 1e-6, func(out []float32) {
			clear(gram)
			AddGram(gram, x, nil, k)
			AddCross(gram, x, x, nil, k)
			for i, v := range gram {
				out[i] = float32(v)
			}
		}, k * k},
	}
}

// solverCases are the factorizations of order n, and rounding of rows weights each in
// groups.
func solverCases(f fence, rows, n int) []guardCase {
	h, work, b := fenced[float64](f, n*n), fenced[float64](f, n*n), fenced[float64](f, n*rows)
	x, w := f.normals(3*n*n), f.normals(rows*n)
	AddGram(h, x, nil, n)
	right := slices.Clone(w)
	factored := func() {
		copy(work, h)
		if err := Cholesky(work, n); err != nil {
			panic(err)
		}
	}
	narrow := func(out []float32, wide []float64) {
		for i, v := range wide {
			out[i] = float32(v)
		}
	}
	group := n
	for group > 1 && (n%group != 0 || group > 16) {
		group--
	}
	list := []guardCase{
		{"Cholesky", 1e-5, func(out []float32) { factored(); narrow(out, work) }, n * n},
		{"InvertLower", 1e-5, func(out []float32) { factored(); InvertLower(work, n); narrow(out, work) }, n * n},
		{"InverseFactor", 1e-5, func(out []float32) {
			u, err := InverseFactor(h, n)
			if err != nil {
				panic(err)
			}
			narrow(out, u)
		}, n * n},
		{"ClipGroups", 0, func(out []float32) { ClipGroups(out, w, h, rows, n, group, 4, false) }, rows * n / group},
	}
	for _, trans := range []bool{false, true} {
		list = append(list, guardCase{"SolveLower", 1e-5, func(out []float32) {
			factored()
			for i, v := range right {
				b[i] = float64(v)
			}
			SolveLower(trans, work, n, b, rows)
			narrow(out, b)
		}, n * rows})
	}
	// Codes may differ at ties, so only that nothing outside is touched is looked at.
	wide := fenced[float64](f, rows*n)
	for i, v := range w {
		wide[i] = float64(v)
	}
	o := SolveOptions{Rule: GridRule{Kind: GridGPTQ, Bits: 4}, Group: group, Block: 1 + f.rng.IntN(n), Damp: 0.01}
	return append(list, guardCase{"SolveColumns", 0, func([]float32) {
		_, narrowErr := SolveColumns(w, rows, n, h, o)
		drifting := o
		drifting.Drift, drifting.DriftWeight = h, 0.25
		_, wideErr := SolveColumns(wide, rows, n, h, drifting)
		if err := errors.Join(narrowErr, wideErr); err != nil {
			panic(err)
		}
	}, 0})
}

// checkGuarded runs a kernel on both paths, its destination fenced too.
func checkGuarded(t *testing.T, f fence, c guardCase) {
	t.Helper()
	defer func(fast bool) { useAVX2 = fast }(useAVX2)
	var results [2][]float32
	for path, fast := range []bool{useAVX2, false} {
		useAVX2 = fast
		results[path] = fenced[float32](f, c.n)
		func() {
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			defer func() {
				if r := recover(); r != nil {
					t.Fatalf("%s (assembly: %t): %v", c.name, fast, r)
				}
			}()
			c.run(results[path])
		}()
	}
	for i, v := range results[0] {
		want := results[1][i]
		if d := math.Abs(float64(v) - float64(want)); !same(v, want) && !(d <= c.tolerance*(1+math.Abs(float64(want)))) {
			t.Fatalf("%s: element %d of %d is %v, in plain Go %v", c.name, i, c.n, v, want)
		}
	}
}

func checkAllGuarded(t *testing.T, seed uint64, m, n, k int) {
	t.Helper()
	f := fence{t, rand.New(rand.NewPCG(seed, 1))}
	for _, list := range [][]guardCase{vectorCases(f, n), rowCases(f, m, n), productCases(f, m, n, k), solverCases(f, m, n)} {
		for _, c := range list {
			checkGuarded(t, f, c)
		}
	}
}

// No kernel reads or writes outside of its slices, and assembly agrees with plain Go.
func TestFencedBuffers(t *testing.T) {
	for i, n := range append([]int{8, 24, 47}, awkward[1:]...) {
		checkAllGuarded(t, uint64(i), 1+i, n, 1+(7*i)%40)
	}
	for name, call := range map[string]func(){ // nothing to do is no reason to touch anything
		"Add":             func() { Add(nil, nil, nil) },
		"Gelu":            func() { Gelu(nil, nil) },
		"sums":            func() { _ = SumSquaresFloat64(nil) + DotFloat64(nil, nil) + SumFloat64(nil) },
		"LayerNormRows":   func() { LayerNormRows(nil, nil, nil, nil, 3, 0, 0) },
		"AddRows":         func() { AddRows(nil, nil, nil, 0, 5, 5, 5) },
		"Sgemm":           func() { Sgemm(false, true, 0, 3, 4, nil, 4, make([]float32, 12), 4, nil, 3, false) },
		"SgemmFewRows":    func() { SgemmFewRows(3, 0, 4, make([]float32, 12), 4, nil, 4, nil, 0) },
		"PackColumns":     func() { PackColumns(nil, true, 0, 0, nil, 0) },
		"AddGram":         func() { AddGram(make([]float64, 9), nil, nil, 3) },
		"ParallelSgemm":   func() { ParallelSgemm(false, false, 0, 0, 0, nil, 0, nil, 0, nil, 0, false) },
		"ParallelFewRows": func() { ParallelSgemmFewRows(0, 0, 0, nil, 0, nil, 0, nil, 0) },
	} {
		eachPath(t, func(t *testing.T) {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("%s: %v", name, r)
				}
			}()
			call()
		})
	}
}

func FuzzFencedBuffers(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(17), uint16(40))
	f.Fuzz(func(t *testing.T, seed uint64, m, n uint8, k uint16) {
		checkAllGuarded(t, seed, 1+int(m)%30, 1+int(n)%150, 1+int(k)%450)
	})
}

// The fence itself holds: an element outside faults.
func TestFenceFaults(t *testing.T) {
	f := fence{t, rand.New(rand.NewPCG(1, 1))}
	for range 8 {
		x := fenced[float32](f, 1000)
		faults := 0
		for _, at := range []int{-1, 1000} {
			func() {
				defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
				defer func() {
					if recover() != nil {
						faults++
					}
				}()
				*(*float32)(unsafe.Add(unsafe.Pointer(&x[0]), 4*at)) = 1
			}()
		}
		if faults != 1 { // 1000 elements touch one end of a page
			t.Fatalf("%d of the two elements outside fault, want 1", faults)
		}
	}
}
