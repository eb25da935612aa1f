#include "textflag.h"

// Elementwise routines walk eight elements at a time with AX as the index; the
// rest goes through a masked load and store of the same instructions, so that an
// element's bits don't depend on its place. An operation is a macro that takes
// its operands in Y0 (and Y1), leaves its result in Y0 and may use Y1 to Y9;
// Y10 holds the broadcast scalar, Y12 the mask.

// TAILMASK sets Y12 to the mask of the CX (1 to 7) lowest lanes.
#define TAILMASK \
	LEAQ    ·tailMask(SB), R9 \
	SHLQ    $2, CX            \
	SUBQ    CX, R9            \
	VMOVUPS 32(R9), Y12

// BINARY applies OP to a (DX) and b (SI), n elements (CX), and stores to DI.
#define BINARY(OP) \
	XORQ       AX, AX             \
	SUBQ       $8, CX             \
	JLT        tail               \
loop:                             \
	VMOVUPS    (DX)(AX*4), Y0     \
	VMOVUPS    (SI)(AX*4), Y1     \
	OP                            \
	VMOVUPS    Y0, (DI)(AX*4)     \
	ADDQ       $8, AX             \
	CMPQ       AX, CX             \
	JLE        loop               \
tail:                             \
	ADDQ       $8, CX             \
	SUBQ       AX, CX             \
	JZ         done               \
	TAILMASK                      \
	VMASKMOVPS (DX)(AX*4), Y12, Y0 \
	VMASKMOVPS (SI)(AX*4), Y12, Y1 \
	OP                            \
	VMASKMOVPS Y0, Y12, (DI)(AX*4) \
done:                             \
	VZEROUPPER                    \
	RET

// UNARY applies OP to x (SI), n elements (CX), and stores to DI.
#define UNARY(OP) \
	XORQ       AX, AX             \
	SUBQ       $8, CX             \
	JLT        tail               \
loop:                             \
	VMOVUPS    (SI)(AX*4), Y0     \
	OP                            \
	VMOVUPS    Y0, (DI)(AX*4)     \
	ADDQ       $8, AX             \
	CMPQ       AX, CX             \
	JLE        loop               \
tail:                             \
	ADDQ       $8, CX             \
	SUBQ       AX, CX             \
	JZ         done               \
	TAILMASK                      \
	VMASKMOVPS (SI)(AX*4), Y12, Y0 \
	OP                            \
	VMASKMOVPS Y0, Y12, (DI)(AX*4) \
done:                             \
	VZEROUPPER                    \
	RET

#define OPADD VADDPS Y1, Y0, Y0
#define OPSUB VSUBPS Y1, Y0, Y0
#define OPMUL VMULPS Y1, Y0, Y0
#define OPDIV VDIVPS Y1, Y0, Y0
#define OPSQRT VSQRTPS Y0, Y0
#define OPADDSCALAR VADDPS Y10, Y0, Y0
#define OPMULSCALAR VMULPS Y10, Y0, Y0

// VMAXPS returns its second source for two zeros and for NaN. The conjunction of
// both orders is +0 unless both are −0; a sum stands in where either is NaN.
#define OPMAX \
	VMAXPS    Y1, Y0, Y2     \
	VMAXPS    Y0, Y1, Y3     \
	VANDPS    Y3, Y2, Y2     \
	VCMPPS    $3, Y1, Y0, Y3 \
	VADDPS    Y1, Y0, Y0     \
	VBLENDVPS Y3, Y0, Y2, Y0

#define OPMIN \
	VMINPS    Y1, Y0, Y2     \
	VMINPS    Y0, Y1, Y3     \
	VORPS     Y3, Y2, Y2     \
	VCMPPS    $3, Y1, Y0, Y3 \
	VADDPS    Y1, Y0, Y0     \
	VBLENDVPS Y3, Y0, Y2, Y0

#define OPAXPY VFMADD213PS Y1, Y10, Y0

// func addAVX2(dst, a, b *float32, n int)
TEXT ·addAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ a+8(FP), DX
	MOVQ b+16(FP), SI
	MOVQ n+24(FP), CX
	BINARY(OPADD)

// func subAVX2(dst, a, b *float32, n int)
TEXT ·subAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ a+8(FP), DX
	MOVQ b+16(FP), SI
	MOVQ n+24(FP), CX
	BINARY(OPSUB)

// func mulAVX2(dst, a, b *float32, n int)
TEXT ·mulAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ a+8(FP), DX
	MOVQ b+16(FP), SI
	MOVQ n+24(FP), CX
	BINARY(OPMUL)

// func divAVX2(dst, a, b *float32, n int)
TEXT ·divAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ a+8(FP), DX
	MOVQ b+16(FP), SI
	MOVQ n+24(FP), CX
	BINARY(OPDIV)

// func maxAVX2(dst, a, b *float32, n int)
TEXT ·maxAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ a+8(FP), DX
	MOVQ b+16(FP), SI
	MOVQ n+24(FP), CX
	BINARY(OPMAX)

// func minAVX2(dst, a, b *float32, n int)
TEXT ·minAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ a+8(FP), DX
	MOVQ b+16(FP), SI
	MOVQ n+24(FP), CX
	BINARY(OPMIN)

// func axpyAVX2(alpha float32, x, y *float32, n int)
TEXT ·axpyAVX2(SB), NOSPLIT, $0-32
	VBROADCASTSS alpha+0(FP), Y10
	MOVQ         x+8(FP), DX
	MOVQ         y+16(FP), SI
	MOVQ         SI, DI
	MOVQ         n+24(FP), CX
	BINARY(OPAXPY)

// func addScalarAVX2(dst, x *float32, n int, s float32)
TEXT ·addScalarAVX2(SB), NOSPLIT, $0-28
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS s+24(FP), Y10
	UNARY(OPADDSCALAR)

// func mulScalarAVX2(dst, x *float32, n int, s float32)
TEXT ·mulScalarAVX2(SB), NOSPLIT, $0-28
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS s+24(FP), Y10
	UNARY(OPMULSCALAR)

// func divScalarAVX2(dst, x *float32, n int, s float32)
TEXT ·divScalarAVX2(SB), NOSPLIT, $0-28
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS s+24(FP), Y1
	UNARY(OPDIV)

// func sqrtAVX2(dst, x *float32, n int)
TEXT ·sqrtAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	UNARY(OPSQRT)

// EXPSETUP and EXP need R8 = ·expTable, whose rows of 32 bytes are: log2(e),
// high and low part of ln 2, 1/7!, 1/6!, 1/5!, 1/4!, 1/3!, 1/2!, 1, the exponent
// bias, and the clamps. Minimum and maximum take the argument second, which lets
// NaN pass.
#define EXPSETUP \
	LEAQ    ·expTable(SB), R8 \
	VMOVUPS (R8), Y13         \
	VMOVUPS 352(R8), Y14      \
	VMOVUPS 384(R8), Y15

// EXP replaces Y0 by its exponential, using Y1 to Y3: x = t·ln 2 + r, a Taylor
// polynomial of r, and a scaling by 2^t in two steps, exact down to subnormals.
#define EXP \
	VMINPS       Y0, Y14, Y0      \
	VMAXPS       Y0, Y15, Y0      \
	VMULPS       Y13, Y0, Y1      \
	VROUNDPS     $8, Y1, Y1       \
	VFNMADD231PS 32(R8), Y1, Y0   \
	VFNMADD231PS 64(R8), Y1, Y0   \
	VCVTPS2DQ    Y1, Y1           \
	VMOVUPS      96(R8), Y2       \
	VFMADD213PS  128(R8), Y0, Y2  \
	VFMADD213PS  160(R8), Y0, Y2  \
	VFMADD213PS  192(R8), Y0, Y2  \
	VFMADD213PS  224(R8), Y0, Y2  \
	VFMADD213PS  256(R8), Y0, Y2  \
	VMULPS       Y0, Y0, Y3       \
	VFMADD213PS  Y0, Y3, Y2       \
	VADDPS       288(R8), Y2, Y2  \
	VPSRAD       $1, Y1, Y3       \
	VPSUBD       Y3, Y1, Y1       \
	VPADDD       320(R8), Y3, Y3  \
	VPADDD       320(R8), Y1, Y1  \
	VPSLLD       $23, Y3, Y3      \
	VPSLLD       $23, Y1, Y1      \
	VMULPS       Y3, Y2, Y2       \
	VMULPS       Y1, Y2, Y0

// func expAVX2(dst, x *float32, n int)
TEXT ·expAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	EXPSETUP
	UNARY(EXP)

// 416(R8) holds sign bits, 448(R8) all others, 480(R8) twos.

// e = exp(−|x|) doesn't overflow: 1/(1+e) for x ≥ 0, e/(1+e) below.
#define OPSIGMOID \
	VMOVUPS   Y0, Y5         \
	VORPS     416(R8), Y0, Y0 \
	EXP                      \
	VMOVUPS   288(R8), Y4    \
	VADDPS    Y4, Y0, Y3     \
	VBLENDVPS Y5, Y0, Y4, Y4 \
	VDIVPS    Y3, Y4, Y0

// func sigmoidAVX2(dst, x *float32, n int)
TEXT ·sigmoidAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	EXPSETUP
	UNARY(OPSIGMOID)

#define OPSILU \
	VMOVUPS   Y0, Y5         \
	VORPS     416(R8), Y0, Y0 \
	EXP                      \
	VMOVUPS   288(R8), Y4    \
	VADDPS    Y4, Y0, Y3     \
	VBLENDVPS Y5, Y0, Y4, Y4 \
	VDIVPS    Y3, Y4, Y0     \
	VMULPS    Y5, Y0, Y0

// func siluAVX2(dst, x *float32, n int)
TEXT ·siluAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	EXPSETUP
	UNARY(OPSILU)

// R10 = ·tanhTable: the limit of the polynomial, then its coefficients, highest first.
#define OPTANH \
	VMOVUPS     Y0, Y5          \
	VANDPS      448(R8), Y0, Y6 \
	VADDPS      Y6, Y6, Y0      \
	EXP                         \
	VMOVUPS     288(R8), Y4     \
	VADDPS      Y4, Y0, Y0      \
	VMOVUPS     480(R8), Y1     \
	VDIVPS      Y0, Y1, Y1      \
	VSUBPS      Y1, Y4, Y7      \
	VMULPS      Y6, Y6, Y1      \
	VMOVUPS     32(R10), Y2     \
	VFMADD213PS 64(R10), Y1, Y2 \
	VFMADD213PS 96(R10), Y1, Y2 \
	VFMADD213PS 128(R10), Y1, Y2 \
	VFMADD213PS 160(R10), Y1, Y2 \
	VMULPS      Y1, Y2, Y2      \
	VFMADD213PS Y6, Y6, Y2      \
	VCMPPS      $1, (R10), Y6, Y3 \
	VBLENDVPS   Y3, Y2, Y7, Y0  \
	VANDPS      416(R8), Y5, Y5 \
	VORPS       Y5, Y0, Y0

// func tanhAVX2(dst, x *float32, n int)
TEXT ·tanhAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	EXPSETUP
	LEAQ ·tanhTable(SB), R10
	UNARY(OPTANH)

// R10 = ·erfTable: the limit of the first polynomial, its coefficients, highest
// first, the limit of the second, its coefficients.
#define OPERF \
	VMOVUPS     Y0, Y5           \
	VANDPS      448(R8), Y0, Y6  \
	VMOVUPS     256(R10), Y1     \
	VMINPS      Y6, Y1, Y1       \
	VMOVUPS     288(R10), Y0     \
	VFMADD213PS 320(R10), Y1, Y0 \
	VFMADD213PS 352(R10), Y1, Y0 \
	VFMADD213PS 384(R10), Y1, Y0 \
	VFMADD213PS 416(R10), Y1, Y0 \
	VFMADD213PS 448(R10), Y1, Y0 \
	VFMADD213PS 480(R10), Y1, Y0 \
	EXP                          \
	VMOVUPS     288(R8), Y4      \
	VSUBPS      Y0, Y4, Y7       \
	VMULPS      Y6, Y6, Y1       \
	VMOVUPS     32(R10), Y2      \
	VFMADD213PS 64(R10), Y1, Y2  \
	VFMADD213PS 96(R10), Y1, Y2  \
	VFMADD213PS 128(R10), Y1, Y2 \
	VFMADD213PS 160(R10), Y1, Y2 \
	VFMADD213PS 192(R10), Y1, Y2 \
	VFMADD213PS 224(R10), Y1, Y2 \
	VFMADD213PS Y6, Y6, Y2       \
	VCMPPS      $1, (R10), Y6, Y3 \
	VBLENDVPS   Y3, Y2, Y7, Y0   \
	VANDPS      416(R8), Y5, Y5  \
	VORPS       Y5, Y0, Y0

// func erfAVX2(dst, x *float32, n int)
TEXT ·erfAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	EXPSETUP
	LEAQ ·erfTable(SB), R10
	UNARY(OPERF)

// 512(R10) holds 1/√2; 256(R8) is 1/2.
#define OPGELU \
	VMOVUPS Y0, Y8          \
	VMULPS  512(R10), Y0, Y0 \
	OPERF                   \
	VADDPS  288(R8), Y0, Y0 \
	VMULPS  256(R8), Y8, Y8 \
	VMULPS  Y8, Y0, Y0

// func geluAVX2(dst, x *float32, n int)
TEXT ·geluAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	EXPSETUP
	LEAQ ·erfTable(SB), R10
	UNARY(OPGELU)

// ADD8 adds the eight elements of Y0 to the float64 sums in lo and hi.
#define ADD8(lo, hi) \
	VCVTPS2PD    X0, Y8      \
	VEXTRACTF128 $1, Y0, X9  \
	VCVTPS2PD    X9, Y9      \
	VADDPD       Y8, lo, lo  \
	VADDPD       Y9, hi, hi

// SUM4 leaves the sum of the four lanes of Y4 in X4: (0 + 2) + (1 + 3).
#define SUM4 \
	VEXTRACTF128 $1, Y4, X5  \
	VADDPD       X5, X4, X4  \
	VPERMILPD    $1, X4, X5  \
	VADDSD       X5, X4, X4

// func expShiftSumAVX2(dst, x *float32, n int, shift float32) float64
TEXT ·expShiftSumAVX2(SB), NOSPLIT, $0-40
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS shift+24(FP), Y10
	EXPSETUP
	VXORPD       Y4, Y4, Y4
	VXORPD       Y5, Y5, Y5
	XORQ         AX, AX
	SUBQ         $8, CX
	JLT          tail

loop:
	VMOVUPS (SI)(AX*4), Y0
	VSUBPS  Y10, Y0, Y0
	EXP
	VMOVUPS Y0, (DI)(AX*4)
	ADD8(Y4, Y5)
	ADDQ    $8, AX
	CMPQ    AX, CX
	JLE     loop

tail:
	ADDQ       $8, CX
	SUBQ       AX, CX
	JZ         done
	TAILMASK
	VMASKMOVPS (SI)(AX*4), Y12, Y0
	VSUBPS     Y10, Y0, Y0
	EXP
	VMASKMOVPS Y0, Y12, (DI)(AX*4)
	VANDPS     Y12, Y0, Y0
	ADD8(Y4, Y5)

done:
	VADDPD Y5, Y4, Y4
	SUM4
	VZEROUPPER
	MOVSD X4, ret+32(FP)
	RET

// func sumFloat64AVX2(x *float32, n int) float64
TEXT ·sumFloat64AVX2(SB), NOSPLIT, $0-24
	MOVQ   x+0(FP), SI
	MOVQ   n+8(FP), CX
	VXORPD Y4, Y4, Y4
	VXORPD Y5, Y5, Y5
	VXORPD Y6, Y6, Y6
	VXORPD Y7, Y7, Y7
	SUBQ   $16, CX
	JLT    rest

loop:
	VCVTPS2PD (SI), Y0
	VCVTPS2PD 16(SI), Y1
	VCVTPS2PD 32(SI), Y2
	VCVTPS2PD 48(SI), Y3
	VADDPD    Y0, Y4, Y4
	VADDPD    Y1, Y5, Y5
	VADDPD    Y2, Y6, Y6
	VADDPD    Y3, Y7, Y7
	ADDQ      $64, SI
	SUBQ      $16, CX
	JGE       loop

rest:
	ADDQ    $16, CX
	JZ      done
	CMPQ    CX, $8
	JLT     low
	VMOVUPS (SI), Y0
	ADD8(Y4, Y5)
	ADDQ    $32, SI
	SUBQ    $8, CX
	JZ      done
	TAILMASK
	VMASKMOVPS (SI), Y12, Y0
	ADD8(Y6, Y7)
	JMP     done

low:
	TAILMASK
	VMASKMOVPS (SI), Y12, Y0
	ADD8(Y4, Y5)

done:
	VADDPD Y5, Y4, Y4
	VADDPD Y7, Y6, Y6
	VADDPD Y6, Y4, Y4
	SUM4
	VZEROUPPER
	MOVSD X4, ret+16(FP)
	RET

// MAXACC folds Y0 into the maxima in Y4, using Y1 and Y2, and marks NaN in Y5.
#define MAXACC \
	VCMPPS $3, Y0, Y0, Y1 \
	VORPS  Y1, Y5, Y5     \
	VMAXPS Y4, Y0, Y1     \
	VMAXPS Y0, Y4, Y2     \
	VANDPS Y1, Y2, Y4

// func rowMaxAVX2(x *float32, n int) float32
TEXT ·rowMaxAVX2(SB), NOSPLIT, $0-20
	MOVQ         x+0(FP), SI
	MOVQ         n+8(FP), CX
	MOVL         $0xff800000, AX
	MOVQ         AX, X6
	VBROADCASTSS X6, Y6
	VMOVAPS      Y6, Y4
	VXORPS       Y5, Y5, Y5
	XORQ         AX, AX
	SUBQ         $8, CX
	JLT          tail

loop:
	VMOVUPS (SI)(AX*4), Y0
	MAXACC
	ADDQ    $8, AX
	CMPQ    AX, CX
	JLE     loop

tail:
	ADDQ       $8, CX
	SUBQ       AX, CX
	JZ         done
	TAILMASK
	VMASKMOVPS (SI)(AX*4), Y12, Y0
	VBLENDVPS  Y12, Y0, Y6, Y0
	MAXACC

done:
	VMOVMSKPS    Y5, BX
	VEXTRACTF128 $1, Y4, X0
	MAXACC
	VPERMILPS    $0x4e, Y4, Y0
	MAXACC
	VPERMILPS    $0xb1, Y4, Y0
	MAXACC
	VZEROUPPER
	TESTL        BX, BX
	JZ           finite
	MOVL         $0x7fc00000, AX
	MOVQ         AX, X4

finite:
	MOVSS X4, ret+16(FP)
	RET

// func dotAVX2(x, y *float32, n int) float32
TEXT ·dotAVX2(SB), NOSPLIT, $0-28
	MOVQ   x+0(FP), SI
	MOVQ   y+8(FP), DX
	MOVQ   n+16(FP), CX
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	XORQ   AX, AX
	SUBQ   $32, CX
	JLT    eights

loop:
	VMOVUPS     (SI)(AX*4), Y0
	VMOVUPS     32(SI)(AX*4), Y1
	VMOVUPS     64(SI)(AX*4), Y2
	VMOVUPS     96(SI)(AX*4), Y3
	VFMADD231PS (DX)(AX*4), Y0, Y4
	VFMADD231PS 32(DX)(AX*4), Y1, Y5
	VFMADD231PS 64(DX)(AX*4), Y2, Y6
	VFMADD231PS 96(DX)(AX*4), Y3, Y7
	ADDQ        $32, AX
	CMPQ        AX, CX
	JLE         loop

eights:
	ADDQ $24, CX

loop8:
	CMPQ        AX, CX
	JGT         tail
	VMOVUPS     (SI)(AX*4), Y0
	VFMADD231PS (DX)(AX*4), Y0, Y4
	ADDQ        $8, AX
	JMP         loop8

tail:
	ADDQ        $8, CX
	SUBQ        AX, CX
	JZ          done
	TAILMASK
	VMASKMOVPS  (SI)(AX*4), Y12, Y0
	VMASKMOVPS  (DX)(AX*4), Y12, Y1
	VFMADD231PS Y1, Y0, Y5

done:
	VADDPS       Y5, Y4, Y4
	VADDPS       Y7, Y6, Y6
	VADDPS       Y6, Y4, Y4
	VEXTRACTF128 $1, Y4, X0
	VADDPS       X0, X4, X4
	VPERMILPS    $0x4e, X4, X0
	VADDPS       X0, X4, X4
	VPERMILPS    $0xb1, X4, X0
	VADDPS       X0, X4, X4
	VZEROUPPER
	MOVSS        X4, ret+24(FP)
	RET
