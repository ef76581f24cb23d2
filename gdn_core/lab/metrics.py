"""Measures of a trajectory: recall error, norm, effective rank, and the spectrum of each token's transition."""

from __future__ import annotations

import numpy as np

from gdn_core import streams
from gdn_core.lab.trajectory import Trajectory
from gdn_core.ops.kernels.operands import Floats32, Operands


def recall_error(trajectory: Trajectory, meant: np.ndarray | None = None) -> Floats32:
    """Measure the recall error: the distance from what a memory answers to a key to the value stored under that key.

    The distance is divided by the value's norm: 0 is exact recall, and 1 is the error of an empty memory, which answers
    0. A key is read as a query is: through the rule's feature map, and divided by the normaliser if there is one.

    The value stored under a key is that of the newest token that wrote exactly this key. A token whose key is written
    or erased again later is not measured from then on.

    Args:
        trajectory: what rules did to a stream.
        meant: the value that the key of each token should answer from that token on, [T, V], if it is not the value
            written; every token with a key then counts as having written it.

    Returns:
        [R, T, T] float32: after token t, the error for the key of token j. NaN for j > t, for a key that holds no value
        or was written again, and for a value of norm 0.
    """
    stream, (T, _, _) = trajectory.stream, trajectory.sizes
    _, names = np.unique(stream.k, axis=0, return_inverse=True)
    same = names.ravel()[:, None] == names.ravel()  # [token i, asked j]
    so_far = np.tri(T, dtype=bool)  # [after t, token j]
    has_key = stream.k.any(axis=1)
    v = np.asarray(stream.v if meant is None else meant, np.float32)
    size = np.linalg.norm(v, axis=1)
    result = np.full((len(trajectory.rules), T, T), np.nan, np.float32)
    for r, rule in enumerate(trajectory.rules):
        written = trajectory.wv[r].any(axis=1) if meant is None else np.ones(T, dtype=bool)
        writes = np.logical_and(written, has_key)
        touches = writes | np.logical_and(trajectory.tokens[r].b.any(axis=1), has_key)
        order = np.where(same & touches[:, None], np.arange(T)[:, None], -1)
        last = np.maximum.accumulate(order, axis=0)  # [after t, asked j]
        ask = np.asarray(streams.featured(rule, stream.k), np.float32)
        answers = ask @ trajectory.states[r, 1:].transpose(0, 2, 1)  # [T, T, V]
        if rule.normalised:
            answers = streams.answer(
                rule, np.concatenate([answers, (trajectory.normaliser[r, 1:] @ ask.T)[..., None]], -1)
            )
        answers -= v[last]
        distance = np.sqrt(np.einsum("tjv,tjv->tj", answers, answers))
        held = (last >= 0) & (last <= np.arange(T)) & writes[last] & (size[last] > 0)
        np.divide(distance, size[last], out=result[r], where=so_far & held)
    return result


def scales(trajectory: Trajectory) -> Floats32:
    """Return the largest finite magnitude in any memory of each rule, [R] float32; 0 for one that stays empty.

    A rule that overflows has a scale up to the largest float32. On a shared scale the other rules would be invisible.
    """
    sizes = np.abs(trajectory.states)
    return sizes.max(axis=(1, 2, 3), initial=0.0, where=np.isfinite(sizes))


def norm(trajectory: Trajectory) -> Floats32:
    """Measure the Frobenius norm of each memory after each token, [R, T] float32; NaN or inf where a memory is."""
    return norm_of(trajectory.states[:, 1:]).astype(np.float32)


def norm_of(S: np.ndarray) -> np.ndarray:
    """Measure the Frobenius norm of memories, [..., V, K]; NaN or inf where a memory is."""
    with np.errstate(over="ignore"):
        squares = np.einsum("...vk,...vk->...", S, S)
    if np.isfinite(squares).all():
        return np.sqrt(squares)
    with np.errstate(over="ignore"):  # squares of entries above 1.8e19 overflow a float32, though the norm need not
        return np.sqrt(np.einsum("...vk,...vk->...", S, S, dtype=np.float64))


def effective_rank(trajectory: Trajectory) -> Floats32:
    """Return the effective rank of each memory after each token, see :func:`effective_rank_of`, [R, T] float32."""
    return effective_rank_of(trajectory.states[:, 1:])


def effective_rank_of(S: np.ndarray) -> np.ndarray:
    """Return the effective rank of memories: the participation ratio of their squared singular values.

    With singular values s it is (sum s^2)^2 / sum s^4 = tr(S S^T)^2 / tr((S S^T)^2): n if n singular values are equal
    and the rest 0, else between 1 and the rank. It costs one matrix product and no decomposition.

    Args:
        S: memories, [..., V, K].

    Returns:
        [...]: 0 for an empty memory, NaN for one that is not finite.
    """
    if S.shape[-2] > S.shape[-1]:
        S = S.swapaxes(-1, -2)
    size = norm_of(S).astype(S.dtype)
    S = np.divide(
        S, size[..., None, None], out=np.zeros_like(S), where=size[..., None, None] != 0
    )  # no fourth power overflows
    gram = S @ S.swapaxes(-1, -2)
    concentration = np.einsum("...ij,...ij->...", gram, gram)
    return np.divide(1, concentration, out=np.zeros_like(size), where=concentration != 0)


def spectrum(trajectory: Trajectory) -> tuple[Floats32, ...]:
    """Return the eigenvalues of each token's transition: the map of the memory before the write.

    A row s of the memory becomes (s * a)(I - (b*k) k^T), with a the row's decay. If nothing is erased, the eigenvalues
    are the decays. Under a scalar decay they are a, and a (1 - (b*k) . k) along the key. Under a decay for each key
    channel they are those of the symmetric matrix diag(a) - c c^T with c = sqrt(a*b) * k, which has the same
    characteristic polynomial. So they are always real.

    Returns:
        For each rule [T, K] float32, or [T, V*K] where each row decays its own way; ascending in the last axis.
    """
    T, V, K = trajectory.sizes
    return tuple(
        _eigenvalues(x, token.b, T, V, K) for x, token in zip(trajectory.operands, trajectory.tokens, strict=True)
    )


def _eigenvalues(x: Operands, b: np.ndarray, T: int, V: int, K: int) -> Floats32:
    """List the eigenvalues of one rule's transitions."""
    if x.decay.shape[1] > 1:  # no rule erases and decays row by row
        entries = np.broadcast_to(x.decay[:, :V], (len(x.decay), V, K)).reshape(len(x.decay), V * K)
        return np.broadcast_to(np.sort(entries, axis=1), (T, V * K))
    decay = np.broadcast_to(x.decay[:, 0], (len(x.decay), K))
    if not x.erase.any():
        return np.broadcast_to(np.sort(decay, axis=1), (T, K))
    if x.decay.shape[2] == 1:
        values = np.array(np.broadcast_to(decay, (T, K)))
        values[:, 0] *= 1 - (x.erase[:, 0] * x.k[:, 0]).sum(-1)
        return np.sort(values, axis=1)
    c = np.sqrt(decay * b) * x.k[:, 0]
    matrix = decay[..., None] * np.eye(K) - c[:, :, None] * c[:, None, :]
    return np.broadcast_to(np.linalg.eigvalsh(matrix).astype(np.float32), (T, K))
