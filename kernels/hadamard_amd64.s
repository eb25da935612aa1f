#include "textflag.h"

// Sign bits of the lanes that a stage at distance 1, 2 and 4 subtracts from.
DATA hadamardSigns<>+0(SB)/8, $0x8000000000000000
DATA hadamardSigns<>+8(SB)/8, $0x8000000000000000
DATA hadamardSigns<>+16(SB)/8, $0x8000000000000000
DATA hadamardSigns<>+24(SB)/8, $0x8000000000000000
DATA hadamardSigns<>+32(SB)/8, $0
DATA hadamardSigns<>+40(SB)/8, $0x8000000080000000
DATA hadamardSigns<>+48(SB)/8, $0
DATA hadamardSigns<>+56(SB)/8, $0x8000000080000000
DATA hadamardSigns<>+64(SB)/8, $0
DATA hadamardSigns<>+72(SB)/8, $0
DATA hadamardSigns<>+80(SB)/8, $0x8000000080000000
DATA hadamardSigns<>+88(SB)/8, $0x8000000080000000
GLOBL hadamardSigns<>(SB), RODATA|NOPTR, $96

// STAGES transforms the eight elements in x by adding, three times, x with the lanes
// at a distance exchanged to x with the later lanes negated.
#define STAGES(x, t) \
	VPERMILPS  $0xB1, x, t   \
	VXORPS     Y13, x, x     \
	VADDPS     t, x, x       \
	VPERMILPS  $0x4E, x, t   \
	VXORPS     Y14, x, x     \
	VADDPS     t, x, x       \
	VPERM2F128 $1, x, x, t   \
	VXORPS     Y15, x, x     \
	VADDPS     t, x, x

// func hadamard8(x *float32, n int, scale float32)
TEXT ·hadamard8(SB), NOSPLIT, $0-20
	MOVQ         x+0(FP), SI
	MOVQ         n+8(FP), CX
	VBROADCASTSS scale+16(FP), Y12
	VMOVUPS      hadamardSigns<>+0(SB), Y13
	VMOVUPS      hadamardSigns<>+32(SB), Y14
	VMOVUPS      hadamardSigns<>+64(SB), Y15
	SUBQ         $32, CX
	JLT          rest

four:
	VMULPS  (SI), Y12, Y0
	VMULPS  32(SI), Y12, Y1
	VMULPS  64(SI), Y12, Y2
	VMULPS  96(SI), Y12, Y3
	STAGES(Y0, Y4)
	STAGES(Y1, Y5)
	STAGES(Y2, Y6)
	STAGES(Y3, Y7)
	VMOVUPS Y0, (SI)
	VMOVUPS Y1, 32(SI)
	VMOVUPS Y2, 64(SI)
	VMOVUPS Y3, 96(SI)
	ADDQ    $128, SI
	SUBQ    $32, CX
	JGE     four

rest:
	ADDQ $32, CX
	JZ   done

one:
	VMULPS  (SI), Y12, Y0
	STAGES(Y0, Y4)
	VMOVUPS Y0, (SI)
	ADDQ    $32, SI
	SUBQ    $8, CX
	JNZ     one

done:
	VZEROUPPER
	RET

// func butterflies2(x *float32, n, d int)
TEXT ·butterflies2(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	MOVQ d+16(FP), R8
	LEAQ (SI)(CX*4), R15 // end
	SHLQ $2, R8          // distance in bytes

block:
	MOVQ R8, BX

loop:
	VMOVUPS (SI), Y0
	VMOVUPS (SI)(R8*1), Y1
	VADDPS  Y1, Y0, Y2
	VSUBPS  Y1, Y0, Y3
	VMOVUPS Y2, (SI)
	VMOVUPS Y3, (SI)(R8*1)
	ADDQ    $32, SI
	SUBQ    $32, BX
	JNZ     loop
	ADDQ    R8, SI
	CMPQ    SI, R15
	JLT     block
	VZEROUPPER
	RET

// func butterflies4(x *float32, n, d int)
TEXT ·butterflies4(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	MOVQ d+16(FP), R8
	LEAQ (SI)(CX*4), R15
	SHLQ $2, R8
	LEAQ (R8)(R8*2), R9

block:
	MOVQ R8, BX

loop:
	VMOVUPS (SI), Y0
	VMOVUPS (SI)(R8*1), Y1
	VMOVUPS (SI)(R8*2), Y2
	VMOVUPS (SI)(R9*1), Y3
	VADDPS  Y1, Y0, Y4
	VSUBPS  Y1, Y0, Y5
	VADDPS  Y3, Y2, Y6
	VSUBPS  Y3, Y2, Y7
	VADDPS  Y6, Y4, Y0
	VADDPS  Y7, Y5, Y1
	VSUBPS  Y6, Y4, Y2
	VSUBPS  Y7, Y5, Y3
	VMOVUPS Y0, (SI)
	VMOVUPS Y1, (SI)(R8*1)
	VMOVUPS Y2, (SI)(R8*2)
	VMOVUPS Y3, (SI)(R9*1)
	ADDQ    $32, SI
	SUBQ    $32, BX
	JNZ     loop
	ADDQ    R9, SI
	CMPQ    SI, R15
	JLT     block
	VZEROUPPER
	RET
