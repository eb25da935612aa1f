#include "textflag.h"

#define PACKARGS \
	MOVQ k+0(FP), CX       \
	MOVQ src+8(FP), SI     \
	MOVQ at+16(FP), R9     \
	MOVQ weight+24(FP), DX \
	MOVQ step+32(FP), R8   \
	MOVQ dst+40(FP), DI

// func packWide8AVX2(k int, src *float32, at *int, weight *float64, step int, dst *float64)
TEXT ·packWide8AVX2(SB), NOSPLIT, $0-48
	PACKARGS

loop:
	MOVQ         (R9), AX
	VBROADCASTSD (DX), Y2
	VCVTPS2PD    (SI)(AX*4), Y0
	VCVTPS2PD    16(SI)(AX*4), Y1
	VMULPD       Y2, Y0, Y0
	VMULPD       Y2, Y1, Y1
	VMOVUPD      Y0, (DI)
	VMOVUPD      Y1, 32(DI)
	ADDQ         $8, R9
	ADDQ         R8, DX
	ADDQ         $64, DI
	DECQ         CX
	JNZ          loop
	VZEROUPPER
	RET

// func packWide6AVX2(k int, src *float32, at *int, weight *float64, step int, dst *float64)
TEXT ·packWide6AVX2(SB), NOSPLIT, $0-48
	PACKARGS

loop:
	MOVQ         (R9), AX
	VBROADCASTSD (DX), Y2
	VCVTPS2PD    (SI)(AX*4), Y0
	VCVTPS2PD    16(SI)(AX*4), X1
	VMULPD       Y2, Y0, Y0
	VMULPD       X2, X1, X1
	VMOVUPD      Y0, (DI)
	VMOVUPD      X1, 32(DI)
	ADDQ         $8, R9
	ADDQ         R8, DX
	ADDQ         $48, DI
	DECQ         CX
	JNZ          loop
	VZEROUPPER
	RET
