#include "textflag.h"

// The micro-kernels keep a tile of C in registers: row r of the tile in the pair
// Y(4+2r), Y(5+2r), a step of 16 columns of B in Y0, Y1, and one broadcast
// element of A in Y2 or Y3. Register use:
//
//	SI a, DI b, DX c: walking pointers
//	R8 a row stride, R12 = 3*R8, R13 = 5*R8, R10 a step along k
//	R11 b step along k, R9 c row stride, BX steps left
//
// All strides are in bytes here.

#define LOADB \
	VMOVUPS (DI), Y0   \
	VMOVUPS 32(DI), Y1

#define ADVANCE \
	ADDQ R10, SI \
	ADDQ R11, DI

#define ROW0 \
	VBROADCASTSS (SI), Y2   \
	VFMADD231PS  Y0, Y2, Y4 \
	VFMADD231PS  Y1, Y2, Y5

#define ROW1 \
	VBROADCASTSS (SI)(R8*1), Y3 \
	VFMADD231PS  Y0, Y3, Y6     \
	VFMADD231PS  Y1, Y3, Y7

#define ROW2 \
	VBROADCASTSS (SI)(R8*2), Y2 \
	VFMADD231PS  Y0, Y2, Y8     \
	VFMADD231PS  Y1, Y2, Y9

#define ROW3 \
	VBROADCASTSS (SI)(R12*1), Y3 \
	VFMADD231PS  Y0, Y3, Y10     \
	VFMADD231PS  Y1, Y3, Y11

#define ROW4 \
	VBROADCASTSS (SI)(R8*4), Y2 \
	VFMADD231PS  Y0, Y2, Y12    \
	VFMADD231PS  Y1, Y2, Y13

#define ROW5 \
	VBROADCASTSS (SI)(R13*1), Y3 \
	VFMADD231PS  Y0, Y3, Y14     \
	VFMADD231PS  Y1, Y3, Y15

#define STEP1 LOADB; ROW0; ADVANCE
#define STEP2 LOADB; ROW0; ROW1; ADVANCE
#define STEP4 LOADB; ROW0; ROW1; ROW2; ROW3; ADVANCE
#define STEP6 LOADB; PREFETCHT0 (DI)(CX*1); ROW0; ROW1; ROW2; ROW3; ROW4; ROW5; ADVANCE

#define PREFETCHC \
	PREFETCHT0 (BX) \
	ADDQ       R9, BX

#define ADDC(lo, hi) \
	VADDPS (DX), lo, lo   \
	VADDPS 32(DX), hi, hi \
	ADDQ   R9, DX

#define STOREC(lo, hi) \
	VMOVUPS lo, (DX)   \
	VMOVUPS hi, 32(DX) \
	ADDQ    R9, DX

#define ZERO2(lo, hi) \
	VXORPS lo, lo, lo \
	VXORPS hi, hi, hi

#define LOADARGS \
	MOVQ k+0(FP), BX     \
	MOVQ a+8(FP), SI     \
	MOVQ ars+16(FP), R8  \
	MOVQ aks+24(FP), R10 \
	MOVQ b+32(FP), DI    \
	MOVQ bks+40(FP), R11 \
	MOVQ c+48(FP), DX    \
	MOVQ ldc+56(FP), R9  \
	LEAQ (R8)(R8*2), R12 \
	LEAQ (R8)(R8*4), R13

// func sgemmTiles6(k int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc int, add bool, tiles, step, next int)
TEXT ·sgemmTiles6(SB), NOSPLIT, $0-96
	LOADARGS
	MOVQ tiles+72(FP), R15
	MOVQ SI, AX            // first row of the tile
	MOVQ DI, R14           // start of the panel

tile:
	// The last tile fetches the next panel, 64 bytes a step; CX is how far ahead.
	XORQ    CX, CX
	CMPQ    R15, $1
	CMOVQEQ next+88(FP), CX
	MOVQ    DX, BX
	PREFETCHC
	PREFETCHC
	PREFETCHC
	PREFETCHC
	PREFETCHC
	PREFETCHC
	MOVQ AX, SI
	MOVQ R14, DI
	ZERO2(Y4, Y5)
	ZERO2(Y6, Y7)
	ZERO2(Y8, Y9)
	ZERO2(Y10, Y11)
	ZERO2(Y12, Y13)
	ZERO2(Y14, Y15)
	MOVQ k+0(FP), BX
	SUBQ $4, BX
	JLT  rest

loop4:
	STEP6
	STEP6
	STEP6
	STEP6
	SUBQ $4, BX
	JGE  loop4

rest:
	ADDQ $4, BX
	JZ   done

loop1:
	STEP6
	DECQ BX
	JNZ  loop1

done:
	CMPB add+64(FP), $0
	JE   store
	MOVQ DX, BX
	ADDC(Y4, Y5)
	ADDC(Y6, Y7)
	ADDC(Y8, Y9)
	ADDC(Y10, Y11)
	ADDC(Y12, Y13)
	ADDC(Y14, Y15)
	MOVQ BX, DX

store:
	STOREC(Y4, Y5)
	STOREC(Y6, Y7)
	STOREC(Y8, Y9)
	STOREC(Y10, Y11)
	STOREC(Y12, Y13)
	STOREC(Y14, Y15)
	ADDQ step+80(FP), AX
	DECQ R15
	JNZ  tile
	VZEROUPPER
	RET

// func sgemmTile4(k int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc int, add bool)
TEXT ·sgemmTile4(SB), NOSPLIT, $0-65
	LOADARGS
	ZERO2(Y4, Y5)
	ZERO2(Y6, Y7)
	ZERO2(Y8, Y9)
	ZERO2(Y10, Y11)

loop:
	STEP4
	DECQ BX
	JNZ  loop
	CMPB add+64(FP), $0
	JE   store
	MOVQ DX, BX
	ADDC(Y4, Y5)
	ADDC(Y6, Y7)
	ADDC(Y8, Y9)
	ADDC(Y10, Y11)
	MOVQ BX, DX

store:
	STOREC(Y4, Y5)
	STOREC(Y6, Y7)
	STOREC(Y8, Y9)
	STOREC(Y10, Y11)
	VZEROUPPER
	RET

// func sgemmTile2(k int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc int, add bool)
TEXT ·sgemmTile2(SB), NOSPLIT, $0-65
	LOADARGS
	ZERO2(Y4, Y5)
	ZERO2(Y6, Y7)

loop:
	STEP2
	DECQ BX
	JNZ  loop
	CMPB add+64(FP), $0
	JE   store
	MOVQ DX, BX
	ADDC(Y4, Y5)
	ADDC(Y6, Y7)
	MOVQ BX, DX

store:
	STOREC(Y4, Y5)
	STOREC(Y6, Y7)
	VZEROUPPER
	RET

// func sgemmTile1(k int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc int, add bool)
TEXT ·sgemmTile1(SB), NOSPLIT, $0-65
	LOADARGS
	ZERO2(Y4, Y5)

loop:
	STEP1
	DECQ BX
	JNZ  loop
	CMPB add+64(FP), $0
	JE   store
	VADDPS (DX), Y4, Y4
	VADDPS 32(DX), Y5, Y5

store:
	STOREC(Y4, Y5)
	VZEROUPPER
	RET

// Four columns of eight rows become four rows of eight: each half of a register
// holds four elements of one row, so that unpacking needs no lane crossing.
#define LOADPAIR(lo, hi, X, Y) \
	VMOVUPS     lo, X           \
	VINSERTF128 $1, hi, Y, Y

// func packTransposed8(groups int, src *float32, ld int, dst *float32)
TEXT ·packTransposed8(SB), NOSPLIT, $0-32
	MOVQ groups+0(FP), BX
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R8
	MOVQ dst+24(FP), DI
	LEAQ (R8)(R8*2), R12
	LEAQ (SI)(R8*4), R9

loop:
	LOADPAIR((SI), (R9), X0, Y0)
	LOADPAIR((SI)(R8*1), (R9)(R8*1), X1, Y1)
	LOADPAIR((SI)(R8*2), (R9)(R8*2), X2, Y2)
	LOADPAIR((SI)(R12*1), (R9)(R12*1), X3, Y3)
	VUNPCKLPS Y1, Y0, Y4
	VUNPCKHPS Y1, Y0, Y5
	VUNPCKLPS Y3, Y2, Y6
	VUNPCKHPS Y3, Y2, Y7
	VUNPCKLPD Y6, Y4, Y0
	VUNPCKHPD Y6, Y4, Y1
	VUNPCKLPD Y7, Y5, Y2
	VUNPCKHPD Y7, Y5, Y3
	VMOVUPS   Y0, (DI)
	VMOVUPS   Y1, 64(DI)
	VMOVUPS   Y2, 128(DI)
	VMOVUPS   Y3, 192(DI)
	ADDQ      $16, SI
	ADDQ      $16, R9
	ADDQ      $256, DI
	DECQ      BX
	JNZ       loop
	VZEROUPPER
	RET

// func packRows16(rows int, src *float32, ld int, dst *float32)
TEXT ·packRows16(SB), NOSPLIT, $0-32
	MOVQ rows+0(FP), BX
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R8
	MOVQ dst+24(FP), DI

loop:
	VMOVUPS (SI), Y0
	VMOVUPS 32(SI), Y1
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	ADDQ    R8, SI
	ADDQ    $64, DI
	DECQ    BX
	JNZ     loop
	VZEROUPPER
	RET

// func packStrip6(k int, src *float32, ld int, dst *float32)
TEXT ·packStrip6(SB), NOSPLIT, $0-32
	MOVQ k+0(FP), BX
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R8
	MOVQ dst+24(FP), DI

loop:
	VMOVUPS (SI), X0
	MOVQ    16(SI), AX
	VMOVUPS X0, (DI)
	MOVQ    AX, 16(DI)
	ADDQ    R8, SI
	ADDQ    $24, DI
	DECQ    BX
	JNZ     loop
	VZEROUPPER
	RET

// func storeColumns(m, columns int, src, c *float32, ldc int)
TEXT ·storeColumns(SB), NOSPLIT, $0-40
	MOVQ m+0(FP), BX
	MOVQ columns+8(FP), CX
	MOVQ src+16(FP), SI
	MOVQ c+24(FP), DX
	MOVQ ldc+32(FP), R9

row:
	MOVQ    SI, R8
	MOVQ    DX, DI
	TESTQ   $8, CX
	JZ      four
	VMOVUPS (R8), Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, R8
	ADDQ    $32, DI

four:
	TESTQ   $4, CX
	JZ      two
	VMOVUPS (R8), X0
	VMOVUPS X0, (DI)
	ADDQ    $16, R8
	ADDQ    $16, DI

two:
	TESTQ $2, CX
	JZ    one
	MOVQ  (R8), AX
	MOVQ  AX, (DI)
	ADDQ  $8, R8
	ADDQ  $8, DI

one:
	TESTQ $1, CX
	JZ    next
	MOVL  (R8), AX
	MOVL  AX, (DI)

next:
	ADDQ $64, SI
	ADDQ R9, DX
	DECQ BX
	JNZ  row
	VZEROUPPER
	RET

// func addColumns(m, columns int, src, c *float32, ldc int)
TEXT ·addColumns(SB), NOSPLIT, $0-40
	MOVQ m+0(FP), BX
	MOVQ columns+8(FP), CX
	MOVQ src+16(FP), SI
	MOVQ c+24(FP), DX
	MOVQ ldc+32(FP), R9

row:
	MOVQ    SI, R8
	MOVQ    DX, DI
	TESTQ   $8, CX
	JZ      four
	VMOVUPS (R8), Y0
	VADDPS  (DI), Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, R8
	ADDQ    $32, DI

four:
	TESTQ   $4, CX
	JZ      two
	VMOVUPS (R8), X0
	VADDPS  (DI), X0, X0
	VMOVUPS X0, (DI)
	ADDQ    $16, R8
	ADDQ    $16, DI

two:
	TESTQ  $2, CX
	JZ     one
	VMOVSD (R8), X0
	VMOVSD (DI), X1
	VADDPS X1, X0, X0
	VMOVSD X0, (DI)
	ADDQ   $8, R8
	ADDQ   $8, DI

one:
	TESTQ  $1, CX
	JZ     next
	VMOVSS (R8), X0
	VADDSS (DI), X0, X0
	VMOVSS X0, (DI)

next:
	ADDQ $64, SI
	ADDQ R9, DX
	DECQ BX
	JNZ  row
	VZEROUPPER
	RET
