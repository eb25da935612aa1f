#include "textflag.h"

// Routines on rows keep an element's instructions those of the routines on
// slices: eight elements at a time, the rest by a masked load and store.

#define OPADD VADDPS Y1, Y0, Y0
#define OPSUB VSUBPS Y1, Y0, Y0
#define OPMUL VMULPS Y1, Y0, Y0
#define OPDIV VDIVPS Y1, Y0, Y0

// ROWSETUP loads the arguments: dst in DI, a or x in DX, b or s in SI, rows in
// R10, n in R8, strides in bytes in R11 and R12; the mask of the last n mod 8
// elements in Y12.
#define ROWSETUP \
	MOVQ    n+32(FP), R8          \
	LEAQ    ·tailMask+32(SB), R9  \
	MOVQ    R8, CX                \
	ANDQ    $7, CX                \
	SHLQ    $2, CX                \
	SUBQ    CX, R9                \
	VMOVUPS (R9), Y12             \
	MOVQ    dst+0(FP), DI         \
	MOVQ    rows+24(FP), R10      \
	SHLQ    $2, R11               \
	SHLQ    $2, R12

// NEXTROW moves on to the next row, or ends.
#define NEXTROW \
	LEAQ (DI)(R8*4), DI \
	ADDQ R11, DX        \
	ADDQ R12, SI        \
	DECQ R10            \
	JNZ  row            \
	VZEROUPPER          \
	RET

// ROWS applies OP to rows of a and b.
#define ROWS(OP) \
row:                               \
	XORQ       AX, AX              \
	MOVQ       R8, CX              \
	SUBQ       $8, CX              \
	JLT        tail                \
loop:                              \
	VMOVUPS    (DX)(AX*4), Y0      \
	VMOVUPS    (SI)(AX*4), Y1      \
	OP                             \
	VMOVUPS    Y0, (DI)(AX*4)      \
	ADDQ       $8, AX              \
	CMPQ       AX, CX              \
	JLE        loop                \
tail:                              \
	CMPQ       AX, R8              \
	JEQ        next                \
	VMASKMOVPS (DX)(AX*4), Y12, Y0 \
	VMASKMOVPS (SI)(AX*4), Y12, Y1 \
	OP                             \
	VMASKMOVPS Y0, Y12, (DI)(AX*4) \
next:                              \
	NEXTROW

// ROWSCALARS applies OP to rows of x and one value of s for each.
#define ROWSCALARS(OP) \
row:                                 \
	VBROADCASTSS (SI), Y1            \
	XORQ         AX, AX              \
	MOVQ         R8, CX              \
	SUBQ         $8, CX              \
	JLT          tail                \
loop:                                \
	VMOVUPS      (DX)(AX*4), Y0      \
	OP                               \
	VMOVUPS      Y0, (DI)(AX*4)      \
	ADDQ         $8, AX              \
	CMPQ         AX, CX              \
	JLE          loop                \
tail:                                \
	CMPQ         AX, R8              \
	JEQ          next                \
	VMASKMOVPS   (DX)(AX*4), Y12, Y0 \
	OP                               \
	VMASKMOVPS   Y0, Y12, (DI)(AX*4) \
next:                                \
	NEXTROW

// func addRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int)
TEXT ·addRowsAVX2(SB), NOSPLIT, $0-56
	MOVQ a+8(FP), DX
	MOVQ b+16(FP), SI
	MOVQ strideA+40(FP), R11
	MOVQ strideB+48(FP), R12
	ROWSETUP
	ROWS(OPADD)

// func subRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int)
TEXT ·subRowsAVX2(SB), NOSPLIT, $0-56
	MOVQ a+8(FP), DX
	MOVQ b+16(FP), SI
	MOVQ strideA+40(FP), R11
	MOVQ strideB+48(FP), R12
	ROWSETUP
	ROWS(OPSUB)

// func mulRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int)
TEXT ·mulRowsAVX2(SB), NOSPLIT, $0-56
	MOVQ a+8(FP), DX
	MOVQ b+16(FP), SI
	MOVQ strideA+40(FP), R11
	MOVQ strideB+48(FP), R12
	ROWSETUP
	ROWS(OPMUL)

// func divRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int)
TEXT ·divRowsAVX2(SB), NOSPLIT, $0-56
	MOVQ a+8(FP), DX
	MOVQ b+16(FP), SI
	MOVQ strideA+40(FP), R11
	MOVQ strideB+48(FP), R12
	ROWSETUP
	ROWS(OPDIV)

// func addRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int)
TEXT ·addRowScalarsAVX2(SB), NOSPLIT, $0-56
	MOVQ x+8(FP), DX
	MOVQ s+16(FP), SI
	MOVQ strideX+40(FP), R11
	MOVQ strideS+48(FP), R12
	ROWSETUP
	ROWSCALARS(OPADD)

// func subRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int)
TEXT ·subRowScalarsAVX2(SB), NOSPLIT, $0-56
	MOVQ x+8(FP), DX
	MOVQ s+16(FP), SI
	MOVQ strideX+40(FP), R11
	MOVQ strideS+48(FP), R12
	ROWSETUP
	ROWSCALARS(OPSUB)

// func mulRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int)
TEXT ·mulRowScalarsAVX2(SB), NOSPLIT, $0-56
	MOVQ x+8(FP), DX
	MOVQ s+16(FP), SI
	MOVQ strideX+40(FP), R11
	MOVQ strideS+48(FP), R12
	ROWSETUP
	ROWSCALARS(OPMUL)

// func divRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int)
TEXT ·divRowScalarsAVX2(SB), NOSPLIT, $0-56
	MOVQ x+8(FP), DX
	MOVQ s+16(FP), SI
	MOVQ strideX+40(FP), R11
	MOVQ strideS+48(FP), R12
	ROWSETUP
	ROWSCALARS(OPDIV)

// func sumColumns16AVX2(dst, x *float32, rows, stride int)
TEXT ·sumColumns16AVX2(SB), NOSPLIT, $0-32
	MOVQ   dst+0(FP), DI
	MOVQ   x+8(FP), SI
	MOVQ   rows+16(FP), CX
	MOVQ   stride+24(FP), R8
	SHLQ   $2, R8
	VXORPD Y4, Y4, Y4
	VXORPD Y5, Y5, Y5
	VXORPD Y6, Y6, Y6
	VXORPD Y7, Y7, Y7

loop:
	VCVTPS2PD (SI), Y0
	VCVTPS2PD 16(SI), Y1
	VCVTPS2PD 32(SI), Y2
	VCVTPS2PD 48(SI), Y3
	VADDPD    Y0, Y4, Y4
	VADDPD    Y1, Y5, Y5
	VADDPD    Y2, Y6, Y6
	VADDPD    Y3, Y7, Y7
	ADDQ      R8, SI
	DECQ      CX
	JNZ       loop

	VCVTPD2PSY Y4, X0
	VCVTPD2PSY Y5, X1
	VCVTPD2PSY Y6, X2
	VCVTPD2PSY Y7, X3
	VMOVUPS    X0, (DI)
	VMOVUPS    X1, 16(DI)
	VMOVUPS    X2, 32(DI)
	VMOVUPS    X3, 48(DI)
	VZEROUPPER
	RET
