"""The chunk form with a decay and gates for each channel, in plain PyTorch, for gates of every width.

It is :func:`gdn_core.reference.chunk` in the API's layout. Where the decays of a chunk differ by channel, the products
of keys have no decay mask: entry (i, j) is a sum over channels with a factor exp(G_i - G_j) in each. Factored as
exp(G_i) exp(-G_j) the second factor overflows. GLA (arXiv 2312.06635) therefore cuts a chunk into sub-chunks, and fla
0.6.0 does so for Kimi Delta Attention (``fla/ops/kda/chunk_intra.py``, of 16 tokens): a product between two sub-chunks
is decayed to the border between them on one side and from it on the other, and those inside a sub-chunk are formed
one by one. Here a sub-chunk is halved again, down to single tokens: every product of two tokens crosses the middle of
exactly one block, m, and exp(G_i - G_m) and exp(G_m - G_j) are at most 1. So all products are matrix products, and no
exponential of a positive sum is formed.

Arithmetic is in float64, or float32 on a device that has no float64; memories that are kept for the backward pass are
in float32. ``guarded`` means what it does in :mod:`gdn_core.ops.torch.chunk`.

The operations of :func:`forward` are ordinary ones without buffers, so PyTorch can differentiate and map them.

In the comments X = B * HV is the number of memories, n the chunks in a span, C the tokens in a chunk, D the width of
the decay, 1 or K. The memory is held as [K, V].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F

from gdn_core.ops.torch import chunk, precision
from gdn_core.ops.torch.chunk import Kept

Tensor = torch.Tensor


def by_channel(g: Tensor | None, beta: Tensor | None, w: Tensor | None) -> bool:
    """Tell whether a gate is wider than a number for each token and head, or is the write gate alone."""
    return w is not None or any(x is not None and x.ndim == 4 for x in (g, beta))


class _Level(NamedTuple):
    """Blocks of twice ``half`` tokens, and the decays of their halves."""

    half: int
    until: Tensor  # [n, X, C / 2 half, half, D], from a token of the first half to the middle
    since: Tensor  # likewise, from the middle to a token of the second half


class _Chunks(NamedTuple):
    """The part of the chunks of a span that does not depend on the memory."""

    keys: Tensor  # [n, X, C, K]
    queries: Tensor  # [n, X, C, K], times the scale
    values: Tensor  # [n, X, C, V]
    b: Tensor | None  # erase gate, [n, X, C, 1 or K]; None where nothing is erased
    w: Tensor | None  # write gate, [n, X, C, 1 or V]; None where everything is written
    rows: Tensor  # [R, n, X, C, K], what meets the keys: the erase keys, if something is erased, and the queries
    so_far: Tensor  # [n, X, C, D], decay from the start of the chunk to each token
    left: Tensor  # [n, X, C, D], from each token to the end of the chunk
    levels: list[_Level]
    UT: Tensor | None  # [n, X, C, C], the UT transform; None where nothing is erased
    Aqk: Tensor  # [n, X, C, C], products of queries and keys
    resets: Tensor | None  # [n, X, C, D], whether a decay is 0; None if not guarded

    @property
    def whole(self) -> Tensor:
        """The decays of the chunks, [n, X, D, 1]."""
        return self.so_far[:, :, -1, :, None]


def _spans(T: int) -> Iterator[tuple[int, slice]]:
    """Yield the number and the tokens of each span."""
    for number, start in enumerate(range(0, T, chunk.SPAN)):
        yield number, slice(start, min(start + chunk.SPAN, T))


def _cut(x: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """Return tokens [B, t, H, D] as [n, B * heads, C, D], each key head repeated for its value heads."""
    _, t, H, _ = x.shape
    x = F.pad(x, (0, 0, 0, 0, 0, -t % chunk.CHUNK_SIZE)).unflatten(1, (-1, chunk.CHUNK_SIZE)).permute(1, 0, 3, 2, 4)
    return x.to(dtype).repeat_interleave(heads // H, dim=2).flatten(1, 2)


def _gate(x: Tensor | None, tokens: slice, dtype: torch.dtype) -> Tensor | None:
    """Return the gates of a span, [B, T, HV] or [B, T, HV, D], as [n, X, C, 1 or D]."""
    if x is None:
        return None
    x = x[:, tokens]
    return _cut(x if x.ndim == 4 else x[..., None], x.shape[2], dtype)


def _prepare(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    tokens: slice,
    *,
    scale: float,
    guarded: bool,
) -> _Chunks:
    """Compute the part of the chunks that does not depend on the memory."""
    HV, wide = v.shape[2], precision.wide(v.device)
    queries, keys, values = (_cut(x[:, tokens], HV, wide) for x in (q, k, v))
    queries = queries * scale
    logs, b, write = (_gate(x, tokens, wide) for x in (g, beta, beta if w is None else w))
    if logs is None:
        logs = values.new_zeros(*values.shape[:3], 1)
    resets = counts = None
    if guarded:  # a decay of 0 is left out of the sum and counted: over a range of tokens with one the decay is 0
        resets = logs <= precision.FORGETS[wide]
        logs = logs.masked_fill(resets, 0)
        counts = resets.cumsum(-2)
    G = logs.cumsum(-2)

    def decay(later: tuple[Tensor, Tensor | None], earlier: tuple[Tensor, Tensor | None]) -> Tensor:
        """Return the decays from earlier tokens to later ones, each given by its sum of logs and its count."""
        d = (later[0] - earlier[0]).exp()
        return d if later[1] is None or earlier[1] is None else d.masked_fill(later[1] != earlier[1], 0)

    def part(at: slice) -> tuple[Tensor, Tensor | None]:
        return G[..., at, :], None if counts is None else counts[..., at, :]

    def halves(half: int, which: int, at: slice) -> tuple[Tensor, Tensor | None]:
        G_of, counts_of = (
            None if x is None else x.unflatten(-2, (-1, 2, half))[..., which, at, :] for x in (G, counts)
        )
        assert G_of is not None
        return G_of, counts_of

    every, last = slice(None), slice(-1, None)
    so_far = G.exp() if counts is None else G.exp().masked_fill(counts > 0, 0)
    left = decay(part(last), part(every))
    levels = []
    for half in _halves():
        middle = halves(half, 0, last)
        levels.append(_Level(half, decay(middle, halves(half, 0, every)), decay(halves(half, 1, every), middle)))
    rows = torch.stack((queries,) if b is None else (b * keys, queries))
    same = torch.stack([queries.new_zeros(queries.shape[:3])] * (len(rows) - 1) + [(queries * keys).sum(-1)])
    products = _products(rows, keys, same, levels)
    UT = None
    if b is not None:
        one = torch.eye(chunk.CHUNK_SIZE, dtype=wide, device=v.device)
        UT = torch.linalg.solve_triangular(
            products[0] + one, one.expand_as(products[0]), upper=False, unitriangular=True
        )
    return _Chunks(keys, queries, values, b, write, rows, so_far, left, levels, UT, products[-1], resets)


def _halves() -> Iterator[int]:
    """Yield half the sizes of the blocks, the smallest first."""
    half = 1
    while half < chunk.CHUNK_SIZE:
        yield half
        half *= 2


def _products(rows: Tensor, keys: Tensor, same: Tensor, levels: list[_Level]) -> Tensor:
    """Return the lower triangles of products of rows and keys under the decays between their tokens.

    Args:
        rows: [R, n, X, C, K].
        keys: [n, X, C, K].
        same: the products on the diagonals, [R, n, X, C].
        levels: the decays.
    """
    blocks = same[..., None, None]  # [R, n, X, blocks, tokens, tokens]
    for half, until, since in levels:
        first = keys.unflatten(-2, (-1, 2, half))[..., 0, :, :] * until
        second = rows.unflatten(-2, (-1, 2, half))[..., 1, :, :] * since
        upper, lower = blocks.unflatten(-3, (-1, 2)).unbind(-3)
        blocks = torch.cat((F.pad(upper, (0, half)), torch.cat((second @ first.mT, lower), -1)), -2)
    return blocks.squeeze(-3)


def _products_backward(d: Tensor, rows: Tensor, keys: Tensor, levels: list[_Level]) -> tuple[Tensor, Tensor]:
    """Return the gradients of rows and keys, from those of the strict lower triangles, [R, n, X, C, C]."""
    d_rows, d_keys = torch.zeros_like(rows), torch.zeros_like(keys)
    for half, until, since in levels:
        blocks = d.unflatten(-1, (-1, 2, half)).unflatten(-4, (-1, 2, half))[..., 1, :, :, 0, :]
        blocks = blocks.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)  # [R, n, X, blocks, half, half]
        first = keys.unflatten(-2, (-1, 2, half))[..., 0, :, :] * until
        second = rows.unflatten(-2, (-1, 2, half))[..., 1, :, :] * since
        d_rows.unflatten(-2, (-1, 2, half))[..., 1, :, :] += (blocks @ first) * since
        d_keys.unflatten(-2, (-1, 2, half))[..., 0, :, :] += (blocks.mT @ second).sum(0) * until
    return d_rows, d_keys


def _read_back(lower: Tensor, rows: Tensor, *, guarded: bool) -> Tensor:
    """Multiply lower triangles [..., C, C] by rows [..., C, V]; guarded, no row reaches an earlier one by a 0."""
    if not guarded:
        return lower @ rows
    lost = (~rows.isfinite()).cumsum(-2) > 0
    return (lower @ rows.masked_fill(lost, 0)).masked_fill(lost, torch.nan)


def _errors(x: _Chunks, S: Tensor, *, guarded: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Run through the chunks of a span.

    Args:
        x: the chunks.
        S: memory before them, [X, K, V].
        guarded: as in :func:`forward`.

    Returns:
        Memories before each chunk [n, X, K, V], errors [n, X, C, V], and the memory after the span.
    """
    writing = x.left * x.keys
    reading = None if x.UT is None else x.so_far * x.rows[0]
    right = x.values if x.w is None else x.w * x.values
    whole, memories, errors = x.whole, [], []
    for i in range(len(writing)):
        memories.append(S)
        u = right[i]
        if x.UT is not None and reading is not None:
            u = _read_back(x.UT[i], u - reading[i] @ S, guarded=guarded)  # error
        errors.append(u)
        S = whole[i] * S + writing[i].mT @ u  # decay, write
    return torch.stack(memories), torch.stack(errors), S


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None,
    kept: Kept | None = None,
    guarded: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run a rule of the family in chunks, whatever the widths of its gates.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V], HV a multiple of H.
        g: log decay in nats, [B, T, HV] or [B, T, HV, K], <= 0; None for no decay.
        beta: erase gate, [B, T, HV] or [B, T, HV, K]; None to erase nothing.
        w: write gate, [B, T, HV] or [B, T, HV, V]; None for beta, or to write everything where beta is None.
        scale: factor on the queries.
        initial_state: memory before the first token, [B, HV, K, V]; None for zero.
        kept: tensors to write what :func:`backward` needs to; None if no gradient is needed.
        guarded: there may be log decays of ``precision.FORGETS`` or less, or numbers that are not finite.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the memory after the last token, [B, HV, K, V], float32 (float64
        where v is).

    Source: Kimi Linear, arXiv 2510.26692, sec. 3.1, eqs. 2 to 9, for one erase gate.
    """
    B, T, HV, V = v.shape
    K, wide = k.shape[-1], precision.wide(v.device)
    S = v.new_zeros(B * HV, K, V, dtype=wide) if initial_state is None else initial_state.flatten(0, 1).to(wide)
    S = S.contiguous()  # a product of the other layout may round otherwise
    outputs = [v[:, :0]]
    for number, tokens in _spans(T):
        x = _prepare(q, k, v, g, beta, w, tokens, scale=scale, guarded=guarded)
        if kept is not None:
            kept.h[number] = S
        memories, u, S = _errors(x, S, guarded=guarded)
        o = (x.so_far * x.queries) @ memories + _read_back(x.Aqk, u, guarded=guarded)  # read
        outputs.append(_joined(o, B, tokens).to(v.dtype))
    S = S.unflatten(0, (B, HV)).to(torch.promote_types(v.dtype, torch.float32))
    return torch.cat(outputs, 1), S


def _joined(x: Tensor, B: int, tokens: slice) -> Tensor:
    """Return [n, B * H, C, D] as the tokens [B, t, H, D] of a span."""
    return x.unflatten(1, (B, -1)).permute(1, 0, 3, 2, 4).flatten(1, 2)[:, : tokens.stop - tokens.start]


class Gradients(NamedTuple):
    """Gradients of the inputs, each in the dtype of its input; that of the memory in float32, or float64 as v is."""

    q: Tensor
    k: Tensor
    v: Tensor
    g: Tensor | None
    beta: Tensor | None
    w: Tensor | None
    S: Tensor


def backward(
    do: Tensor,
    dS: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    kept: Kept,
    guarded: bool = False,
) -> Gradients:
    """Run the backward pass, last span first; a span's products and memories are recomputed.

    A decay from token j to token i is a factor of both the row that it decays to and the key that it decays from. So
    the gradient of the sum of logs at a token is row times gradient of the row, less key times gradient of the key.
    """
    B, T, HV, V = v.shape
    K, wide = k.shape[-1], precision.wide(v.device)
    dS = v.new_zeros(B * HV, K, V, dtype=wide) if dS is None else dS.to(wide).reshape(B * HV, K, V)
    dq, dk, dv = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
    dg, dbeta, dw = (None if x is None else torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (g, beta, w))

    def put(values: Tensor, x: Tensor, tokens: slice) -> None:
        """Write [n, X, C, D] to the tokens of x, sums over channels or value heads where x has one number for them."""
        if x.ndim == 3 and values.shape[-1] > 1:
            values = values.sum(-1, keepdim=True)
        joined = _joined(values, B, tokens)
        if joined.shape[2] > x.shape[2]:
            joined = joined.unflatten(2, (x.shape[2], -1)).sum(3)
        x[:, tokens] = joined[..., 0] if x.ndim == 3 else joined

    for number, tokens in reversed(list(_spans(T))):
        x = _prepare(q, k, v, g, beta, w, tokens, scale=scale, guarded=guarded)
        memories, u, _ = _errors(x, kept.h[number].to(wide), guarded=guarded)
        d_out = _cut(do[:, tokens], HV, wide)
        so_far, writing = x.so_far, x.left * x.keys
        row_decays = so_far * x.rows  # [R, n, X, C, K]: erase keys, queries
        r, d_writing, d_whole = torch.empty_like(u), torch.empty_like(writing), torch.empty_like(writing[:, :, 0])
        from_outputs = x.Aqk.mT @ d_out
        for i in reversed(range(len(u))):
            du = from_outputs[i] + writing[i] @ dS  # read, write
            d_writing[i] = u[i] @ dS.mT
            d_whole[i] = (memories[i] * dS).sum(-1)
            dS = x.whole[i] * dS + row_decays[-1, i].mT @ d_out[i]  # decay
            r[i] = du
            if x.UT is not None:
                r[i] = x.UT[i].mT @ du  # error
                dS = dS - row_decays[0, i].mT @ r[i]
        answers = torch.stack((d_out,) if x.UT is None else (-r, d_out))  # gradients of what the rows read
        d_products = answers @ u.mT
        d_rows, d_keys = _products_backward(d_products, x.rows, x.keys, x.levels)
        d_rows += so_far * (answers @ memories.mT)
        if dg is not None:
            # A token's own product, and what it writes to the end, do not decay at it. They would cancel, but not to
            # the last bit, which is more than all that is left where every decay is strong.
            dG, at_end = (x.rows * d_rows).sum(0) - x.keys * d_keys, writing * d_writing
            dG[:, :, -1] += so_far[:, :, -1] * d_whole
            if x.so_far.shape[-1] == 1:
                dG, at_end = dG.sum(-1, keepdim=True), at_end.sum(-1, keepdim=True)
            dG = dG.flip(-2).cumsum(-2).flip(-2) + F.pad(at_end[:, :, :-1], (0, 0, 1, 0)).cumsum(-2)
            put(dG if x.resets is None else dG.masked_fill(x.resets, 0), dg, tokens)
        same = d_products.diagonal(dim1=-2, dim2=-1)[-1, ..., None]  # only queries meet the key of their own token
        d_rows[-1] += same * x.keys
        d_keys += same * x.rows[-1] + x.left * d_writing
        of_write = r if x.w is None else x.w * r
        put(of_write, dv, tokens)
        if x.b is not None:
            d_keys += x.b * d_rows[0]
            if dbeta is not None:
                of_erase, written = d_rows[0] * x.keys, r * x.values
                put(of_erase if w is not None else of_erase.sum(-1, True) + written.sum(-1, True), dbeta, tokens)
        if dw is not None:
            put(r * x.values, dw, tokens)
        put(d_keys, dk, tokens)
        put(d_rows[-1] * scale, dq, tokens)
    return Gradients(dq, dk, dv, dg, dbeta, dw, dS.view(B, HV, K, V).to(torch.promote_types(v.dtype, torch.float32)))


def recurrent(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a rule of the family token by token, without gradients; arguments and results as of :func:`forward`."""
    B, T, HV, V = v.shape
    K, dtype = k.shape[-1], torch.promote_types(v.dtype, torch.float32)
    S = v.new_zeros(B * HV, K, V, dtype=dtype) if initial_state is None else initial_state.flatten(0, 1).to(dtype)
    S = S.clone(memory_format=torch.contiguous_format)  # a product of the other layout may round otherwise
    o = torch.empty(v.shape, dtype=v.dtype, device=v.device)

    def column(x: Tensor, t: int) -> Tensor:
        """Return a token's [B, H, D] or [B, H] as [B * HV, D or 1, 1]."""
        x = x[:, t].to(dtype).repeat_interleave(HV // x.shape[2], dim=1)
        return x.reshape(B * HV, -1, 1)

    for t in range(T):
        k_t, u = column(k, t), column(v, t).mT
        write = beta if w is None else w
        if write is not None:
            u = column(write, t).mT * u
        if g is not None:
            S = column(g, t).exp() * S  # decay
        if beta is not None:
            u = u - (column(beta, t) * k_t).mT @ S  # error
        S = S + k_t * u  # write
        o[:, t] = (scale * column(q, t).mT @ S).view(B, HV, V)  # read
    return o, S.view(B, HV, K, V)
