"""Small kernels for the tests of the evaluator: this program compiles them and prints their texts as JSON.

They are compiled in a process of their own, because other tests tell Triton to interpret.
"""

import json

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from derivations.engines.ir.front import compiled


@triton.jit
def integers(x, y, out, n, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = o < n
    a = tl.load(x + o, mask=m, other=1)
    b = tl.load(y + o, mask=m, other=1)
    c = a // b + 3 * (a % b) - tl.minimum(a, b) + tl.maximum(a, 2) + (a << 2) + (a >> 1) + (a & 6) + (a | 1) + (a ^ b)
    c += tl.where((a < b) & (a != 3) | (a >= 9), 7, -7)
    tl.store(out + o, c, mask=m)


@triton.jit
def product(x, y, out, N: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr):
    o_n, o_k = tl.arange(0, N), tl.arange(0, BLOCK)
    total = tl.zeros((N, N), tl.float32)
    for i in range(0, K, BLOCK):
        m = i + o_k < K
        a = tl.load(x + o_n[:, None] * K + i + o_k[None, :], mask=m[None, :], other=0.0)
        b = tl.load(y + o_n[:, None] * K + i + o_k[None, :], mask=m[None, :], other=0.0)
        total = tl.dot(a, tl.trans(b), total)
    tl.store(out + o_n[:, None] * N + o_n[None, :], 0.5 * total - 0.25)


@triton.jit
def sums(x, out, N: tl.constexpr, REVERSE: tl.constexpr):
    o = tl.arange(0, N)
    b = tl.load(x + o[:, None] * N + o[None, :])
    c = tl.cumsum(b, 1, reverse=REVERSE) * tl.sum(b, 0)[None, :]
    c = tl.reshape(tl.permute(tl.reshape(c, (2, N // 2, N)), (1, 0, 2)), (N, N))
    left, right = tl.split(tl.reshape(c, (N, N // 2, 2)))
    tl.store(out + o[:, None] * N + o[None, :], tl.reshape(tl.join(right, left), (N, N)))


@triton.jit
def larger(value, index, other, other_index):
    better = (other > value) | ((other == value) & (other_index < index))
    return tl.where(better, other, value), tl.where(better, other_index, index)


@triton.jit
def largest(x, out, N: tl.constexpr):
    o = tl.arange(0, N)
    value, index = tl.reduce((tl.load(x + o), o), 0, larger)
    tl.store(out, value)
    tl.store(out + 1, index)


@triton.jit
def branches(x, out, n):
    i = tl.program_id(0)
    if i >= n:
        return
    total = 0
    for j in range(i):  # as many rounds as the program's number
        total += tl.load(x + j)
        if total > 8:
            total -= 5 if i % 2 == 0 else 3
    while total > 3:
        total = total // 2
    tl.store(out + i, total)


@triton.jit
def tiles(x, out, d_x, d_out):
    i = tl.program_id(0)
    tile = d_x.load([8 * i - 4, 4])
    d_out.store([8 * i, 0], tile * 2.0)


@triton.jit
def decays(g, out, N: tl.constexpr, BACKWARDS: tl.constexpr):
    o = tl.arange(0, N)
    G = tl.cumsum(tl.load(g + o), 0)
    between = G[None, :] - G[:, None] if BACKWARDS else G[:, None] - G[None, :]
    tl.store(out + o[:, None] * N + o[None, :], tl.exp(tl.where(o[:, None] >= o[None, :], between, float("-inf"))))


@triton.jit
def binary(g, out, N: tl.constexpr, FACTOR: tl.constexpr, NATURAL: tl.constexpr):
    o = tl.arange(0, N)
    G = tl.cumsum(tl.load(g + o), 0) * FACTOR
    between = tl.where(o[:, None] >= o[None, :], G[:, None] - G[None, :], float("-inf"))
    tl.store(out + o[:, None] * N + o[None, :], tl.exp(between) if NATURAL else tl.exp2(between))


# Kernels with a fault each.


@triton.jit
def outside(x, out, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    tl.store(out + o, tl.load(x + o, mask=o <= n, other=0.0), mask=o < n)


@triton.jit
def before(x, out):
    tl.store(out - 1, tl.load(x))


@triton.jit
def without_other(x, out, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    b = tl.load(x + o, mask=o < n) * 0.0
    tl.store(out + o, tl.load(x + o, mask=o < n, other=0.0) + b, mask=o < n + 1)


@triton.jit
def unwritten_integer(i, x, out):
    tl.store(out, tl.load(x + tl.load(i)))


@triton.jit
def one_address(x, out):
    tl.store(out, tl.load(x + tl.program_id(0)))


@triton.jit
def same_number(x, out):
    tl.store(out, tl.load(x))


@triton.jit
def duplicates(x, out, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    tl.store(out + o // 2, tl.load(x + o))


@triton.jit
def overflow(x, out, stride):
    tl.store(out, tl.load(x + tl.program_id(0) * stride % 2))


@triton.jit
def handed_over(x, out):
    i = tl.program_id(0)
    tl.store(out + i, tl.load(x + i))
    tl.store(out + i, tl.load(out + (i + 1) % 2))


@triton.jit
def exponential(x, out):
    tl.store(out, tl.exp(tl.load(x)))


@triton.jit
def distances(g, out, N: tl.constexpr):
    """Decays between tokens and the middle one, whichever is later."""
    o = tl.arange(0, N)
    b_G = tl.cumsum(tl.load(g + o), 0)
    b_middle = tl.sum(tl.where(o == N // 2, b_G, 0.0), 0)
    tl.store(out + o, tl.exp(-tl.abs(b_G - b_middle)))


@triton.jit
def three_parts(x, y, out, N: tl.constexpr):
    """A product of float32 as three of tf32."""
    o = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(out + o, tl.dot(tl.load(x + o), tl.load(y + o), input_precision="tf32x3"))


@triton.jit
def order(x, out):
    b = tl.load(x)
    tl.store(out, tl.where(b > 0.5, b, 0.0))


@triton.jit
def endless(x, out):
    total = tl.load(x)
    while total != 0:
        total += 1
    tl.store(out, total)


@triton.jit
def atomic(x, out):
    tl.atomic_add(out, tl.load(x))


@triton.jit
def sine(x, out):
    tl.store(out, tl.sin(tl.load(x)))


def texts():
    """Return the text of every kernel, by a name."""
    f = torch.empty(256, device="meta")
    half, i = f.half(), torch.empty(256, dtype=torch.int32, device="meta")
    tile = TensorDescriptor(f, [12, 12], [12, 1], [8, 8])
    other = TensorDescriptor(f, [12, 8], [8, 1], [8, 8])
    made = {
        "integers": (integers, (i, i, i, 100), {"BLOCK": 32}),
        "product": (product, (half, half, f), {"N": 16, "K": 40, "BLOCK": 16}),
        "sums": (sums, (f, f), {"N": 8, "REVERSE": False}),
        "sums reversed": (sums, (f, f), {"N": 8, "REVERSE": True}),
        "largest": (largest, (i, i), {"N": 16}),
        "branches": (branches, (i, i, 100), {}),
        "tiles": (tiles, (f, f, tile, other), {}),
        "decays": (decays, (f, f), {"N": 8, "BACKWARDS": False}),
        "decays backwards": (decays, (f, f), {"N": 8, "BACKWARDS": True}),
        "base 2": (binary, (f, f), {"N": 8, "FACTOR": 1.4426950408889634, "NATURAL": False}),
        "base 2 inexact": (binary, (f, f), {"N": 8, "FACTOR": 1.4427, "NATURAL": False}),
        "base 2 without the factor": (binary, (f, f), {"N": 8, "FACTOR": 1.0, "NATURAL": False}),
        "base e with the factor": (binary, (f, f), {"N": 8, "FACTOR": 1.4426950408889634, "NATURAL": True}),
        "distances": (distances, (f, f), {"N": 8}),
        "outside": (outside, (f, f, 12), {"BLOCK": 16}),
        "without other": (without_other, (f, f, 12), {"BLOCK": 16}),
        "duplicates": (duplicates, (f, f), {"BLOCK": 16}),
        "overflow": (overflow, (f, f, 100), {}),
        "endless": (endless, (i, i), {}),
        "unwritten integer": (unwritten_integer, (i, f, f), {}),
    }
    made |= {each.__name__.replace("_", " "): (each, (f, f), {})
             for each in (before, one_address, same_number, handed_over, exponential, order, atomic, sine)}  # fmt: skip
    pipelined = compiled(product, (half, half, f), {"N": 16, "K": 96, "BLOCK": 16, "num_stages": 3}, arch=80,
                         level="ttgir")  # fmt: skip
    parts = compiled(three_parts, (f, f, f), {"N": 16}, arch=80, level="ttgir")
    return {"pipelined": pipelined.text, "three parts": parts.text} | {
        name: compiled(kernel, given, options, arch=90, level="ttir").text
        for name, (kernel, given, options) in made.items()
    }


if __name__ == "__main__":
    print(json.dumps(texts()))
