#include "textflag.h"

// The micro-kernel keeps a tile of 6×8 sums in registers: row r in the pair
// Y(4+2r), Y(5+2r), a step of 8 columns of B in Y0, Y1, and one broadcast element
// of A in Y2 or Y3. SI walks the packed strips of A (6 elements a step), DI the
// packed panel of B (8 elements a step), DX is the tile of C, R9 its row stride in
// bytes.

#define ROW(at, lo, hi, x) \
	VBROADCASTSD at(SI), x  \
	VFMADD231PD  Y0, x, lo  \
	VFMADD231PD  Y1, x, hi

#define STEP(s) \
	VMOVUPD (64*s)(DI), Y0      \
	VMOVUPD (64*s+32)(DI), Y1   \
	ROW(48*s+0, Y4, Y5, Y2)     \
	ROW(48*s+8, Y6, Y7, Y3)     \
	ROW(48*s+16, Y8, Y9, Y2)    \
	ROW(48*s+24, Y10, Y11, Y3)  \
	ROW(48*s+32, Y12, Y13, Y2)  \
	ROW(48*s+40, Y14, Y15, Y3)

#define ZERO(lo, hi) \
	VXORPD lo, lo, lo \
	VXORPD hi, hi, hi

// STORE writes alpha·sum, alpha in Y2; ADD writes alpha·sum + C, rounded once.
#define STORE(lo, hi) \
	VMULPD  Y2, lo, lo \
	VMULPD  Y2, hi, hi \
	VMOVUPD lo, (DX)   \
	VMOVUPD hi, 32(DX) \
	ADDQ    R9, DX

#define ADD(lo, hi) \
	VFMADD213PD (DX), Y2, lo   \
	VFMADD213PD 32(DX), Y2, hi \
	VMOVUPD     lo, (DX)       \
	VMOVUPD     hi, 32(DX)     \
	ADDQ        R9, DX

// func dgemmTiles(k int, a, b, c *float64, ldc int, alpha float64, add bool, tiles, skip int)
TEXT ·dgemmTiles(SB), NOSPLIT, $0-72
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), R14
	MOVQ c+24(FP), DX
	MOVQ ldc+32(FP), R9
	MOVQ tiles+56(FP), R15
	MOVQ skip+64(FP), R12
	LEAQ (R9)(R9*2), R10

tile:
	MOVQ        R14, DI
	LEAQ        (DX)(R10*1), R11
	PREFETCHT0  (DX)
	PREFETCHT0  (DX)(R9*1)
	PREFETCHT0  (DX)(R9*2)
	PREFETCHT0  (R11)
	PREFETCHT0  (R11)(R9*1)
	PREFETCHT0  (R11)(R9*2)
	ZERO(Y4, Y5)
	ZERO(Y6, Y7)
	ZERO(Y8, Y9)
	ZERO(Y10, Y11)
	ZERO(Y12, Y13)
	ZERO(Y14, Y15)
	MOVQ k+0(FP), BX
	SUBQ $4, BX
	JLT  rest

loop4:
	STEP(0)
	STEP(1)
	STEP(2)
	STEP(3)
	ADDQ $192, SI
	ADDQ $256, DI
	SUBQ $4, BX
	JGE  loop4

rest:
	ADDQ $4, BX
	JZ   done

loop1:
	STEP(0)
	ADDQ $48, SI
	ADDQ $64, DI
	DECQ BX
	JNZ  loop1

done:
	VBROADCASTSD alpha+40(FP), Y2
	CMPB         add+48(FP), $0
	JE           store
	ADD(Y4, Y5)
	ADD(Y6, Y7)
	ADD(Y8, Y9)
	ADD(Y10, Y11)
	ADD(Y12, Y13)
	ADD(Y14, Y15)
	ADDQ R12, SI
	DECQ R15
	JNZ  tile
	VZEROUPPER
	RET

store:
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	STORE(Y8, Y9)
	STORE(Y10, Y11)
	STORE(Y12, Y13)
	STORE(Y14, Y15)
	ADDQ R12, SI
	DECQ R15
	JNZ  tile
	VZEROUPPER
	RET

// func dpackCopy8(k int, src *float64, ld int, dst *float64)
TEXT ·dpackCopy8(SB), NOSPLIT, $0-32
	MOVQ k+0(FP), CX
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R8
	MOVQ dst+24(FP), DI

loop:
	VMOVUPD (SI), Y0
	VMOVUPD 32(SI), Y1
	VMOVUPD Y0, (DI)
	VMOVUPD Y1, 32(DI)
	ADDQ    R8, SI
	ADDQ    $64, DI
	DECQ    CX
	JNZ     loop
	VZEROUPPER
	RET

// func dpackCopy6(k int, src *float64, ld int, dst *float64)
TEXT ·dpackCopy6(SB), NOSPLIT, $0-32
	MOVQ k+0(FP), CX
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R8
	MOVQ dst+24(FP), DI

loop:
	VMOVUPD (SI), Y0
	VMOVUPD 32(SI), X1
	VMOVUPD Y0, (DI)
	VMOVUPD X1, 32(DI)
	ADDQ    R8, SI
	ADDQ    $48, DI
	DECQ    CX
	JNZ     loop
	VZEROUPPER
	RET

// TRANSPOSE4 turns four steps of the rows at r, r+R8, r+2·R8 and r+R9 (3·R8) into
// Y0 … Y3, one step each.
#define TRANSPOSE4(r) \
	VMOVUPD    (r), Y4           \
	VMOVUPD    (r)(R8*1), Y5     \
	VMOVUPD    (r)(R8*2), Y6     \
	VMOVUPD    (r)(R9*1), Y7     \
	VUNPCKLPD  Y5, Y4, Y8        \
	VUNPCKHPD  Y5, Y4, Y9        \
	VUNPCKLPD  Y7, Y6, Y10       \
	VUNPCKHPD  Y7, Y6, Y11       \
	VPERM2F128 $0x20, Y10, Y8, Y0 \
	VPERM2F128 $0x20, Y11, Y9, Y1 \
	VPERM2F128 $0x31, Y10, Y8, Y2 \
	VPERM2F128 $0x31, Y11, Y9, Y3

// func dpackTransposed8(groups int, src *float64, ld int, dst *float64)
TEXT ·dpackTransposed8(SB), NOSPLIT, $0-32
	MOVQ groups+0(FP), CX
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R8
	MOVQ dst+24(FP), DI
	LEAQ (R8)(R8*2), R9
	LEAQ (SI)(R8*4), DX

loop:
	TRANSPOSE4(SI)
	VMOVUPD Y0, (DI)
	VMOVUPD Y1, 64(DI)
	VMOVUPD Y2, 128(DI)
	VMOVUPD Y3, 192(DI)
	TRANSPOSE4(DX)
	VMOVUPD Y0, 32(DI)
	VMOVUPD Y1, 96(DI)
	VMOVUPD Y2, 160(DI)
	VMOVUPD Y3, 224(DI)
	ADDQ    $32, SI
	ADDQ    $32, DX
	ADDQ    $256, DI
	DECQ    CX
	JNZ     loop
	VZEROUPPER
	RET

// func dpackTransposed6(groups int, src *float64, ld int, dst *float64)
TEXT ·dpackTransposed6(SB), NOSPLIT, $0-32
	MOVQ groups+0(FP), CX
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R8
	MOVQ dst+24(FP), DI
	LEAQ (R8)(R8*2), R9
	LEAQ (SI)(R8*4), DX

loop:
	TRANSPOSE4(SI)
	VMOVUPD      (DX), Y4
	VMOVUPD      (DX)(R8*1), Y5
	VUNPCKLPD    Y5, Y4, Y8    // steps 0 and 2
	VUNPCKHPD    Y5, Y4, Y9    // steps 1 and 3
	VMOVUPD      Y0, (DI)
	VMOVUPD      X8, 32(DI)
	VMOVUPD      Y1, 48(DI)
	VMOVUPD      X9, 80(DI)
	VMOVUPD      Y2, 96(DI)
	VEXTRACTF128 $1, Y8, 128(DI)
	VMOVUPD      Y3, 144(DI)
	VEXTRACTF128 $1, Y9, 176(DI)
	ADDQ         $32, SI
	ADDQ         $32, DX
	ADDQ         $192, DI
	DECQ         CX
	JNZ          loop
	VZEROUPPER
	RET
