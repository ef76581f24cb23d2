"""The chunk form in plain PyTorch: batched matrix products and triangular solves, forward and backward, any device.

It is :func:`gdn_core.reference.chunk` for a scalar decay and a tied or absent erase gate, in the API's layout, with the
stages named as in the reference. A span of chunks is processed at a time, in buffers that the next span uses again, so
that intermediate results stay in the cache. Only the memories before each span are kept, and only if a gradient is
needed; the backward pass recomputes the others.

Arithmetic is in float32, or in float64 for float64 inputs. The path from the keys of a chunk to its errors (products of
keys, inverse, its application) is always in float64. Where tokens cancel each other, an error is a small difference of
large numbers, and float32 would lose more digits there than in all other places together. For the same reason the
inverse, its application and the gradients of the products of keys are in float64 in the backward pass. Elsewhere long
sums over channels are taken in parts, because a float32 product rounds each partial sum. On a device without float64
everything is in float32, and the error budget is BUDGET_WITHOUT times the error of the plain scan instead of twice.
Measured were 11 times on ordinary inputs, 28 where keys are nearly parallel and beta is near 2, and 120 behind tokens
whose log decay is -90.

``guarded=True`` handles two kinds of input that cost extra time: decays of 0, whose logarithms would cost all digits of
the sums behind them; and tokens that are not finite, which reach earlier tokens of their chunk where a product
multiplies them by 0. On all other inputs the result is the same to the bit.

In the comments X = B * HV is the number of memories, n the chunks in a span, C the tokens in a chunk. The memory is
held as [K, V]. T is the number of tokens, so the UT transform is called UT here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F

from gdn_core.ops.torch import precision

Tensor = torch.Tensor

CHUNK_SIZE = 32
CHUNKS_AT_ONCE = 8  # chunks in a span, so that the buffers of 8 heads stay in the cache
SPAN = CHUNK_SIZE * CHUNKS_AT_ONCE  # tokens
BUDGET_WITHOUT = 200
PARTS = 4  # of a sum in float32; with more, adding the parts rounds as much as the parts do


class Kept(NamedTuple):
    """What the backward pass needs from the forward pass beside the inputs, in tensors of the caller."""

    h: Tensor  # [spans, X, K, V], the memory before each span
    v_new: Tensor  # [chunks, X, C, V], the errors before their gate; no chunks where nothing is erased


def room(v: Tensor, K: int, *, spans: int, chunks: int) -> Kept:
    """Allocate what is kept of a forward pass over values [B, T, HV, V] of this many spans and chunks."""
    B, _, HV, V = v.shape
    dtype = torch.promote_types(v.dtype, torch.float32)
    shapes = (spans, B * HV, K, V), (chunks, B * HV, CHUNK_SIZE, V)
    return Kept(*(v.new_empty(shape, dtype=dtype) for shape in shapes))


class _Span(NamedTuple):
    """Chunks that are processed at once; the last chunk is padded with zeros, which leave the memory unchanged."""

    number: int
    start: int  # token
    n: int
    C: int

    def cut(self, x: Tensor) -> Tensor:
        """View the tokens of [B, T, H, ...] as [n, B, H, C, ...]."""
        x = x[:, self.start : self.start + self.n * self.C]
        if missing := self.n * self.C - x.shape[1]:
            x = F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing))
        return x.unflatten(1, (self.n, self.C)).movedim(3, 2).movedim(0, 1)

    def rows(self, x: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
        """Return the tokens of [B, T, H, D] as [n, B * heads, C, D], each key head repeated for its value heads.

        With one float32 sequence no data is copied: products read it through its strides.
        """
        x = self.cut(x).to(dtype)[:, :, :, None]
        n, B, H, _, C, D = x.shape
        return x.expand(n, B, H, heads // H, C, D).reshape(n, B * heads, C, D)

    def put(self, values: Tensor, x: Tensor, scale: float = 1.0) -> None:
        """Write [n, X, C, ...], times the scale, to the tokens of x, [B, T, H, ...]."""
        B, T, H = x.shape[:3]
        values = values.view(self.n, B, H, self.C, *x.shape[3:])
        if self.start + self.n * self.C <= T:
            torch.mul(values, scale, out=self.cut(x))
        else:
            x[:, self.start :] = values.movedim(0, 1).movedim(3, 2).flatten(1, 2)[:, : T - self.start] * scale


def _spans(T: int) -> Iterator[_Span]:
    C = CHUNK_SIZE
    for number, start in enumerate(range(0, T, C * CHUNKS_AT_ONCE)):
        yield _Span(number, start, min(CHUNKS_AT_ONCE, -(-(T - start) // C)), C)


class _Gates(NamedTuple):
    """Decays and gates of a span in float64; each of the H key heads has G = HV / H value heads."""

    beta: Tensor  # [n, B, H, G, C]
    so_far: Tensor  # [n, X, C, 1], decay from the start of the chunk to each token
    left: Tensor  # [n, X, C, 1], from each token to the end of the chunk
    between: Tensor  # [n, B, H, G, C, C], from token j to token i; undefined above the diagonal
    resets: Tensor | None  # [n, B, H, G, C], whether a token's decay is 0; None if not guarded


def _gates(g: Tensor | None, beta: Tensor | None, span: _Span, H: int, v: Tensor, *, guarded: bool) -> _Gates:
    """Sum log decays, in float64 so that differences keep their digits behind a strong decay.

    Guarded, a decay of 0 is left out of the sum and counted: the decay over a range of tokens that contains one is 0.
    """
    B, _, HV, _ = v.shape
    wide = precision.wide(v.device)
    shape = (span.n, B, H, HV // H, span.C)
    column = (span.n, B * HV, span.C, 1)
    b = v.new_ones(shape, dtype=wide) if beta is None else span.cut(beta).to(wide).contiguous().view(shape)
    resets = counts = None
    if g is None:
        G = v.new_zeros(shape, dtype=wide)
    else:
        logs = span.cut(g).to(wide)
        if guarded:
            resets = logs <= precision.FORGETS[wide]
            logs = logs.masked_fill(resets, 0)
            counts = resets.cumsum(-1).reshape(shape)
            resets = resets.reshape(shape)
        G = logs.cumsum(-1).reshape(shape)
    between = (G[..., :, None] - G[..., None, :]).tril_().exp_()
    so_far, left = G.exp(), (G[..., -1:] - G).exp()
    if counts is not None:
        between.masked_fill_(counts[..., :, None] != counts[..., None, :], 0)
        so_far.masked_fill_(counts > 0, 0)
        left.masked_fill_(counts[..., -1:] != counts, 0)
    return _Gates(b, so_far.view(column), left.view(column), between, resets)


def _columns(x: Tensor) -> tuple[Tensor, ...]:
    """Split the inner axis of a left factor into parts, as :func:`_rows` does for a right factor."""
    return x.split(-(-x.shape[-1] // PARTS), -1)


def _rows(x: Tensor) -> tuple[Tensor, ...]:
    return x.split(-(-x.shape[-2] // PARTS), -2)


def _multiply(columns: Iterable[Tensor], rows: Iterable[Tensor], out: Tensor, *, add: bool = False) -> Tensor:
    """Write batched products to ``out``, or add them to it, each inner sum in parts to reduce rounding errors."""
    for a, b in zip(columns, rows, strict=True):
        if add:
            out.baddbmm_(a, b)
        else:
            torch.bmm(a, b, out=out)
        add = True
    return out


def _ut_transform(triangle: Tensor) -> Tensor:
    """Invert I + the strict lower triangle of [n, B, H, G, C, C]; return [n, X, C, C]."""
    one = torch.eye(triangle.shape[-1], dtype=triangle.dtype, device=triangle.device).expand_as(triangle)
    return torch.linalg.solve_triangular(triangle, one, upper=False, unitriangular=True).flatten(1, 3)


def _read_back(lower: Tensor, rows: Tensor, out: Tensor, *, guarded: bool) -> Tensor:
    """Multiply lower triangles [..., C, C] by rows [..., C, V].

    The product multiplies rows of later tokens by 0. Guarded, numbers that are not finite are replaced by 0, and NaN is
    written to their own and all later rows of the result.
    """
    if not guarded:
        return torch.bmm(lower, rows, out=out)
    lost = rows.isfinite().logical_not_().cumsum(-2) > 0
    return torch.bmm(lower, rows.masked_fill(lost, 0), out=out).masked_fill_(lost, torch.nan)


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None,
    kept: Kept | None = None,
    guarded: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run a scalar-gated rule of the family in chunks.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V], HV a multiple of H.
        g: log decay in nats, [B, T, HV], <= 0; None for no decay.
        beta: erase and write gate, [B, T, HV], in [0, 2]; None to erase nothing and write everything.
        scale: factor on the queries.
        initial_state: memory before the first token, [B, HV, K, V]; None for zero.
        kept: tensors to write what :func:`backward` needs to; None if no gradient is needed.
        guarded: there may be log decays of ``precision.FORGETS`` or less, or numbers that are not finite.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the memory after the last token, [B, HV, K, V], float32 (float64
        where v is).

    Source: Gated DeltaNet, arXiv 2412.06464, sec. 3.3, with the decay mask in the output as in its first version.
    """
    B, T, HV, V = v.shape
    H, K = k.shape[2:]
    X, C, N = B * HV, CHUNK_SIZE, min(CHUNKS_AT_ONCE, -(-T // CHUNK_SIZE))
    dtype, wide = torch.promote_types(v.dtype, torch.float32), precision.wide(v.device)
    S = v.new_zeros(X, K, V, dtype=dtype)
    if initial_state is not None:
        S += initial_state.reshape(S.shape)
    o = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    own = v.new_empty(2, N, B, H, C, K, dtype=dtype)  # keys, queries
    wide_keys = v.new_empty(N, B, H, C, K, dtype=wide)
    right, wide_v_new = (v.new_empty(X, C, V, dtype=wide) for _ in range(2))
    stored = v.new_empty(X, C, V, dtype=dtype)
    all_writing = v.new_empty(N, X, C, K, dtype=dtype)
    all_read, all_v_new, all_out = (v.new_empty(N, X, C, V, dtype=dtype) for _ in range(3))
    products = v.new_empty(N * B * H, C, C, dtype=dtype)
    S_rows = _rows(S)
    for span in _spans(T):
        n = span.n
        keys, queries, values = (span.rows(x, HV, dtype) for x in (k, q, v))
        gates = _gates(g, beta, span, H, v, guarded=guarded)
        gated = gates.between * gates.beta[..., None, :]
        UT = None
        if beta is not None:
            own_wide = wide_keys[:n].copy_(span.cut(k)).flatten(0, 2)
            UT = _ut_transform(torch.bmm(own_wide, own_wide.transpose(1, 2)).view(n, B, H, 1, C, C) * gated)
        left, so_far = gates.left * gates.beta.view(n, X, C, 1), gates.so_far.to(dtype)
        writing = torch.mul(keys, left.to(dtype), out=all_writing[:n])
        v_new = all_v_new[:n]
        if kept is not None:
            kept.h[span.number] = S
            if beta is not None:
                v_new = kept.v_new[span.number * CHUNKS_AT_ONCE :][:n]
        minus = -gates.so_far
        key_columns = zip(*(x.unbind() for x in _columns(keys)), strict=True)
        for i, (k_i, q_i, u) in enumerate(zip(key_columns, queries.unbind(), v_new.unbind(), strict=True)):
            torch.bmm(q_i, S, out=all_read[i])
            if UT is None:
                u.copy_(values[i])
            else:
                torch.addcmul(values[i], _multiply(k_i, S_rows, stored), minus[i], out=right)
                u.copy_(_read_back(UT[i], right, wide_v_new, guarded=guarded))  # error
            if g is not None:
                S *= so_far[i, :, -1:]  # decay
            S.baddbmm_(writing[i].transpose(1, 2), u)  # write
        own_keys, own_queries = (o_x[:n].copy_(span.cut(x)).flatten(0, 2) for o_x, x in zip(own, (k, q), strict=True))
        Aqk = _multiply(_columns(own_queries), _rows(own_keys.transpose(1, 2)), products[: n * B * H])
        Aqk = (Aqk.view(n, B, H, 1, C, C) * gated.to(dtype)).tril_().view(n * X, C, C)
        out = all_out[:n]
        _read_back(Aqk, v_new.flatten(0, 1), out.view(n * X, C, V), guarded=guarded)
        span.put(out.addcmul_(all_read[:n], so_far), o, scale)  # read
    return o, S.view(B, HV, K, V)


class Gradients(NamedTuple):
    """Gradients of the inputs, each in the dtype of its input; that of the memory in the dtype of the arithmetic."""

    q: Tensor
    k: Tensor
    v: Tensor
    g: Tensor | None
    beta: Tensor | None
    S: Tensor


def backward(
    do: Tensor,
    dS: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    *,
    scale: float,
    kept: Kept,
    guarded: bool = False,
) -> Gradients:
    """Run the backward pass, last span first; a span's products and memories are recomputed.

    Akk is the strict lower triangle of the products of keys under the decay mask, and Aqk the lower triangle of those
    of queries and keys. The errors before their gate, v_new, solve (I + Akk beta) v_new = v - (decay * k) h. Then
    u = beta * v_new is written, and o = (decay * q) h + Aqk u. Let du be the gradient of u through the memory and the
    outputs. The solution r of (I + beta Akk)' r = du is the gradient through later errors too. So the gradient of beta
    is v_new . r, and that of v is beta * r. Every decay is the exponential of a difference of log decays, so the
    gradient of the difference is that of the decay times the decay.
    """
    B, T, HV, V = v.shape
    H, K = k.shape[2:]
    X, C, G, N = B * HV, CHUNK_SIZE, HV // H, min(CHUNKS_AT_ONCE, -(-T // CHUNK_SIZE))
    dtype, wide = torch.promote_types(v.dtype, torch.float32), precision.wide(v.device)
    erase = beta is not None
    R = 2 * C if erase else C  # rows that read a memory: keys, if something is erased, above queries
    dS = v.new_zeros(X, K, V, dtype=dtype) if dS is None else dS.to(dtype).reshape(X, K, V).clone()
    dq, dk, dv = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
    dg, dbeta = (None if x is None else torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (g, beta))
    own = v.new_empty(N, B, H, 2, C, K, dtype=dtype)  # keys above queries
    wide_keys = v.new_empty(N, B, H, C, K, dtype=wide)
    all_r, wide_u = (v.new_empty(N, X, C, V, dtype=wide) for _ in range(2))
    right = v.new_empty(X, C, V, dtype=wide)
    all_S = v.new_empty(N, X, K, V, dtype=dtype)
    all_reading, d_reading_of_all = (v.new_empty(N, X, R, K, dtype=dtype) for _ in range(2))
    all_writing, d_writing_of_all = (v.new_empty(N, X, C, K, dtype=dtype) for _ in range(2))
    all_u, all_du = (v.new_empty(N, X, C, V, dtype=dtype) for _ in range(2))
    answered = v.new_empty(N, X, R, V, dtype=dtype)  # gradients of what the rows read
    all_products = v.new_empty(N * B * H, C, C, dtype=dtype)
    all_d_products = v.new_empty(N * X, C, C, dtype=dtype)
    dS_rows, dS_columns = _rows(dS), _rows(dS.transpose(1, 2))
    product, forgotten = v.new_empty(X, K, V, dtype=dtype), v.new_empty(N, X, dtype=dtype)
    for span in reversed(list(_spans(T))):
        n = span.n
        both = own[:n]
        both[:, :, :, 0].copy_(span.cut(k))
        both[:, :, :, 1].copy_(span.cut(q))
        keys, queries = both.flatten(0, 2).unbind(1)
        gates = _gates(g, beta, span, H, v, guarded=guarded)
        UT, gram, b = None, None, gates.beta.view(n, X, C, 1)
        if erase:
            own_wide = wide_keys[:n].copy_(both[:, :, :, 0]).flatten(0, 2)
            gram = torch.bmm(own_wide, own_wide.transpose(1, 2)).view(n, B, H, 1, C, C)
            UT = _ut_transform(gram * gates.between * gates.beta[..., :, None]).transpose(2, 3)
        factors = gates.between.to(dtype) * scale
        products = _multiply(_columns(queries), _rows(keys.transpose(1, 2)), all_products[: n * B * H])
        Aqk = (products.view(n, B, H, 1, C, C) * factors).tril_()
        decays, left = gates.so_far.to(dtype), gates.left.to(dtype)
        so_far = decays.view(n, B, H, G, 1, C, 1)
        row_factors = torch.cat((so_far, so_far * scale), 4) if erase else so_far * scale
        reading = all_reading[:n]
        rows = both.view(n, B, H, 1, 2, C, K)[..., -(R // C) :, :, :]
        torch.mul(rows, row_factors, out=reading.view(n, B, H, G, -1, C, K))
        writing = all_writing[:n]
        torch.mul(
            both[:, :, :, None, 0], left.view(n, B, H, G, C, 1), out=writing.view(n, B, H, G, C, K)
        )  # fmt: skip
        v_new = kept.v_new[span.number * CHUNKS_AT_ONCE :][:n] if erase else None
        u = all_u[:n]
        if v_new is None:
            u.copy_(span.rows(v, HV, dtype))
        else:
            torch.mul(v_new, b.to(dtype), out=u)
        S = all_S[:n]
        S[0] = kept.h[span.number]
        for i in range(n - 1):
            torch.mul(S[i], decays[i, :, -1:], out=S[i + 1])  # decay
            S[i + 1].baddbmm_(writing[i].transpose(1, 2), u[i])  # write
        answer = answered[:n]
        answer[:, :, -C:] = span.rows(do, HV, dtype)
        du = all_du[:n]
        torch.bmm(Aqk.flatten(0, 3).transpose(1, 2), answer.flatten(0, 1)[:, -C:], out=du.flatten(0, 1))  # read
        d_writing = d_writing_of_all[:n]
        r = all_r[:n]
        writing_columns, u_columns = (list(zip(*(y.unbind() for y in _columns(x)), strict=True)) for x in (writing, u))
        for i in reversed(range(n)):
            _multiply(writing_columns[i], dS_rows, du[i], add=True)  # write
            _multiply(u_columns[i], dS_columns, d_writing[i])
            if g is not None:
                torch.sum(torch.mul(S[i], dS, out=product), (1, 2), out=forgotten[i])
                dS *= decays[i, :, -1:]  # decay
            if UT is not None:
                torch.bmm(UT[i], right.copy_(du[i]), out=r[i])  # error
                torch.mul(r[i], b[i], out=du[i])
                torch.neg(du[i], out=answer[i, :, :C])
            for rows_i, answers in zip(reading[i].split(C, 1), answer[i].split(C, 1), strict=True):  # keys, queries
                dS.baddbmm_(rows_i.transpose(1, 2), answers)
        span.put(du, dv)
        d_reading = d_reading_of_all[:n]
        _multiply(_columns(answer.flatten(0, 1)), _rows(S.flatten(0, 1).transpose(1, 2)), d_reading.flatten(0, 1))
        d_reading = d_reading.view(n, B, H, G, -1, C, K).mul_(row_factors)
        d_writing = d_writing.mul_(left).view(n, B, H, G, C, K)
        # Gradients of the products of queries and keys, and of keys and keys; large numbers cancel here, so float64.
        d_products = _multiply(
            _columns(answer.flatten(0, 1)[:, -C:]), _rows(u.flatten(0, 1).transpose(1, 2)), all_d_products[: n * X]
        ).tril_().view(n, B, H, G, C, C)
        d_gram = None
        if v_new is not None:
            own_u = torch.mul(v_new, b, out=wide_u[:n]).flatten(0, 1).transpose(1, 2)
            d_gram = torch.bmm(r.flatten(0, 1), own_u).view_as(d_products)
            d_gram.mul_(gates.beta[..., :, None] * -gates.between).tril_(-1)
        if dg is not None:
            # A token's own product, and what it writes to the end, do not decay at it. They would cancel, but not to
            # the last bit, which is more than all that is left where every decay is strong.
            differences = (d_products * Aqk).tril_(-1).to(wide)  # [n, B, H, G, C, C]
            if d_gram is not None and gram is not None:
                differences += d_gram * gram
            dG = (d_reading * rows).sum((4, 6), dtype=wide) + differences.sum(-1) - differences.sum(-2)
            last = forgotten[:n] * gates.so_far[:, :, -1, 0]
            dG[..., -1] += last.view(n, B, H, G)
            at_end = (d_writing * both[:, :, :, None, 0]).sum(-1, dtype=wide)
            dG = dG.flip(-1).cumsum(-1).flip(-1) + F.pad(at_end[..., :-1], (1, 0)).cumsum(-1)
            span.put(dG if gates.resets is None else dG.masked_fill_(gates.resets, 0), dg)
        if dbeta is not None and v_new is not None:
            span.put(torch.mul(r, v_new, out=r).sum(-1), dbeta)
        of_head = (d_products * factors).sum(3).view(n * B * H, C, C)
        d_rows = d_reading.sum(3).view(n * B * H, R, K)
        d_queries = d_rows[:, -C:].baddbmm_(of_head, keys)
        d_keys = d_writing.sum(3).view(n * B * H, C, K).baddbmm_(of_head.transpose(1, 2), queries)
        if d_gram is not None:
            of_head = d_gram.sum(3).view(n * B * H, C, C)
            of_head = (of_head + of_head.transpose(1, 2)).to(dtype)
            _multiply(_columns(of_head), _rows(keys), d_keys, add=True)
            d_keys += d_rows[:, :C]
        span.put(d_keys, dk)
        span.put(d_queries.reshape(n, B * H, C, K), dq)
    return Gradients(dq, dk, dv, dg, dbeta, dS.view(B, HV, K, V))
