"""The gradients of :func:`gdn_core.reference.chunk`, derived by hand.

Like the reference it runs on every carrier: ``+ - * @``, indexing, transposition, sums, and the ``exp`` and ``stack``
that are passed in. Differences of log decays are never positive here either.
"""

from __future__ import annotations

import numpy as np

from gdn_core.reference import Array, Exp, Stack, Token


def chunk_backward(
    S: Array, x: Token, do: Array, dS: Array, *, exp: Exp = np.exp, stack: Stack = np.stack
) -> tuple[Array, Token]:
    """Return the gradients of ``sum(do * o) + sum(dS * S_C)``, where ``S_C, o = chunk(S, x)``.

    The errors solve a lower triangular system, so their gradients solve the transposed one, from the last token to the
    first. A log decay acts on every contribution of an earlier token to its own token or a later one, and on the memory
    after the chunk. So its gradient is a sum over the tokens from its own on: of ``q dq + e de`` with e = b * k, what a
    token contributes as the later of such a pair, less ``k dk``, what it contributes as the earlier one; and of the
    term of the memory after the chunk.

    Args:
        S: memory before the chunk, [V, K].
        x: a stream of C >= 1 tokens.
        do: gradient of the outputs, [C, V].
        dS: gradient of the memory after the chunk, [V, K].
        exp: the carrier's exponential, elementwise.
        stack: the carrier's stacking of a list of arrays along a new first axis.

    Returns:
        The gradient of the memory before the chunk [V, K], and those of the stream, each of the shape of its field.
    """
    if x.k.ndim == 3 or x.g.shape[1] > 1:
        return _by_rows(S, x, do, dS, exp, stack)
    C = len(x)
    G = [x.g[0, 0]]
    for i in range(1, C):
        G.append(G[-1] + x.g[i, 0])
    G = stack(G)  # [C, 1 or K]
    gamma, to_end = exp(G), exp(G[C - 1] - G)  # decays from the start and to the end of the chunk
    erase = x.b * x.k  # [C, K]

    # The errors and the memory after the chunk, as in the chunk itself.
    u = x.w * x.v - (gamma * erase) @ S.T
    errors = [u[0]]
    for i in range(1, C):
        errors.append(u[i] - ((exp(G[i] - G[:i]) * x.k[:i]) @ erase[i]) @ stack(errors))
    u = stack(errors)  # [C, V]
    end = gamma[C - 1] * S + u.T @ (to_end * x.k)

    # The errors: through the memory after the chunk, the outputs, and the later errors.
    du = (to_end * x.k) @ dS.T
    du = stack([du[j] + ((exp(G[j:] - G[j]) * x.q[j:]) @ x.k[j]) @ do[j:] for j in range(C)])
    errors = [du[C - 1]]
    for j in range(C - 2, -1, -1):
        errors.append(du[j] - ((exp(G[j + 1 :] - G[j]) * erase[j + 1 :]) @ x.k[j]) @ stack(errors[::-1]))
    du = stack(errors[::-1])  # [C, V]

    # The vectors: through the memory before or after the chunk, and through the other tokens of each pair.
    dq = gamma * (do @ S)
    dq = stack([dq[i] + (u[: i + 1] @ do[i]) @ (exp(G[i] - G[: i + 1]) * x.k[: i + 1]) for i in range(C)])
    de = -gamma * (du @ S)
    de = stack([de[0], *(de[i] - (u[:i] @ du[i]) @ (exp(G[i] - G[:i]) * x.k[:i]) for i in range(1, C))])
    dk = to_end * (u @ dS)
    dk = stack([dk[j] + (do[j:] @ u[j]) @ (exp(G[j:] - G[j]) * x.q[j:]) for j in range(C)])
    dk = stack(
        [
            *(dk[j] - (du[j + 1 :] @ u[j]) @ (exp(G[j + 1 :] - G[j]) * erase[j + 1 :]) for j in range(C - 1)),
            dk[C - 1],
        ]
    )

    passed = x.q * dq + erase * de - x.k * dk  # [C, K]
    dG = [passed[C - 1] + (dS * end).sum(0)]
    for i in range(C - 2, -1, -1):
        dG.append(dG[-1] + passed[i])
    dg = _narrowed(stack(dG[::-1]), x.g.shape[2])
    db = _narrowed(x.k * de, x.b.shape[1])
    dw = _narrowed(x.v * du, x.w.shape[1])
    dS = gamma[C - 1] * dS + do.T @ (gamma * x.q) - du.T @ (gamma * erase)
    return dS, Token(q=dq, k=dk + x.b * de, v=x.w * du, g=dg[:, None, :], b=db, w=dw)


def _narrowed(gradient: Array, width: int) -> Array:
    """Reduce the gradient of a gate, [C, channels], to the gate's width: a scalar gate gets the sum over channels."""
    return gradient.sum(1)[:, None] if width == 1 else gradient


def _by_rows(S: Array, x: Token, do: Array, dS: Array, exp: Exp, stack: Stack) -> tuple[Array, Token]:
    """Run every row of the memory as a memory of its own, and sum the gradients of what the rows share."""
    rows = [
        chunk_backward(S[d : d + 1], x.row(d), do[:, d : d + 1], dS[d : d + 1], exp=exp, stack=stack)
        for d in range(len(S))
    ]

    def gathered(name: str, *, shared: bool) -> Array:
        of_rows = stack([getattr(gradients, name) for _, gradients in rows])  # [V, C, ...]
        return of_rows.sum(0) if shared else stack([of_rows[:, t] for t in range(len(x))])

    dq, db = gathered("q", shared=True), gathered("b", shared=True)
    dk = gathered("k", shared=x.k.ndim == 2)
    dv = gathered("v", shared=False)[:, :, 0]
    dg = gathered("g", shared=True) if x.g.shape[1] == 1 else gathered("g", shared=False)[:, :, 0]
    dw = gathered("w", shared=True) if x.w.shape[1] == 1 else gathered("w", shared=False)[:, :, 0]
    return stack([before[0] for before, _ in rows]), Token(q=dq, k=dk, v=dv, g=dg, b=db, w=dw)
