"""The chunk form in plain PyTorch: batched matrix products and triangular solves, forward and backward, any device.

It is :func:`gdn_core.reference.chunk` for a scalar decay and a tied or absent erase gate, in the API's layout, with the
stages in the reference's words. Chunks are taken a few at a time, so that what is made between reading the inputs and
writing the output stays in the cache; of the memories in between only those at the start of a chunk are kept, and only
where a gradient is asked for. All arithmetic is in float32, or in float64 where the inputs are.

In the comments X = B * HV counts memories, n chunks, and C tokens in a chunk; the memory is kept as [K, V].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

Tensor = torch.Tensor

CHUNK_SIZE = 16  # as fast as 32 at K = V = 128; at 32 beta near 2 without decay leaves the error budget
CHUNKS_AT_ONCE = 8  # what a span of 8 heads holds then fits the cache of a core


class Kept(NamedTuple):
    """What the backward pass needs of the forward one beside the inputs, in memory that the caller provides."""

    starts: Tensor  # [chunks of a sequence, X, K, V], the memory before each chunk
    errors: Tensor  # [X, T, V], gated; the values where nothing is erased


def room(v: Tensor, K: int, chunks: int) -> Kept:
    """Make room for what is kept of a forward pass over values [B, T, HV, V] in so many chunks."""
    B, T, HV, V = v.shape
    dtype = torch.promote_types(v.dtype, torch.float32)
    return Kept(v.new_empty(chunks, B * HV, K, V, dtype=dtype), v.new_empty(B * HV, T, V, dtype=dtype))


class _Span(NamedTuple):
    """Chunks of one length that are taken at once."""

    start: int  # token
    n: int
    C: int

    @property
    def tokens(self) -> slice:
        return slice(self.start, self.start + self.n * self.C)


def _spans(T: int, C: int) -> Iterator[_Span]:
    """Cut T tokens into spans of whole chunks, and one for the ragged tail."""
    whole = T // C * C
    for start in range(0, whole, C * CHUNKS_AT_ONCE):
        yield _Span(start, min(CHUNKS_AT_ONCE, (whole - start) // C), C)
    if whole < T:
        yield _Span(whole, 1, T - whole)


def _rows(x: Tensor, span: _Span, heads: int, dtype: torch.dtype) -> Tensor:
    """View a span of [B, T, H, D] as [B, H, HV / H, n, C, D], each head repeated for the value heads it serves."""
    B, _, H, D = x.shape
    x = x[:, span.tokens].to(dtype).unflatten(1, (span.n, span.C))
    return x.permute(0, 3, 1, 2, 4)[:, :, None].expand(B, H, heads // H, span.n, span.C, D)


def _desk(x: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
    """Make room for rows of channels that every span lays its own on: fresh memory would cost more than the copying."""
    return x.new_empty(rows, x.shape[-1], dtype=dtype)


def _gates(x: Tensor, span: _Span, dtype: torch.dtype) -> Tensor:
    """Bring a span of [B, T, HV] to [X, n, C]."""
    return x[:, span.tokens].to(dtype).transpose(1, 2).reshape(-1, span.n, span.C)


class _Decay(NamedTuple):
    """The decays of a span of chunks."""

    so_far: Tensor  # [X, n, C], from the start of the chunk to each token
    left: Tensor  # [X, n, C], from each token to the end of the chunk
    between: Tensor  # [X, n, C, C], from token j to token i, 0 above the diagonal


class _Erase(NamedTuple):
    """What a span of chunks needs to solve for its errors."""

    beta: Tensor  # [X, n, C]
    gram: Tensor  # [X, n, C, C], k_i . k_j
    solve: Tensor  # [X, n, C, C], the inverse of the unit lower triangle


class _Prepared(NamedTuple):
    """What a span of chunks needs of its own tokens, before the memory is known."""

    both: Tensor  # [X, n, 2 C, K], keys above scaled queries, so that one product serves both
    attention: Tensor  # [X, n, C, C], q_i . k_j decayed, i >= j
    decay: _Decay | None
    erase: _Erase | None

    @property
    def k(self) -> Tensor:
        """Keys, [X, n, C, K]."""
        return self.both[:, :, : self.both.shape[2] // 2]

    @property
    def q(self) -> Tensor:
        """Scaled queries, [X, n, C, K]."""
        return self.both[:, :, self.both.shape[2] // 2 :]


def _prepare(
    q: Tensor,
    k: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    scale: float,
    span: _Span,
    desk: Tensor,
    heads: int,
    dtype: torch.dtype,
) -> _Prepared:
    B, _, H, K = q.shape
    n, C = span.n, span.C
    both = desk[: B * heads * n * 2 * C].view(B, H, heads // H, n, 2, C, K)
    both[..., 0, :, :] = _rows(k, span, heads, dtype)
    torch.mul(_rows(q, span, heads, dtype), scale, out=both[..., 1, :, :])
    both = both.view(-1, n, 2 * C, K)
    products = both @ both[:, :, :C].transpose(2, 3)
    gram, attention = products[:, :, :C], products[:, :, C:]
    lower = torch.ones(C, C, dtype=torch.bool, device=q.device).tril()
    decay = None
    if g is None:
        attention = attention.masked_fill(~lower, 0)
    else:
        # A difference of log decays is small where it matters, between sums that a forgetful token has made large: in
        # float32 the cancellation would cost more than all the rest.
        G = _gates(g, span, torch.float64).cumsum(-1)
        between = (G[..., :, None] - G[..., None, :]).to(dtype).masked_fill_(~lower, -torch.inf).exp_()
        decay = _Decay(G.to(dtype).exp(), (G[..., -1:] - G).to(dtype).exp(), between)
        attention = attention * between
    erase = None
    if beta is not None:
        b = _gates(beta, span, dtype)
        triangle = b[..., None] * gram
        if decay is not None:
            triangle *= decay.between
        identity = torch.eye(C, dtype=dtype, device=q.device).expand_as(triangle)
        erase = _Erase(b, gram, torch.linalg.solve_triangular(triangle, identity, upper=False, unitriangular=True))
    return _Prepared(both, attention, decay, erase)


def _left(p: _Prepared) -> Tensor:
    """Return the keys as they stand in the memory at the end of their chunk."""
    return p.k if p.decay is None else p.k * p.decay.left[..., None]


def _so_far(x: Tensor, p: _Prepared) -> Tensor:
    """Return queries or keys times the decay since their chunk began: as they meet its memory."""
    return x if p.decay is None else x * p.decay.so_far[..., None]


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None,
    chunk_size: int = CHUNK_SIZE,
    kept: Kept | None = None,
) -> tuple[Tensor, Tensor]:
    """Run :func:`chunk` without recording gradients; what :func:`backward` needs is written to ``kept``."""
    B, T, HV, V = v.shape
    K = k.shape[-1]
    dtype = torch.promote_types(v.dtype, torch.float32)
    S = v.new_zeros(B * HV, K, V, dtype=dtype)
    if initial_state is not None:
        S += initial_state.reshape(S.shape)
    o = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    at_once = B * HV * min(T, chunk_size * CHUNKS_AT_ONCE)
    desk, outs = _desk(k, 2 * at_once, dtype), _desk(v, at_once, dtype)
    first = 0  # chunk
    for span in _spans(T, chunk_size):
        n, C = span.n, span.C
        p = _prepare(q, k, g, beta, scale, span, desk, HV, dtype)
        values = _rows(v, span, HV, dtype)[:, :, 0].reshape(-1, n, C, V)
        writing = p.k.transpose(2, 3)
        solve = None if p.erase is None else p.erase.solve * p.erase.beta[..., None, :]
        out = outs[: B * HV * n * C].view(B * HV, n, C, V)
        for i in range(n):
            if kept is not None:
                kept.starts[first + i] = S
            read = torch.bmm(p.both[:, i] if p.erase else p.q[:, i], S)
            answer = read[:, -C:]
            u = values[:, i]
            if p.decay is None:
                if solve is not None:
                    u = torch.bmm(solve[:, i], u - read[:, :C])  # error
                S.baddbmm_(writing[:, i], u)  # write
            else:
                so_far = p.decay.so_far[:, i, :, None]
                if solve is not None:
                    u = torch.bmm(solve[:, i], torch.addcmul(u, read[:, :C], so_far, value=-1))  # error
                answer *= so_far
                S *= p.decay.so_far[:, i, -1, None, None]  # decay
                S.baddbmm_(writing[:, i], u * p.decay.left[:, i, :, None])  # write
            torch.baddbmm(answer, p.attention[:, i], u, out=out[:, i])  # read
            if kept is not None:
                kept.errors[:, span.start + i * C : span.start + (i + 1) * C] = u
        o[:, span.tokens] = out.view(B, HV, n * C, V).transpose(1, 2)
        first += n
    return o, S.view(B, HV, K, V)


class Gradients(NamedTuple):
    """Gradients of the inputs, each in the dtype of what it is of, the memory's in that of the arithmetic."""

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
    chunk_size: int = CHUNK_SIZE,
) -> Gradients:
    """Run the chunks backwards: what each needs of its own tokens is made again, the errors were kept.

    With L the strict lower triangle of the solve, R = beta * (v - (decay * k) S) its right side and A the attention,
    u = (I + L)^-1 R and o = (decay * q) S + A u; the rest is the product rule. Every decay is the exponential of a
    difference of cumulated log decays, so its gradient is itself times the gradient of the difference.
    """
    B, T, HV, V = v.shape
    H, K = k.shape[2:]
    dtype = torch.promote_types(v.dtype, torch.float32)
    X = B * HV
    dS = v.new_zeros(X, K, V, dtype=dtype) if dS is None else dS.to(dtype).reshape(X, K, V).clone()
    dq, dk, dv = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
    dg, dbeta = (None if x is None else torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (g, beta))
    spans = list(_spans(T, chunk_size))
    desk = _desk(k, 2 * X * min(T, chunk_size * CHUNKS_AT_ONCE), dtype)
    first = sum(span.n for span in spans)  # chunk
    for span in reversed(spans):
        n, C = span.n, span.C
        first -= n
        S = kept.starts[first : first + n]  # [n, X, K, V]
        u = kept.errors[:, span.tokens].unflatten(1, (n, C))  # [X, n, C, V]
        p = _prepare(q, k, g, beta, scale, span, desk, HV, dtype)
        dout = _rows(do, span, HV, dtype)[:, :, 0].reshape(-1, n, C, V)
        keys_left, queries_so_far = _left(p), _so_far(p.q, p)
        du = p.attention.transpose(2, 3) @ dout
        right = torch.empty_like(du)  # gradient of R; that of u where nothing is erased
        erasing = None if p.erase is None else -_so_far(p.k, p) * p.erase.beta[..., None]
        ends = S.new_empty(n, *dS.shape)  # gradient of the memory after each chunk
        for i in reversed(range(n)):
            ends[i] = dS
            du[:, i].baddbmm_(keys_left[:, i], dS)  # write
            if p.decay is not None:
                dS *= p.decay.so_far[:, i, -1, None, None]  # decay
            dS.baddbmm_(queries_so_far[:, i].transpose(1, 2), dout[:, i])  # read
            if p.erase is not None and erasing is not None:
                torch.bmm(p.erase.solve[:, i].transpose(1, 2), du[:, i], out=right[:, i])  # error
                dS.baddbmm_(erasing[:, i].transpose(1, 2), right[:, i])
        S, ends = S.transpose(0, 1), ends.transpose(0, 1)  # [X, n, K, V]
        d_attention = (dout @ u.transpose(2, 3)).tril()
        d_queries = _so_far(from_read := dout @ S.transpose(2, 3), p)
        d_keys = (from_end := u @ ends.transpose(2, 3)) * (1 if p.decay is None else p.decay.left[..., None])
        d_differences = d_attention * p.attention  # gradient of every difference of log decays
        d_products = d_attention if p.decay is None else d_attention * p.decay.between
        d_queries += d_products @ p.k
        d_keys += d_products.transpose(2, 3) @ p.q
        dG = (from_read * queries_so_far).sum(-1)
        if p.erase is None or erasing is None:
            d_values = du
        else:
            values = _rows(v, span, HV, dtype)[:, :, 0].reshape(-1, n, C, V)
            from_error = right @ S.transpose(2, 3)  # [X, n, C, K]
            d_triangle = (right @ u.transpose(2, 3)).tril(-1).neg_()
            if p.decay is not None:
                d_triangle *= p.decay.between
            erased = (from_error * _so_far(p.k, p)).sum(-1)
            if dbeta is not None:
                _into(dbeta, (right * values).sum(-1) - erased + (d_triangle * p.erase.gram).sum(-1), span)
            d_triangle *= p.erase.beta[..., None]
            d_differences += d_triangle * p.erase.gram
            d_keys += d_triangle @ p.k + d_triangle.transpose(2, 3) @ p.k
            d_keys -= _so_far(from_error, p) * p.erase.beta[..., None]
            d_values = right * p.erase.beta[..., None]
            dG -= p.erase.beta * erased
        if dg is not None and p.decay is not None:
            at_end = (from_end * keys_left).sum(-1)
            dG += d_differences.sum(3) - d_differences.sum(2) - at_end
            dG[..., -1] += at_end.sum(-1) + p.decay.so_far[..., -1] * (S * ends).sum((2, 3))
            _into(dg, dG.flip(-1).cumsum(-1).flip(-1), span)
        for gradient, by_head, factor in ((dq, d_queries, scale), (dk, d_keys, 1.0)):
            served = by_head.reshape(B, H, HV // H, n * C, K).sum(2) * factor
            gradient[:, span.tokens] = served.transpose(1, 2)
        dv[:, span.tokens] = d_values.reshape(B, HV, n * C, V).transpose(1, 2)
    return Gradients(dq, dk, dv, dg, dbeta, dS.view(B, HV, K, V))


def _into(gradient: Tensor, values: Tensor, span: _Span) -> None:
    """Write [X, n, C] to a span of [B, T, HV]."""
    B, _, HV = gradient.shape
    gradient[:, span.tokens] = values.reshape(B, HV, -1).transpose(1, 2)


class _Chunk(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        q, k, v, g, beta, initial_state, scale, chunk_size = inputs
        kept = room(v, k.shape[-1], -(-v.shape[1] // chunk_size)) if any(ctx.needs_input_grad) else None
        o, S = forward(
            q, k, v, g, beta, scale=scale, initial_state=initial_state, chunk_size=chunk_size, kept=kept
        )  # fmt: skip
        ctx.save_for_backward(q, k, v, g, beta, *(kept or ()))
        ctx.scale, ctx.chunk_size, ctx.has_state = scale, chunk_size, initial_state is not None
        return o, S

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        do, dS = gradients
        *inputs, starts, errors = ctx.saved_tensors
        d = backward(do, dS, *inputs, scale=ctx.scale, kept=Kept(starts, errors), chunk_size=ctx.chunk_size)
        return d.q, d.k, d.v, d.g, d.beta, d.S if ctx.has_state else None, None, None


def chunk(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> tuple[Tensor, Tensor]:
    """Run a scalar-gated rule of the family in chunks; differentiable once.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V], HV a multiple of H.
        g: log decay in nats, [B, T, HV], <= 0; None for no decay.
        beta: erase and write gate, [B, T, HV], in [0, 2]; None to erase nothing and write everything.
        scale: factor on the queries.
        initial_state: memory before the first token, [B, HV, K, V]; None for zero.
        chunk_size: tokens a chunk, >= 1.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the memory after the last token, [B, HV, K, V], float32 (float64
        where v is).

    Source: Gated DeltaNet, arXiv 2412.06464, sec. 3.3, with the decay mask in the output as in its first version.
    """
    return _Chunk.apply(q, k, v, g, beta, initial_state, scale, chunk_size)
