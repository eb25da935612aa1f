#include "textflag.h"

// Sums in double precision keep sixteen partial sums, in Y4 to Y7, each of every
// sixteenth element. A TERM turns four elements, widened, into what is added.

#define SQUARE(T) \
	VMULPD T, T, T

// CENTERED takes the mean from Y10.
#define CENTERED(T) \
	VSUBPD Y10, T, T \
	VMULPD T, T, T

#define QUAD(TERM, off, T, acc) \
	VCVTPS2PD off(SI), T  \
	TERM(T)               \
	VADDPD    T, acc, acc

// MASKS sets Y12 to the mask of the CX (1 to 7) lowest of eight lanes, and Y13, Y14
// to those of its halves, widened.
#define MASKS \
	LEAQ         ·tailMask+32(SB), R9 \
	SHLQ         $2, CX               \
	SUBQ         CX, R9               \
	VMOVUPS      (R9), Y12            \
	VPMOVSXDQ    X12, Y13             \
	VEXTRACTI128 $1, Y12, X14         \
	VPMOVSXDQ    X14, Y14

// EIGHT adds the CX (1 to 7) elements at SI.
#define EIGHT(TERM, lo, hi) \
	MASKS                       \
	VMASKMOVPS   (SI), Y12, Y0  \
	VEXTRACTF128 $1, Y0, X1     \
	VCVTPS2PD    X0, Y0         \
	VCVTPS2PD    X1, Y1         \
	TERM(Y0)                    \
	TERM(Y1)                    \
	VANDPD       Y13, Y0, Y0    \
	VANDPD       Y14, Y1, Y1    \
	VADDPD       Y0, lo, lo     \
	VADDPD       Y1, hi, hi

#define ZEROSUMS \
	VXORPD Y4, Y4, Y4 \
	VXORPD Y5, Y5, Y5 \
	VXORPD Y6, Y6, Y6 \
	VXORPD Y7, Y7, Y7

// TREE leaves the sum of the sixteen in X4.
#define TREE \
	VADDPD       Y5, Y4, Y4 \
	VADDPD       Y7, Y6, Y6 \
	VADDPD       Y6, Y4, Y4 \
	VEXTRACTF128 $1, Y4, X5 \
	VADDPD       X5, X4, X4 \
	VPERMILPD    $1, X4, X5 \
	VADDSD       X5, X4, X4

// SUM16 sums TERM over CX elements at SI and leaves the sum in X4.
#define SUM16(TERM) \
	ZEROSUMS                 \
	SUBQ $16, CX             \
	JLT  rest                \
loop:                        \
	QUAD(TERM, 0, Y0, Y4)    \
	QUAD(TERM, 16, Y1, Y5)   \
	QUAD(TERM, 32, Y2, Y6)   \
	QUAD(TERM, 48, Y3, Y7)   \
	ADDQ $64, SI             \
	SUBQ $16, CX             \
	JGE  loop                \
rest:                        \
	ADDQ $16, CX             \
	CMPQ CX, $8              \
	JLT  low                 \
	QUAD(TERM, 0, Y0, Y4)    \
	QUAD(TERM, 16, Y1, Y5)   \
	ADDQ $32, SI             \
	SUBQ $8, CX              \
	JZ   done                \
	EIGHT(TERM, Y6, Y7)      \
	JMP  done                \
low:                         \
	TESTQ CX, CX             \
	JZ   done                \
	EIGHT(TERM, Y4, Y5)      \
done:                        \
	TREE                     \
	VZEROUPPER

// func sumSquaresAVX2(x *float32, n int) float64
TEXT ·sumSquaresAVX2(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	SUM16(SQUARE)
	MOVSD X4, ret+16(FP)
	RET

// func centeredSquaresAVX2(x *float32, n int, mean float64) float64
TEXT ·centeredSquaresAVX2(SB), NOSPLIT, $0-32
	MOVQ         x+0(FP), SI
	MOVQ         n+8(FP), CX
	VBROADCASTSD mean+16(FP), Y10
	SUM16(CENTERED)
	MOVSD        X4, ret+24(FP)
	RET

#define QUADDOT(off, S, T, acc) \
	VCVTPS2PD off(SI), S  \
	VCVTPS2PD off(DX), T  \
	VMULPD    T, S, S     \
	VADDPD    S, acc, acc

#define EIGHTDOT(lo, hi) \
	MASKS                      \
	VMASKMOVPS   (SI), Y12, Y0 \
	VMASKMOVPS   (DX), Y12, Y2 \
	VEXTRACTF128 $1, Y0, X1    \
	VEXTRACTF128 $1, Y2, X3    \
	VCVTPS2PD    X0, Y0        \
	VCVTPS2PD    X1, Y1        \
	VCVTPS2PD    X2, Y2        \
	VCVTPS2PD    X3, Y3        \
	VMULPD       Y2, Y0, Y0    \
	VMULPD       Y3, Y1, Y1    \
	VADDPD       Y0, lo, lo    \
	VADDPD       Y1, hi, hi

// func dotFloat64AVX2(x, y *float32, n int) float64
TEXT ·dotFloat64AVX2(SB), NOSPLIT, $0-32
	MOVQ x+0(FP), SI
	MOVQ y+8(FP), DX
	MOVQ n+16(FP), CX
	ZEROSUMS
	SUBQ $16, CX
	JLT  rest

loop:
	QUADDOT(0, Y0, Y1, Y4)
	QUADDOT(16, Y2, Y3, Y5)
	QUADDOT(32, Y8, Y9, Y6)
	QUADDOT(48, Y10, Y11, Y7)
	ADDQ $64, SI
	ADDQ $64, DX
	SUBQ $16, CX
	JGE  loop

rest:
	ADDQ $16, CX
	CMPQ CX, $8
	JLT  low
	QUADDOT(0, Y0, Y1, Y4)
	QUADDOT(16, Y2, Y3, Y5)
	ADDQ $32, SI
	ADDQ $32, DX
	SUBQ $8, CX
	JZ   done
	EIGHTDOT(Y6, Y7)
	JMP  done

low:
	TESTQ CX, CX
	JZ    done
	EIGHTDOT(Y4, Y5)

done:
	TREE
	VZEROUPPER
	MOVSD X4, ret+24(FP)
	RET

// WIDE replaces the eight elements of Y0 by (element − Y10)·Y11, computed in double
// precision.
#define WIDE \
	VEXTRACTF128 $1, Y0, X1     \
	VCVTPS2PD    X0, Y0         \
	VCVTPS2PD    X1, Y1         \
	VSUBPD       Y10, Y0, Y0    \
	VSUBPD       Y10, Y1, Y1    \
	VMULPD       Y11, Y0, Y0    \
	VMULPD       Y11, Y1, Y1    \
	VCVTPD2PSY   Y0, X0         \
	VCVTPD2PSY   Y1, X1         \
	VINSERTF128  $1, X1, Y0, Y0

// func normalizeAVX2(dst, x *float32, n int, mean, scale float64)
TEXT ·normalizeAVX2(SB), NOSPLIT, $0-40
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSD mean+24(FP), Y10
	VBROADCASTSD scale+32(FP), Y11
	XORQ         AX, AX
	SUBQ         $8, CX
	JLT          tail

loop:
	VMOVUPS (SI)(AX*4), Y0
	WIDE
	VMOVUPS Y0, (DI)(AX*4)
	ADDQ    $8, AX
	CMPQ    AX, CX
	JLE     loop

tail:
	ADDQ       $8, CX
	SUBQ       AX, CX
	JZ         done
	MASKS
	VMASKMOVPS (SI)(AX*4), Y12, Y0
	WIDE
	VMASKMOVPS Y0, Y12, (DI)(AX*4)

done:
	VZEROUPPER
	RET

// QUADROUNDED adds the squares of four elements, rounded to single precision.
#define QUADROUNDED(off, X, T, acc) \
	VMOVUPS   off(SI), X  \
	VMULPS    X, X, X     \
	VCVTPS2PD X, T        \
	VADDPD    T, acc, acc

// EIGHTROUNDED does so with the CX (1 to 7) elements at SI.
#define EIGHTROUNDED(lo, hi) \
	MASKS                      \
	VMASKMOVPS   (SI), Y12, Y0 \
	VMULPS       Y0, Y0, Y0    \
	VEXTRACTF128 $1, Y0, X1    \
	VCVTPS2PD    X0, Y0        \
	VCVTPS2PD    X1, Y1        \
	VADDPD       Y0, lo, lo    \
	VADDPD       Y1, hi, hi

// func sumRoundedSquaresAVX2(x *float32, n int) float64
TEXT ·sumRoundedSquaresAVX2(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	ZEROSUMS
	SUBQ $16, CX
	JLT  rest

loop:
	QUADROUNDED(0, X0, Y0, Y4)
	QUADROUNDED(16, X1, Y1, Y5)
	QUADROUNDED(32, X2, Y2, Y6)
	QUADROUNDED(48, X3, Y3, Y7)
	ADDQ $64, SI
	SUBQ $16, CX
	JGE  loop

rest:
	ADDQ $16, CX
	CMPQ CX, $8
	JLT  low
	QUADROUNDED(0, X0, Y0, Y4)
	QUADROUNDED(16, X1, Y1, Y5)
	ADDQ $32, SI
	SUBQ $8, CX
	JZ   done
	EIGHTROUNDED(Y6, Y7)
	JMP  done

low:
	TESTQ CX, CX
	JZ    done
	EIGHTROUNDED(Y4, Y5)

done:
	TREE
	VZEROUPPER
	MOVSD X4, ret+16(FP)
	RET

// func divideScaleAVX2(dst, x, gamma *float32, n int, s float32)
TEXT ·divideScaleAVX2(SB), NOSPLIT, $0-36
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         gamma+16(FP), DX
	MOVQ         n+24(FP), CX
	VBROADCASTSS s+32(FP), Y10
	XORQ         AX, AX
	SUBQ         $8, CX
	JLT          tail

loop:
	VMOVUPS (SI)(AX*4), Y0
	VDIVPS  Y10, Y0, Y0
	VMULPS  (DX)(AX*4), Y0, Y0
	VMOVUPS Y0, (DI)(AX*4)
	ADDQ    $8, AX
	CMPQ    AX, CX
	JLE     loop

tail:
	ADDQ       $8, CX
	SUBQ       AX, CX
	JZ         done
	MASKS
	VMASKMOVPS (SI)(AX*4), Y12, Y0
	VMASKMOVPS (DX)(AX*4), Y12, Y1
	VDIVPS     Y10, Y0, Y0
	VMULPS     Y1, Y0, Y0
	VMASKMOVPS Y0, Y12, (DI)(AX*4)

done:
	VZEROUPPER
	RET
