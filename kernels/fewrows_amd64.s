#include "textflag.h"

// Products of one, two or three rows of x with two rows of w at a time, which advance
// row by row through two places of w. Each of the (up to 6) results has two
// accumulators of eight lanes. Register use:
//
//	SI, R12, R13  rows of x
//	DI, R9  rows of w, AX the offset into all of them
//	R8 stride of w, DX y, BX from y of the first row of w to that of the second
//	CX whole sixteens left, R14 elements beyond them, R15 tiles left

#define ARGS \
	MOVQ x+8(FP), SI       \
	MOVQ w+24(FP), DI      \
	MOVQ ldw+32(FP), R8    \
	MOVQ pairW+40(FP), R9  \
	ADDQ DI, R9            \
	MOVQ y+48(FP), DX      \
	MOVQ pairY+64(FP), BX  \
	MOVQ tiles+72(FP), R15

// COUNT sets the counters for a tile: CX is less by two.
#define COUNT \
	XORQ AX, AX       \
	MOVQ k+0(FP), CX  \
	MOVQ CX, R14      \
	ANDQ $15, R14     \
	SHRQ $4, CX       \
	SUBQ $2, CX

// MASK leaves in Y15 the mask of the R14 (1 to 7) lowest lanes.
#define MASK \
	LEAQ    ·tailMask+32(SB), R10 \
	MOVQ    R14, CX               \
	SHLQ    $2, CX                \
	SUBQ    CX, R10               \
	VMOVUPS (R10), Y15

#define PREFETCHW \
	PREFETCHT0 384(DI)(AX*1) \
	PREFETCHT0 448(DI)(AX*1) \
	PREFETCHT0 384(R9)(AX*1) \
	PREFETCHT0 448(R9)(AX*1)

// REDUCE adds up the lanes of two results, a0 and a1 of the first, b0 and b1 of the
// second, and stores the first at y, the second at pairY behind it.
#define REDUCE(a0, a1, b0, b1, x0, y) \
	VADDPS       a1, a0, a0   \
	VADDPS       b1, b0, b0   \
	VHADDPS      b0, a0, a0   \
	VHADDPS      a0, a0, a0   \
	VEXTRACTF128 $1, a0, X15  \
	VADDPS       X15, x0, x0  \
	VMOVSS       x0, (y)      \
	VEXTRACTPS   $1, x0, (y)(BX*1)

#define ZERO4(a, b, c, d) \
	VXORPS a, a, a \
	VXORPS b, b, b \
	VXORPS c, c, c \
	VXORPS d, d, d

#define NEXTTILE \
	ADDQ R8, DI \
	ADDQ R8, R9 \
	ADDQ $4, DX \
	DECQ R15    \
	JNZ  tile   \
	VZEROUPPER  \
	RET

// HALF1 multiplies eight elements, a and b the accumulators of the two rows of w.
#define HALF1(off, a, b) \
	VMOVUPS     off(SI)(AX*1), Y12     \
	VFMADD231PS off(DI)(AX*1), Y12, a  \
	VFMADD231PS off(R9)(AX*1), Y12, b

#define TAIL1(a, b) \
	VMASKMOVPS  (SI)(AX*1), Y15, Y12 \
	VMASKMOVPS  (DI)(AX*1), Y15, Y13 \
	VMASKMOVPS  (R9)(AX*1), Y15, Y14 \
	VFMADD231PS Y13, Y12, a          \
	VFMADD231PS Y14, Y12, b

// func fewRows1AVX2(k int, x *float32, ldx int, w *float32, ldw, pairW int, y *float32, ldy, pairY, tiles int)
TEXT ·fewRows1AVX2(SB), NOSPLIT, $0-80
	ARGS

tile:
	ZERO4(Y0, Y1, Y2, Y3)
	COUNT
	JLT one

two:
	PREFETCHW
	HALF1(0, Y0, Y2)
	HALF1(32, Y1, Y3)
	HALF1(64, Y0, Y2)
	HALF1(96, Y1, Y3)
	ADDQ $128, AX
	SUBQ $2, CX
	JGE  two

one:
	ADDQ $2, CX
	JZ   eight
	HALF1(0, Y0, Y2)
	HALF1(32, Y1, Y3)
	ADDQ $64, AX

eight:
	CMPQ R14, $8
	JLT  low
	HALF1(0, Y0, Y2)
	ADDQ $32, AX
	SUBQ $8, R14
	JZ   store
	MASK
	TAIL1(Y1, Y3)
	JMP  store

low:
	TESTQ R14, R14
	JZ    store
	MASK
	TAIL1(Y0, Y2)

store:
	REDUCE(Y0, Y1, Y2, Y3, X0, DX)
	NEXTTILE

#define HALF2(off, a, b, c, d) \
	VMOVUPS     off(DI)(AX*1), Y12 \
	VMOVUPS     off(R9)(AX*1), Y13 \
	VMOVUPS     off(SI)(AX*1), Y14 \
	VMOVUPS     off(R12)(AX*1), Y15 \
	VFMADD231PS Y12, Y14, a        \
	VFMADD231PS Y13, Y14, b        \
	VFMADD231PS Y12, Y15, c        \
	VFMADD231PS Y13, Y15, d

#define TAIL2(a, b, c, d) \
	VMASKMOVPS  (DI)(AX*1), Y15, Y12  \
	VMASKMOVPS  (R9)(AX*1), Y15, Y13  \
	VMASKMOVPS  (SI)(AX*1), Y15, Y14  \
	VFMADD231PS Y12, Y14, a           \
	VFMADD231PS Y13, Y14, b           \
	VMASKMOVPS  (R12)(AX*1), Y15, Y14 \
	VFMADD231PS Y12, Y14, c           \
	VFMADD231PS Y13, Y14, d

// func fewRows2AVX2(k int, x *float32, ldx int, w *float32, ldw, pairW int, y *float32, ldy, pairY, tiles int)
TEXT ·fewRows2AVX2(SB), NOSPLIT, $0-80
	ARGS
	MOVQ ldx+16(FP), R12
	ADDQ SI, R12

tile:
	ZERO4(Y0, Y1, Y2, Y3)
	ZERO4(Y4, Y5, Y6, Y7)
	COUNT
	JLT one

two:
	PREFETCHW
	HALF2(0, Y0, Y2, Y4, Y6)
	HALF2(32, Y1, Y3, Y5, Y7)
	HALF2(64, Y0, Y2, Y4, Y6)
	HALF2(96, Y1, Y3, Y5, Y7)
	ADDQ $128, AX
	SUBQ $2, CX
	JGE  two

one:
	ADDQ $2, CX
	JZ   eight
	HALF2(0, Y0, Y2, Y4, Y6)
	HALF2(32, Y1, Y3, Y5, Y7)
	ADDQ $64, AX

eight:
	CMPQ R14, $8
	JLT  low
	HALF2(0, Y0, Y2, Y4, Y6)
	ADDQ $32, AX
	SUBQ $8, R14
	JZ   store
	MASK
	TAIL2(Y1, Y3, Y5, Y7)
	JMP  store

low:
	TESTQ R14, R14
	JZ    store
	MASK
	TAIL2(Y0, Y2, Y4, Y6)

store:
	MOVQ ldy+56(FP), R11
	ADDQ DX, R11
	REDUCE(Y0, Y1, Y2, Y3, X0, DX)
	REDUCE(Y4, Y5, Y6, Y7, X4, R11)
	NEXTTILE

#define HALF3(off, a, b, c, d, e, f) \
	VMOVUPS     off(DI)(AX*1), Y12  \
	VMOVUPS     off(R9)(AX*1), Y13  \
	VMOVUPS     off(SI)(AX*1), Y14  \
	VMOVUPS     off(R12)(AX*1), Y15 \
	VFMADD231PS Y12, Y14, a         \
	VFMADD231PS Y13, Y14, b         \
	VMOVUPS     off(R13)(AX*1), Y14 \
	VFMADD231PS Y12, Y15, c         \
	VFMADD231PS Y13, Y15, d         \
	VFMADD231PS Y12, Y14, e         \
	VFMADD231PS Y13, Y14, f

#define TAIL3(a, b, c, d, e, f) \
	TAIL2(a, b, c, d)                 \
	VMASKMOVPS  (R13)(AX*1), Y15, Y14 \
	VFMADD231PS Y12, Y14, e           \
	VFMADD231PS Y13, Y14, f

// func fewRows3AVX2(k int, x *float32, ldx int, w *float32, ldw, pairW int, y *float32, ldy, pairY, tiles int)
TEXT ·fewRows3AVX2(SB), NOSPLIT, $0-80
	ARGS
	MOVQ ldx+16(FP), R12
	LEAQ (SI)(R12*2), R13
	ADDQ SI, R12

tile:
	ZERO4(Y0, Y1, Y2, Y3)
	ZERO4(Y4, Y5, Y6, Y7)
	ZERO4(Y8, Y9, Y10, Y11)
	COUNT
	JLT one

two:
	PREFETCHW
	HALF3(0, Y0, Y2, Y4, Y6, Y8, Y10)
	HALF3(32, Y1, Y3, Y5, Y7, Y9, Y11)
	HALF3(64, Y0, Y2, Y4, Y6, Y8, Y10)
	HALF3(96, Y1, Y3, Y5, Y7, Y9, Y11)
	ADDQ $128, AX
	SUBQ $2, CX
	JGE  two

one:
	ADDQ $2, CX
	JZ   eight
	HALF3(0, Y0, Y2, Y4, Y6, Y8, Y10)
	HALF3(32, Y1, Y3, Y5, Y7, Y9, Y11)
	ADDQ $64, AX

eight:
	CMPQ R14, $8
	JLT  low
	HALF3(0, Y0, Y2, Y4, Y6, Y8, Y10)
	ADDQ $32, AX
	SUBQ $8, R14
	JZ   store
	MASK
	TAIL3(Y1, Y3, Y5, Y7, Y9, Y11)
	JMP  store

low:
	TESTQ R14, R14
	JZ    store
	MASK
	TAIL3(Y0, Y2, Y4, Y6, Y8, Y10)

store:
	MOVQ ldy+56(FP), R11
	LEAQ (DX)(R11*2), R10
	ADDQ DX, R11
	REDUCE(Y0, Y1, Y2, Y3, X0, DX)
	REDUCE(Y4, Y5, Y6, Y7, X4, R11)
	REDUCE(Y8, Y9, Y10, Y11, X8, R10)
	NEXTTILE
