"""Run write rules over one stream, and record every token.

The arithmetic is that of :mod:`gdn_core.reference`, in float32. One Triton kernel runs all rules in one launch, in a
worker process. The kernel records what each token read; errors and states are computed from that, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gdn_core import streams
from gdn_core.lab import before, limits
from gdn_core.lab.worker import pool as workers
from gdn_core.lab.worker.frames import Header
from gdn_core.ops import backends
from gdn_core.ops.backends import Backend, Request
from gdn_core.ops.checks import check_integer
from gdn_core.ops.kernels.operands import Floats32, Operands, Packed
from gdn_core.reference import Moments, Token
from gdn_core.rules import LINEAGE, RULES, Discretisation, WriteRule

MOST_RULES = 8


@dataclass(frozen=True)
class Run:
    """Where a trajectory was computed.

    Args:
        backend: "triton" (compiled, on a GPU), "interpreter" (the same kernel in Triton's interpreter) or "torch" (the
            reference in PyTorch).
        device: the name of the GPU or CPU.
        seconds: the time the launch took, in the worker.
        refusals: the backends tried before it, each with the reason it was refused.
    """

    backend: Backend
    device: str
    seconds: float
    refusals: dict[Backend, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trajectory:
    """What R rules did to their memories over the same T tokens, float32.

    Args:
        rules: the rules, in the order of the first axis everywhere.
        stream: the tokens that were recorded, float64.
        tokens: the stream as tokens of each rule, float64.
        operands: the same tokens as the kernel took them, float32.
        states: memories, [R, T + 1, V, K]; index 0 is before the first token.
        normaliser: the sum of keys of a normalised rule, zeros for the others, [R, T + 1, K].
        read: what the decayed memory answered to the erase key, [R, T, V].
        u: the error, wv - read, [R, T, V].
        wv: the gated value w*v, [R, T, V].
        o: outputs, [R, T, V].
        run: where it was computed.
    """

    rules: tuple[WriteRule, ...]
    stream: streams.Stream
    tokens: tuple[Token, ...]
    operands: tuple[Operands, ...]
    states: Floats32
    normaliser: Floats32
    read: Floats32
    u: Floats32
    wv: Floats32
    o: Floats32
    run: Run

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The sizes (T, V, K)."""
        return self.stream.sizes

    def moments(self, r: int, t: int) -> Moments:
        """Return the memory of rule r before and after each stage of token t, bit for bit as in the kernel."""
        V = self.states.shape[2]
        decay, k = (x[:V] for x in self.operands[r].at(t))
        before, written = self.states[r, t], self.states[r, t + 1]
        decayed = decay * before
        erased = decayed - self.read[r, t][:, None] * k
        return Moments(before, decayed, erased, written, self.read[r, t], self.u[r, t], self.o[r, t])


def trajectory(
    rules: str | WriteRule | Sequence[str | WriteRule],
    stream: streams.Stream,
    *,
    window: tuple[int, int] | None = None,
    from_empty: bool = False,
    initial_state: np.ndarray | None = None,
    discretisation: Discretisation | None = None,
    backend: Backend | None = None,
) -> Trajectory:
    """Run one to eight rules over a stream, or a window of it, and record every token.

    Args:
        rules: slugs of :data:`gdn_core.rules.RULES`, or rules.
        stream: tokens of a memory of V value channels by K key channels.
        window: start and stop of the tokens to record, stop excluded; by default all. The window starts from the
            memory that the tokens before it leave (:mod:`gdn_core.lab.before`), the normaliser of a normalised rule
            included. Rules of constant gates take their constants from the whole stream.
        from_empty: start the window from ``initial_state`` instead, and ignore the tokens before it.
        initial_state: memory before the first token, [V, K] for every rule or [R, V, K]; zeros by default. The
            normaliser of a normalised rule starts at zero there.
        discretisation: replaces the discretisation of the rules that have one; it does not act on the others.
        backend: "triton", "interpreter" or "torch"; by default the first that can run on this machine.

    Raises:
        TypeError: if a field of the stream is no array of floating-point numbers.
        ValueError: if a number or size of the stream is out of range, a rule is unknown, the initial state does not
            fit, or the backend cannot run here.
        ModuleNotFoundError: if torch is not installed, which the worker processes need.
        gdn_core.lab.worker.pool.LaunchError: if the launch gave no result.
    """
    start, stop = _window(window, len(stream))
    limits.check_stream(stream.window(0, stop))
    if stop < len(stream):  # rules of constant gates take medians over the whole stream
        rest = stream.window(stop, len(stream))
        limits.check_ranges({name: getattr(rest, name) for name in ("g", "beta", "w", "delta")}, start=stop)
    chosen = _discretised(_chosen(rules), discretisation)
    initial = _initial_state(initial_state, len(chosen), *stream.sizes[1:])
    shown = before.wide(stream.window(start, stop))
    tokens, memories = [], []
    for r, rule in enumerate(chosen):
        held = streams.held(rule, stream)
        tokens.append(streams.tokens(rule, before.wide(held.window(start, stop))))
        S = np.concatenate([initial[r], np.zeros((int(rule.normalised), initial.shape[2]))])
        past = held.window(0, 0 if from_empty else start)
        memories.append(before.memory_after(rule, past, initial=S))
    operands = tuple(Operands.of(x) for x in tokens)
    with np.errstate(over="ignore"):  # a memory beyond the range of float32 starts as infinite
        begins = tuple(S.astype(np.float32) for S in memories)
    out, S, run = _launch(tuple(tokens), operands, begins, backend)
    return _assembled(chosen, shown, tuple(tokens), operands, begins, out, S, run)


def _window(window: tuple[int, int] | None, T: int) -> tuple[int, int]:
    """Check the bounds of a window of T tokens."""
    if window is None:
        return 0, T
    start = check_integer("window", window[0], 0, T - 1)
    return start, check_integer("window", window[1], start + 1, T)


def _chosen(rules: str | WriteRule | Sequence[str | WriteRule]) -> tuple[WriteRule, ...]:
    """Look up slugs, and check that there are one to eight rules."""
    given = (rules,) if isinstance(rules, str | WriteRule) else tuple(rules)
    if not 1 <= len(given) <= MOST_RULES:
        raise ValueError(f"rules: expected 1 to {MOST_RULES} rules, got {len(given)}")
    outside = {row.slug for row in LINEAGE} - set(RULES)
    for rule in given:
        if rule in outside:
            raise ValueError(f"rules: {rule} is outside the family, its memory is a cache that grows with the stream")
        if not isinstance(rule, WriteRule) and rule not in RULES:
            raise ValueError(f"rules: expected slugs among {', '.join(RULES)}, got {rule!r}")
    return tuple(rule if isinstance(rule, WriteRule) else RULES[rule] for rule in given)


def _discretised(rules: tuple[WriteRule, ...], method: Discretisation | None) -> tuple[WriteRule, ...]:
    """Replace the discretisation of the rules that have one."""
    return tuple(rule.discretised(method) if rule.discretisation and method else rule for rule in rules)


def _initial_state(state: np.ndarray | None, R: int, V: int, K: int) -> Floats32:
    """Return a memory for each rule, [R, V, K]."""
    if state is None:
        return np.zeros((R, V, K), np.float32)
    state = np.asarray(state, dtype=np.float32)
    if state.shape not in ((V, K), (R, V, K)):
        raise ValueError(
            f"initial_state: expected [V, K] = {[V, K]} or [R, V, K] = {[R, V, K]}, got {list(state.shape)}"
        )
    if not np.isfinite(state).all():
        raise ValueError("initial_state: expected finite numbers, got NaN or infinity")
    return np.broadcast_to(state, (R, V, K))


def _launch(
    tokens: tuple[Token, ...], operands: tuple[Operands, ...], begins: Sequence[Floats32], backend: Backend | None
) -> tuple[Floats32, Floats32, Run]:
    """Choose a backend and launch.

    Returns:
        What was read before and after each write, [R, T, V', 2]; the last memories, [R, V', K], with V' the rows of the
        tallest memory; and where it ran.
    """
    pool = workers.pool(interpret=backend == "interpreter")
    facts = pool.facts()
    request = Request(triton=facts["triton"], cuda=facts["cuda"], refused=facts["refused"])
    if backend is None:
        backend, refusals = backends.choose(request)
    else:
        if backend not in backends.BACKENDS:
            raise ValueError(f"backend: expected one of {', '.join(backends.BACKENDS)}, got {backend!r}")
        if sentence := backends.refusal(backend, request):
            raise ValueError(f"backend: {sentence}")
        refusals = {}
    packed = Packed.of(operands)
    R, _, V = packed.v.shape
    S = np.zeros((R, V, packed.K), np.float32)
    for r, begin in enumerate(begins):
        S[r, : len(begin)] = begin
    header: Header
    if backend == "torch":
        header = {"op": "reference"}
        arrays = {"S": S}
        for r, (x, token) in enumerate(zip(operands, tokens, strict=True)):
            b = np.asarray(token.b, np.float32)
            arrays |= {f"decay{r}": x.decay, f"k{r}": x.k, f"b{r}": b, f"wv{r}": x.wv, f"q{r}": x.q}
        facts = facts | {"device": "CPU"}
    else:
        header = {"op": "trajectory", "wide_decay": packed.wide_decay, "wide_key": packed.wide_key}
        arrays = packed.arrays() | {"S": S}
    answer, results = pool.call(header, arrays)
    return results["out"], results["S"], Run(backend, facts["device"], answer["seconds"], refusals)


def _assembled(
    rules: tuple[WriteRule, ...],
    stream: streams.Stream,
    tokens: tuple[Token, ...],
    operands: tuple[Operands, ...],
    begins: Sequence[Floats32],
    out: Floats32,
    S: Floats32,
    run: Run,
) -> Trajectory:
    """Recompute the states from what was read, and stack the rules on one axis."""
    T, V, K = stream.sizes
    R = len(rules)
    states, normaliser = np.empty((R, T + 1, V, K), np.float32), np.zeros((R, T + 1, K), np.float32)
    read, u, wv, o = (np.empty((R, T, V), np.float32) for _ in range(4))
    for r, (rule, x) in enumerate(zip(rules, operands, strict=True)):
        rows = x.wv.shape[1]
        error = x.wv - out[r, :, :rows, 0]
        memory = x.replay(begins[r], error)
        if not _same(memory[-1], S[r, :rows]):
            raise workers.LaunchError(f"the states of {rule.title} do not follow from what {run.backend} recorded")
        states[r], read[r], u[r], wv[r] = memory[:, :V], out[r, :, :V, 0], error[:, :V], x.wv[:, :V]
        o[r] = streams.answer(rule, out[r, :, :rows, 1])
        if rule.normalised:
            normaliser[r] = memory[:, V]
    return Trajectory(rules, stream, tokens, operands, states, normaliser, read, u, wv, o, run)


def _same(a: Floats32, b: Floats32) -> bool:
    """Compare bit for bit, except subnormal numbers, which a GPU may round to zero."""
    with np.errstate(invalid="ignore"):
        return bool(((a == b) | (np.isnan(a) & np.isnan(b)) | (abs(a - b) <= np.finfo(np.float32).tiny)).all())
