#include "textflag.h"

// Products of one, two or three rows of x with four rows of w at a time. Each of
// the (up to 12) results has one accumulator of eight lanes. Register use:
//
//	SI, R12, R13  rows of x
//	DI, R9, R10, R11  rows of w, AX the offset into all of them
//	R8 stride of w, DX y, CX whole eights left, R14 tail elements, R15 tiles left
//	Y0 to Y11 accumulators, Y12 to Y14 x, Y15 w or the mask of the tail

// WROWS sets the pointers to the four rows of w of this tile.
#define WROWS \
	LEAQ (DI)(R8*1), R9  \
	LEAQ (DI)(R8*2), R10 \
	LEAQ (R9)(R8*2), R11

#define ARGS \
	MOVQ k+0(FP), R14    \
	ANDQ $7, R14         \
	MOVQ x+8(FP), SI     \
	MOVQ w+24(FP), DI    \
	MOVQ ldw+32(FP), R8  \
	MOVQ y+40(FP), DX    \
	MOVQ tiles+56(FP), R15

// TAILLOAD leaves in Y15 the mask of the R14 lowest lanes.
#define TAILLOAD \
	LEAQ    ·tailMask+32(SB), BX \
	MOVQ    R14, CX              \
	SHLQ    $2, CX               \
	SUBQ    CX, BX               \
	VMOVUPS (BX), Y15

// REDUCE4 adds up the lanes of four accumulators, ((0+1)+(2+3)) + ((4+5)+(6+7)),
// into the four elements of the first one's low half.
#define REDUCE4(Ya, Yb, Yc, Yd, Xa) \
	VHADDPS      Yb, Ya, Ya   \
	VHADDPS      Yd, Yc, Yc   \
	VHADDPS      Yc, Ya, Ya   \
	VEXTRACTF128 $1, Ya, X15  \
	VADDPS       X15, Xa, Xa

#define ZERO4(a, b, c, d) \
	VXORPS a, a, a \
	VXORPS b, b, b \
	VXORPS c, c, c \
	VXORPS d, d, d

#define PREFETCHW(ahead) \
	PREFETCHT0 ahead(DI)(AX*1)  \
	PREFETCHT0 ahead(R9)(AX*1)  \
	PREFETCHT0 ahead(R10)(AX*1) \
	PREFETCHT0 ahead(R11)(AX*1)

#define NEXTTILE \
	LEAQ (R11)(R8*1), DI \
	ADDQ $16, DX         \
	DECQ R15             \
	JNZ  tile            \
	VZEROUPPER           \
	RET

#define STEP1(off) \
	VMOVUPS     off(SI)(AX*1), Y12      \
	VFMADD231PS off(DI)(AX*1), Y12, Y0  \
	VFMADD231PS off(R9)(AX*1), Y12, Y1  \
	VFMADD231PS off(R10)(AX*1), Y12, Y2 \
	VFMADD231PS off(R11)(AX*1), Y12, Y3

// func fewRows1AVX2(k int, x *float32, ldx int, w *float32, ldw int, y *float32, ldy, tiles int)
TEXT ·fewRows1AVX2(SB), NOSPLIT, $0-64
	ARGS

tile:
	WROWS
	ZERO4(Y0, Y1, Y2, Y3)
	XORQ AX, AX
	MOVQ k+0(FP), CX
	SHRQ $3, CX
	SUBQ $2, CX
	JLT  one

two:
	PREFETCHW(512)
	STEP1(0)
	STEP1(32)
	ADDQ $64, AX
	SUBQ $2, CX
	JGE  two

one:
	ADDQ $2, CX
	JZ   tail
	STEP1(0)
	ADDQ $32, AX

tail:
	TESTQ       R14, R14
	JZ          store
	TAILLOAD
	VMASKMOVPS  (SI)(AX*1), Y15, Y12
	VMASKMOVPS  (DI)(AX*1), Y15, Y4
	VMASKMOVPS  (R9)(AX*1), Y15, Y5
	VMASKMOVPS  (R10)(AX*1), Y15, Y6
	VMASKMOVPS  (R11)(AX*1), Y15, Y7
	VFMADD231PS Y4, Y12, Y0
	VFMADD231PS Y5, Y12, Y1
	VFMADD231PS Y6, Y12, Y2
	VFMADD231PS Y7, Y12, Y3

store:
	REDUCE4(Y0, Y1, Y2, Y3, X0)
	VMOVUPS X0, (DX)
	NEXTTILE

#define STEP2(off) \
	VMOVUPS     off(SI)(AX*1), Y12  \
	VMOVUPS     off(R12)(AX*1), Y13 \
	VMOVUPS     off(DI)(AX*1), Y15  \
	VFMADD231PS Y15, Y12, Y0        \
	VFMADD231PS Y15, Y13, Y4        \
	VMOVUPS     off(R9)(AX*1), Y14  \
	VFMADD231PS Y14, Y12, Y1        \
	VFMADD231PS Y14, Y13, Y5        \
	VMOVUPS     off(R10)(AX*1), Y15 \
	VFMADD231PS Y15, Y12, Y2        \
	VFMADD231PS Y15, Y13, Y6        \
	VMOVUPS     off(R11)(AX*1), Y14 \
	VFMADD231PS Y14, Y12, Y3        \
	VFMADD231PS Y14, Y13, Y7

// func fewRows2AVX2(k int, x *float32, ldx int, w *float32, ldw int, y *float32, ldy, tiles int)
TEXT ·fewRows2AVX2(SB), NOSPLIT, $0-64
	ARGS
	MOVQ ldx+16(FP), R12
	ADDQ SI, R12

tile:
	WROWS
	ZERO4(Y0, Y1, Y2, Y3)
	ZERO4(Y4, Y5, Y6, Y7)
	XORQ AX, AX
	MOVQ k+0(FP), CX
	SHRQ $3, CX
	SUBQ $2, CX
	JLT  one

two:
	PREFETCHW(512)
	STEP2(0)
	STEP2(32)
	ADDQ $64, AX
	SUBQ $2, CX
	JGE  two

one:
	ADDQ $2, CX
	JZ   tail
	STEP2(0)
	ADDQ $32, AX

tail:
	TESTQ       R14, R14
	JZ          store
	TAILLOAD
	VMASKMOVPS  (SI)(AX*1), Y15, Y12
	VMASKMOVPS  (R12)(AX*1), Y15, Y13
	VMASKMOVPS  (DI)(AX*1), Y15, Y8
	VMASKMOVPS  (R9)(AX*1), Y15, Y9
	VMASKMOVPS  (R10)(AX*1), Y15, Y10
	VMASKMOVPS  (R11)(AX*1), Y15, Y11
	VFMADD231PS Y8, Y12, Y0
	VFMADD231PS Y9, Y12, Y1
	VFMADD231PS Y10, Y12, Y2
	VFMADD231PS Y11, Y12, Y3
	VFMADD231PS Y8, Y13, Y4
	VFMADD231PS Y9, Y13, Y5
	VFMADD231PS Y10, Y13, Y6
	VFMADD231PS Y11, Y13, Y7

store:
	REDUCE4(Y0, Y1, Y2, Y3, X0)
	REDUCE4(Y4, Y5, Y6, Y7, X4)
	MOVQ    ldy+48(FP), BX
	VMOVUPS X0, (DX)
	VMOVUPS X4, (DX)(BX*1)
	NEXTTILE

#define STEP3(off) \
	VMOVUPS     off(SI)(AX*1), Y12  \
	VMOVUPS     off(R12)(AX*1), Y13 \
	VMOVUPS     off(R13)(AX*1), Y14 \
	VMOVUPS     off(DI)(AX*1), Y15  \
	VFMADD231PS Y15, Y12, Y0        \
	VFMADD231PS Y15, Y13, Y4        \
	VFMADD231PS Y15, Y14, Y8        \
	VMOVUPS     off(R9)(AX*1), Y15  \
	VFMADD231PS Y15, Y12, Y1        \
	VFMADD231PS Y15, Y13, Y5        \
	VFMADD231PS Y15, Y14, Y9        \
	VMOVUPS     off(R10)(AX*1), Y15 \
	VFMADD231PS Y15, Y12, Y2        \
	VFMADD231PS Y15, Y13, Y6        \
	VFMADD231PS Y15, Y14, Y10       \
	VMOVUPS     off(R11)(AX*1), Y15 \
	VFMADD231PS Y15, Y12, Y3        \
	VFMADD231PS Y15, Y13, Y7        \
	VFMADD231PS Y15, Y14, Y11

// TAILSTEP3 needs the mask anew, for there is no register left for it.
#define TAILSTEP3(row, a, b, c) \
	VMOVUPS     (BX), Y15             \
	VMASKMOVPS  (row)(AX*1), Y15, Y15 \
	VFMADD231PS Y15, Y12, a           \
	VFMADD231PS Y15, Y13, b           \
	VFMADD231PS Y15, Y14, c

// func fewRows3AVX2(k int, x *float32, ldx int, w *float32, ldw int, y *float32, ldy, tiles int)
TEXT ·fewRows3AVX2(SB), NOSPLIT, $0-64
	ARGS
	MOVQ ldx+16(FP), R12
	LEAQ (SI)(R12*2), R13
	ADDQ SI, R12

tile:
	WROWS
	ZERO4(Y0, Y1, Y2, Y3)
	ZERO4(Y4, Y5, Y6, Y7)
	ZERO4(Y8, Y9, Y10, Y11)
	XORQ AX, AX
	MOVQ k+0(FP), CX
	SHRQ $3, CX
	SUBQ $2, CX
	JLT  one

two:
	PREFETCHW(512)
	STEP3(0)
	STEP3(32)
	ADDQ $64, AX
	SUBQ $2, CX
	JGE  two

one:
	ADDQ $2, CX
	JZ   tail
	STEP3(0)
	ADDQ $32, AX

tail:
	TESTQ      R14, R14
	JZ         store
	TAILLOAD
	VMASKMOVPS (SI)(AX*1), Y15, Y12
	VMASKMOVPS (R12)(AX*1), Y15, Y13
	VMASKMOVPS (R13)(AX*1), Y15, Y14
	TAILSTEP3(DI, Y0, Y4, Y8)
	TAILSTEP3(R9, Y1, Y5, Y9)
	TAILSTEP3(R10, Y2, Y6, Y10)
	TAILSTEP3(R11, Y3, Y7, Y11)

store:
	REDUCE4(Y0, Y1, Y2, Y3, X0)
	REDUCE4(Y4, Y5, Y6, Y7, X4)
	REDUCE4(Y8, Y9, Y10, Y11, X8)
	MOVQ    ldy+48(FP), BX
	VMOVUPS X0, (DX)
	VMOVUPS X4, (DX)(BX*1)
	VMOVUPS X8, (DX)(BX*2)
	NEXTTILE
