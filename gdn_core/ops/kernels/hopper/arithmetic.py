"""The arithmetic that the Hopper kernels share: powers of 2, rounding to two-byte numbers, and splitting into two."""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def exp2(x):
    """Return 2^x; results below the normal range are zero."""
    return gl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1)


SPLIT_BF16 = gl.constexpr("""{
    .reg .b32 h, a, b;
    .reg .f32 x, y;
    cvt.rn.bf16x2.f32 h, $3, $2;
    shl.b32 a, h, 16;
    and.b32 b, h, 0xffff0000;
    mov.b32 x, a;
    mov.b32 y, b;
    sub.f32 x, $2, x;
    sub.f32 y, $3, y;
    cvt.rn.bf16x2.f32 $1, y, x;
    mov.b32 $0, h;
}""")
SPLIT_FP16 = gl.constexpr("""{
    .reg .b32 h;
    .reg .b16 a, b;
    .reg .f32 x, y;
    cvt.rn.f16x2.f32 h, $3, $2;
    mov.b32 {a, b}, h;
    cvt.f32.f16 x, a;
    cvt.f32.f16 y, b;
    sub.f32 x, $2, x;
    sub.f32 y, $3, y;
    cvt.rn.f16x2.f32 $1, y, x;
    mov.b32 $0, h;
}""")


@gluon.jit
def halves(x, DTYPE: gl.constexpr):
    """Split x into two two-byte numbers whose sum is nearly x; converted in pairs, as the chip's instruction does."""
    if gl.bfloat16 == DTYPE:
        high, low = gl.inline_asm_elementwise(
            SPLIT_BF16, "=r,=r,f,f", [x], dtype=(gl.bfloat16, gl.bfloat16), is_pure=True, pack=2
        )
    else:
        high, low = gl.inline_asm_elementwise(
            SPLIT_FP16, "=r,=r,f,f", [x], dtype=(gl.float16, gl.float16), is_pure=True, pack=2
        )
    return high, low


NARROW_BF16 = gl.constexpr("cvt.rn.bf16x2.f32 $0, $2, $1;")
NARROW_FP16 = gl.constexpr("cvt.rn.f16x2.f32 $0, $2, $1;")


@gluon.jit
def narrow(x, DTYPE: gl.constexpr):
    """Round x in pairs. In assembly, or the compiler moves masks behind the rounding, which splits the pairs again."""
    if gl.bfloat16 == DTYPE:
        y = gl.inline_asm_elementwise(NARROW_BF16, "=r,f,f", [x], dtype=gl.bfloat16, is_pure=True, pack=2)
    else:
        y = gl.inline_asm_elementwise(NARROW_FP16, "=r,f,f", [x], dtype=gl.float16, is_pure=True, pack=2)
    return y
