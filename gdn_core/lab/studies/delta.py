"""The delta rule on one memory of one value channel: a row of numbers, a point in the plane or the space of keys."""

from __future__ import annotations

import numpy as np

from gdn_core import RULES, Stream, Trajectory, reference, streams
from gdn_core.reference import Token

GRID = np.linspace(-1.8, 1.8, 19)  # of memories whose loss is drawn
ROUNDS = 4  # of three tokens in space
FIRST = np.array([[0.9, -0.8, -0.5]])  # the memory in space
BEFORE = np.array([[0.9, 1.1]])  # the memory, one value channel by two key channels


def token(beta: float, value: float, angle: float = 30.0) -> Token:
    """Return a token that writes a value under a unit key at an angle, in degrees."""
    k = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    gate = np.array([beta])
    return Token(q=k, k=k, v=np.array([value]), g=np.zeros((1, 1)), b=gate, w=gate)


def _behind(memory: np.ndarray, k: np.ndarray, v: np.ndarray, beta: float) -> Stream:
    """Return tokens with one gate, behind one that leaves a memory of one row in an empty one."""
    length = np.linalg.norm(memory)
    k, v = np.concatenate([memory / length, k]), np.concatenate([[[length]], v])
    gate, one = np.full(len(k), beta), np.ones(len(k))
    gate[0] = 1
    return Stream(q=k, k=k, v=v, g=0 * one, beta=gate, w=one, delta=one, A=-np.ones(k.shape[1]))


def from_before(beta: float, value: float, times: int = 1) -> Stream:
    """Return a token that leaves the memory before in an empty one, and so many tokens as :func:`token` makes them."""
    return _behind(BEFORE, np.tile(token(beta, value).k, (times, 1)), np.full((times, 1), value), beta)


def in_the_plane(value: float) -> dict[str, np.ndarray]:
    """Apply one token with every gate from 0 to 2.5.

    Returns:
        beta [N]; key [2]; before [2], the memory; valley [2, 2], two memories that answer the
        value; surface [19, 19], the loss of the memories of ``GRID`` by ``GRID``, a row for each second entry;
        way [N, 13, 3], memories on the straight line from the one before to the one after, each with its loss; erased
        and written [N, 2], the memory after these stages; norm [N], of the transition, the most by which it multiplies
        a length; answer [N], to the key afterwards; and loss [N], of the memory then.
    """
    betas = np.round(np.arange(0, 2.51, 0.05), 2)
    moments = [reference.moments(BEFORE, token(beta, value)) for beta in betas]
    answer = np.array([m.o[0] for m in moments])
    k = token(0.0, value).k
    eye = np.eye(2)
    transitions = [reference.moments(eye, token(beta, value)).erased for beta in betas]
    ends = np.array([-4, 4])[:, None] * np.array([-k[1], k[0]])
    written = np.array([m.written[0] for m in moments])
    between = BEFORE[0] + np.linspace(0, 1, 13)[:, None] * (written - BEFORE[0])[:, None]
    return {
        "beta": betas,
        "key": k,
        "before": BEFORE[0],
        "valley": value * k + ends,
        "surface": loss(np.stack(np.meshgrid(GRID, GRID), axis=-1), k, value),
        "way": np.concatenate([between, loss(between, k, value)[..., None]], axis=-1),
        "erased": np.array([m.erased[0] for m in moments]),
        "written": written,
        "norm": np.linalg.norm(transitions, 2, axis=(1, 2)),
        "answer": answer,
        "loss": (answer - value) ** 2 / 2,
    }


def loss(memories: np.ndarray, k: np.ndarray, value: float) -> np.ndarray:
    """Return half the squared distance of the answers of memories, [..., 2], from the value that a key should have."""
    return (memories @ k - value) ** 2 / 2


def read_and_written(run: Trajectory, r: int) -> np.ndarray:
    """Return the lengths of what the memory of a rule answers to each key and of the error that is written, [2, T]."""
    return np.linalg.norm([run.read[r], run.u[r]], axis=-1)


def signs(run: Trajectory, r: int) -> np.ndarray:
    """Return how many times the first value a rule answers after each token, [T]; that value has length 1."""
    return np.asarray(run.o[r] @ run.stream.v[0])


def again_and_again(beta: float) -> dict[str, np.ndarray]:
    """Erase the same key twenty times, and write nothing.

    Returns:
        times [21]; memory [21, 2], after each; along and across [21], its parts along the key and at a right angle;
        eigenvalue, of the transition along the key.
    """
    x, S, memory = token(beta, 0.0), BEFORE, [BEFORE[0]]
    for _ in range(20):
        S, _ = reference.step(S, x)
        memory.append(S[0])
    found = np.array(memory)
    transition = np.stack([reference.step(row[None], x)[0][0] for row in np.eye(2)])
    return {
        "times": np.arange(21),
        "memory": found,
        "along": found @ x.k,
        "across": found @ np.array([-x.k[1], x.k[0]]),
        "eigenvalue": np.array(x.k @ transition @ x.k),
    }


def three_keys(beta: float) -> Stream:
    """Return a token that leaves the first memory, and twelve that write three values under three keys, in turn."""
    keys = np.array([[1.0, 0.5, 0.1], [-0.2, 1.0, 0.6], [0.4, -0.1, 1.0]])
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    return _behind(FIRST, np.tile(keys, (ROUNDS, 1)), np.tile([[0.7], [0.9], [1.0]], (ROUNDS, 1)), beta)


def in_space(beta: float, turn: float) -> dict[str, np.ndarray]:
    """Write three pairs in turn into a memory of one row and three channels, and look at it from a side.

    A frame shows the memory as it starts, or after the erase or the write of a token.

    Args:
        beta: the gate of all tokens.
        turn: how far the view is turned about the upright axis, in degrees.

    Returns:
        memory [N, 3]; moved [N], how far it is from the frame before; token [N], -1 at the start; value and answer [N],
        of the token's key: what it should answer, and answers now; off [N, 3], by how much each of the three keys
        misses its value; goal [3], the memory that answers all three; and as seen from the side, in two coordinates:
        axes [3, 2], seen [N, 2], the memory; key [N, 2], of the token; path [N, N, 2], the memories so far; plane [N,
        5, 2], the corners of a square of memories that answer the token's value; and aim [2], the goal.
    """
    stream = three_keys(beta).window(1, 1 + 3 * ROUNDS)
    x, S, memories = streams.tokens(RULES["deltanet"], stream), FIRST, [FIRST[0]]
    for t in range(len(x)):
        moments = reference.moments(S, x[t])
        S = moments.written
        memories += [moments.erased[0], S[0]]
    memory, token = np.array(memories), np.repeat(np.arange(-1, len(x)), 2)[1:]
    k, v = stream.k[np.maximum(token, 0)], stream.v[np.maximum(token, 0), 0]
    a, e = np.radians(turn), np.radians(20.0)  # the eye stands a little above the plane of the first two channels
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    up = np.array([-np.cos(a) * np.sin(e), -np.sin(a) * np.sin(e), np.cos(e)])
    eye = np.stack([right, up], axis=1)  # [3, 2]
    goal = np.linalg.solve(stream.k[:3], stream.v[:3, 0])
    one = np.cross(k, [0.0, 0.0, 1.0])
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    two = np.cross(k, one)
    foot = memory + (v - (memory * k).sum(axis=1))[:, None] * k  # on the plane, nearest to the memory
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1], [1, 1]]) * 0.5
    plane = foot[:, None] + corners[:, :1] * one[:, None] + corners[:, 1:] * two[:, None]
    N = np.arange(len(memory))
    return {
        "memory": memory, "moved": np.linalg.norm(np.diff(memory, axis=0, prepend=memory[:1]), axis=1),
        "token": token, "value": v, "answer": (memory * k).sum(axis=1),
        "off": np.abs(memory @ stream.k[:3].T - stream.v[:3, 0]), "goal": goal, "axes": eye.copy(),
        "seen": memory @ eye, "key": k @ eye, "path": (memory @ eye)[np.minimum(N, N[:, None])], "plane": plane @ eye,
        "aim": goal @ eye,
    }  # fmt: skip
