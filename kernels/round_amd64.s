#include "textflag.h"

// func absMaxAVX2(w *float32, n int) uint32
//
// The largest bits of |w|; n is a positive multiple of 8.
TEXT ·absMaxAVX2(SB), NOSPLIT, $0-20
	MOVQ     w+0(FP), SI
	MOVQ     n+8(FP), CX
	VPCMPEQD Y3, Y3, Y3
	VPSRLD   $1, Y3, Y3     // all but the sign
	VPXOR    Y0, Y0, Y0
	VPXOR    Y1, Y1, Y1
	SUBQ     $16, CX
	JLT      last

loop:
	VPAND   (SI), Y3, Y4
	VPAND   32(SI), Y3, Y5
	VPMAXUD Y4, Y0, Y0
	VPMAXUD Y5, Y1, Y1
	ADDQ    $64, SI
	SUBQ    $16, CX
	JGE     loop

last:
	ADDQ    $16, CX
	JZ      done
	VPAND   (SI), Y3, Y4
	VPMAXUD Y4, Y0, Y0

done:
	VPMAXUD      Y1, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPMAXUD      X1, X0, X0
	VPSHUFD      $0x4E, X0, X1
	VPMAXUD      X1, X0, X0
	VPSHUFD      $0xB1, X0, X1
	VPMAXUD      X1, X0, X0
	VMOVD        X0, AX
	MOVL         AX, ret+16(FP)
	VZEROUPPER
	RET

// func minMaxAVX2(w *float32, n int) (low, top float32)
//
// n is a positive multiple of 8. A NaN counts only in the first place, as in minMax: of a
// NaN and a number, VMINPS and VMAXPS give the operand written first here.
TEXT ·minMaxAVX2(SB), NOSPLIT, $0-24
	MOVQ         w+0(FP), SI
	MOVQ         n+8(FP), CX
	VBROADCASTSS (SI), Y0
	VMOVAPS      Y0, Y1

loop:
	VMOVUPS (SI), Y2
	VMINPS  Y0, Y2, Y0
	VMAXPS  Y1, Y2, Y1
	ADDQ    $32, SI
	SUBQ    $8, CX
	JNZ     loop
	VEXTRACTF128 $1, Y0, X2
	VEXTRACTF128 $1, Y1, X3
	VMINPS       X0, X2, X0
	VMAXPS       X1, X3, X1
	VPERMILPS    $0x4E, X0, X2
	VPERMILPS    $0x4E, X1, X3
	VMINPS       X0, X2, X0
	VMAXPS       X1, X3, X1
	VPERMILPS    $0xB1, X0, X2
	VPERMILPS    $0xB1, X1, X3
	VMINPS       X0, X2, X0
	VMAXPS       X1, X3, X1
	VMOVSS       X0, low+16(FP)
	VMOVSS       X1, top+20(FP)
	VZEROUPPER
	RET

// func roundSymmetricAVX2(dst, w *float32, n int, s, low, high float32)
TEXT ·roundSymmetricAVX2(SB), NOSPLIT, $0-36
	MOVQ         dst+0(FP), DI
	MOVQ         w+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS s+24(FP), Y12
	VBROADCASTSS low+28(FP), Y13
	VBROADCASTSS high+32(FP), Y14

loop:
	VMOVUPS  (SI), Y0
	VDIVPS   Y12, Y0, Y1
	VROUNDPS $8, Y1, Y1      // half to even; −0.3 becomes −0
	VMAXPS   Y1, Y13, Y1     // NaN stays
	VMINPS   Y1, Y14, Y1
	VMULPS   Y12, Y1, Y1
	VMOVUPS  Y1, (DI)
	ADDQ     $32, SI
	ADDQ     $32, DI
	SUBQ     $8, CX
	JNZ      loop
	VZEROUPPER
	RET

// func roundAsymmetricAVX2(dst, w *float32, n int, s, z, high float32)
TEXT ·roundAsymmetricAVX2(SB), NOSPLIT, $0-36
	MOVQ         dst+0(FP), DI
	MOVQ         w+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS s+24(FP), Y12
	VBROADCASTSS z+28(FP), Y13
	VBROADCASTSS high+32(FP), Y14
	VXORPS       Y15, Y15, Y15

loop:
	VMOVUPS  (SI), Y0
	VDIVPS   Y12, Y0, Y0
	VROUNDPS $8, Y0, Y0
	VADDPS   Y13, Y0, Y0
	VMAXPS   Y0, Y15, Y0
	VMINPS   Y0, Y14, Y0
	VSUBPS   Y13, Y0, Y0
	VMULPS   Y12, Y0, Y0
	VMOVUPS  Y0, (DI)
	ADDQ     $32, SI
	ADDQ     $32, DI
	SUBQ     $8, CX
	JNZ      loop
	VZEROUPPER
	RET
