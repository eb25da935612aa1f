#include "textflag.h"

// func roundColumns8(a *roundArgs)
//
// Eight rows: v in Y0, Y1, later Σ's terms; e in Y6, Y7; Σe² in Y12, Y13; the least and
// the largest code in Y14, Y15.
TEXT ·roundColumns8(SB), NOSPLIT, $0-8
	MOVQ         a+0(FP), AX
	MOVQ         0(AX), SI
	MOVQ         8(AX), R8
	MOVQ         16(AX), DI
	MOVQ         24(AX), R9
	MOVQ         32(AX), R10
	MOVQ         40(AX), R11
	MOVQ         48(AX), R12
	MOVQ         56(AX), R13
	MOVQ         64(AX), DX
	MOVQ         72(AX), BX
	MOVQ         80(AX), CX
	VBROADCASTSD 88(AX), Y14
	VBROADCASTSD 96(AX), Y15
	VMOVUPD      (BX), Y12
	VMOVUPD      32(BX), Y13

column:
	MOVQ         (R13), R15
	VMOVUPD      (SI), Y0
	VMOVUPD      32(SI), Y1
	VMOVUPD      (R11)(R15*8), Y2   // step
	VMOVUPD      32(R11)(R15*8), Y3
	VMOVUPD      (R12)(R15*8), Y4   // zero
	VMOVUPD      32(R12)(R15*8), Y5
	VBROADCASTSD (DI), Y8           // U_jj
	VDIVPD       Y2, Y0, Y6
	VDIVPD       Y3, Y1, Y7
	VROUNDPD     $8, Y6, Y6         // half to even
	VROUNDPD     $8, Y7, Y7
	VADDPD       Y4, Y6, Y6
	VADDPD       Y5, Y7, Y7
	VMAXPD       Y14, Y6, Y6
	VMAXPD       Y14, Y7, Y7
	VMINPD       Y15, Y6, Y6
	VMINPD       Y15, Y7, Y7
	VCVTPD2DQY   Y6, X9
	VCVTPD2DQY   Y7, X10
	VMOVUPS      X9, (DX)
	VMOVUPS      X10, 16(DX)
	VSUBPD       Y4, Y6, Y6
	VSUBPD       Y5, Y7, Y7
	VMULPD       Y2, Y6, Y6         // dequantized
	VMULPD       Y3, Y7, Y7
	VMOVUPD      Y6, (SI)
	VMOVUPD      Y7, 32(SI)
	VSUBPD       Y6, Y0, Y6
	VSUBPD       Y7, Y1, Y7
	VDIVPD       Y8, Y6, Y6         // e
	VDIVPD       Y8, Y7, Y7
	CMPQ         104(AX), $0
	JEQ          noerrors
	VMOVUPD      Y6, (SI)
	VMOVUPD      Y7, 32(SI)

noerrors:
	VMULPD       Y6, Y6, Y9
	VMULPD       Y7, Y7, Y10
	VADDPD       Y9, Y12, Y12
	VADDPD       Y10, Y13, Y13
	TESTQ        R9, R9
	JNZ          drift

	// Columns behind: SI, DI walk; their places in this column are kept in AX, R15.
	MOVQ SI, AX
	MOVQ DI, R15
	MOVQ CX, BX
	SUBQ $3, BX
	JLT  last

two:
	VBROADCASTSD 8(R15), Y8
	VBROADCASTSD 16(R15), Y9
	ADDQ         R8, AX
	VMOVUPD      (AX), Y2
	VMOVUPD      32(AX), Y3
	VMOVUPD      (AX)(R8*1), Y4
	VMOVUPD      32(AX)(R8*1), Y5
	VFNMADD231PD Y8, Y6, Y2
	VFNMADD231PD Y8, Y7, Y3
	VFNMADD231PD Y9, Y6, Y4
	VFNMADD231PD Y9, Y7, Y5
	VMOVUPD      Y2, (AX)
	VMOVUPD      Y3, 32(AX)
	VMOVUPD      Y4, (AX)(R8*1)
	VMOVUPD      Y5, 32(AX)(R8*1)
	ADDQ         R8, AX
	ADDQ         $16, R15
	SUBQ         $2, BX
	JGE          two

last:
	ADDQ $2, BX                  // columns left, 0 or 1
	JLE  next
	VBROADCASTSD 8(R15), Y8
	ADDQ         R8, AX
	VMOVUPD      (AX), Y2
	VMOVUPD      32(AX), Y3
	VFNMADD231PD Y8, Y6, Y2
	VFNMADD231PD Y8, Y7, Y3
	VMOVUPD      Y2, (AX)
	VMOVUPD      Y3, 32(AX)
	JMP          next

drift:
	VMOVAPD      Y0, Y4
	VMOVAPD      Y1, Y5
	VFNMADD231PD Y8, Y6, Y4
	VFNMADD231PD Y8, Y7, Y5
	VMOVUPD      Y4, (R10)
	VMOVUPD      Y5, 32(R10)
	ADDQ         R8, R10
	MOVQ         SI, AX
	MOVQ         DI, R15
	MOVQ         R9, BX
	MOVQ         CX, R14
	DECQ         R14
	JZ           driftnext

one:
	VBROADCASTSD 8(R15), Y8
	VBROADCASTSD 8(BX), Y9
	ADDQ         R8, AX
	VMOVUPD      (AX), Y2
	VMOVUPD      32(AX), Y3
	VFNMADD231PD Y8, Y6, Y2
	VFNMADD231PD Y8, Y7, Y3
	VFMADD231PD  Y9, Y0, Y2
	VFMADD231PD  Y9, Y1, Y3
	VMOVUPD      Y2, (AX)
	VMOVUPD      Y3, 32(AX)
	ADDQ         $8, R15
	ADDQ         $8, BX
	DECQ         R14
	JNZ          one

driftnext:
	MOVQ a+0(FP), AX
	MOVQ 80(AX), BX
	LEAQ 8(R9)(BX*8), R9         // P's next diagonal element

next:
	MOVQ a+0(FP), AX
	MOVQ 80(AX), BX
	LEAQ 8(DI)(BX*8), DI         // U's next diagonal element
	ADDQ R8, SI
	ADDQ $8, R13
	ADDQ $32, DX
	DECQ CX
	JNZ  column
	MOVQ 72(AX), BX
	VMOVUPD Y12, (BX)
	VMOVUPD Y13, 32(BX)
	VZEROUPPER
	RET

// func roundColumns16(a *roundArgs)
//
// Sixteen rows: v in Y0, Y1; e in Y6, Y7; Σe² in Y10 … Y13; the least and the largest
// code in Y14, Y15.
TEXT ·roundColumns16(SB), NOSPLIT, $0-8
	MOVQ         a+0(FP), AX
	MOVQ         0(AX), SI
	MOVQ         8(AX), R8
	MOVQ         16(AX), DI
	MOVQ         40(AX), R11
	MOVQ         48(AX), R12
	MOVQ         56(AX), R13
	MOVQ         64(AX), DX
	MOVQ         72(AX), R9
	MOVQ         80(AX), CX
	VBROADCASTSS 88(AX), Y14
	VBROADCASTSS 92(AX), Y15
	MOVQ         CX, R10
	INCQ         R10
	SHLQ         $2, R10         // from one diagonal element of U to the next
	VMOVUPD      (R9), Y10
	VMOVUPD      32(R9), Y11
	VMOVUPD      64(R9), Y12
	VMOVUPD      96(R9), Y13

column:
	MOVQ         (R13), R15
	VMOVUPS      (SI), Y0
	VMOVUPS      32(SI), Y1
	VMOVUPS      (R11)(R15*4), Y2
	VMOVUPS      32(R11)(R15*4), Y3
	VMOVUPS      (R12)(R15*4), Y4
	VMOVUPS      32(R12)(R15*4), Y5
	VBROADCASTSS (DI), Y8
	VDIVPS       Y2, Y0, Y6
	VDIVPS       Y3, Y1, Y7
	VROUNDPS     $8, Y6, Y6
	VROUNDPS     $8, Y7, Y7
	VADDPS       Y4, Y6, Y6
	VADDPS       Y5, Y7, Y7
	VMAXPS       Y14, Y6, Y6
	VMAXPS       Y14, Y7, Y7
	VMINPS       Y15, Y6, Y6
	VMINPS       Y15, Y7, Y7
	VCVTPS2DQ    Y6, Y9
	VMOVUPS      Y9, (DX)
	VCVTPS2DQ    Y7, Y9
	VMOVUPS      Y9, 32(DX)
	VSUBPS       Y4, Y6, Y6
	VSUBPS       Y5, Y7, Y7
	VMULPS       Y2, Y6, Y6
	VMULPS       Y3, Y7, Y7
	VMOVUPS      Y6, (SI)
	VMOVUPS      Y7, 32(SI)
	VSUBPS       Y6, Y0, Y6
	VSUBPS       Y7, Y1, Y7
	VDIVPS       Y8, Y6, Y6      // e
	VDIVPS       Y8, Y7, Y7
	VCVTPS2PD    X6, Y9
	VFMADD231PD  Y9, Y9, Y10
	VEXTRACTF128 $1, Y6, X9
	VCVTPS2PD    X9, Y9
	VFMADD231PD  Y9, Y9, Y11
	VCVTPS2PD    X7, Y9
	VFMADD231PD  Y9, Y9, Y12
	VEXTRACTF128 $1, Y7, X9
	VCVTPS2PD    X9, Y9
	VFMADD231PD  Y9, Y9, Y13
	MOVQ         SI, AX
	MOVQ         DI, R15
	MOVQ         CX, BX
	SUBQ         $3, BX
	JLT          last

two:
	VBROADCASTSS 4(R15), Y8
	VBROADCASTSS 8(R15), Y9
	ADDQ         R8, AX
	VMOVUPS      (AX), Y2
	VMOVUPS      32(AX), Y3
	VMOVUPS      (AX)(R8*1), Y4
	VMOVUPS      32(AX)(R8*1), Y5
	VFNMADD231PS Y8, Y6, Y2
	VFNMADD231PS Y8, Y7, Y3
	VFNMADD231PS Y9, Y6, Y4
	VFNMADD231PS Y9, Y7, Y5
	VMOVUPS      Y2, (AX)
	VMOVUPS      Y3, 32(AX)
	VMOVUPS      Y4, (AX)(R8*1)
	VMOVUPS      Y5, 32(AX)(R8*1)
	ADDQ         R8, AX
	ADDQ         $8, R15
	SUBQ         $2, BX
	JGE          two

last:
	ADDQ         $2, BX
	JLE          next
	VBROADCASTSS 4(R15), Y8
	ADDQ         R8, AX
	VMOVUPS      (AX), Y2
	VMOVUPS      32(AX), Y3
	VFNMADD231PS Y8, Y6, Y2
	VFNMADD231PS Y8, Y7, Y3
	VMOVUPS      Y2, (AX)
	VMOVUPS      Y3, 32(AX)

next:
	ADDQ    R10, DI
	ADDQ    R8, SI
	ADDQ    $8, R13
	ADDQ    $64, DX
	DECQ    CX
	JNZ     column
	VMOVUPD Y10, (R9)
	VMOVUPD Y11, 32(R9)
	VMOVUPD Y12, 64(R9)
	VMOVUPD Y13, 96(R9)
	VZEROUPPER
	RET
