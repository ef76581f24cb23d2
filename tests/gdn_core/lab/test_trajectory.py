"""The trajectory kernel against the float64 reference, at the sizes that break kernels."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gdn_core import streams
from gdn_core.lab.trajectory import Trajectory, trajectory
from gdn_core.lab.worker import pool as workers
from gdn_core.lab.worker import process as worker
from gdn_core.ops.kernels.operands import Operands, Packed
from gdn_core.reference import Moments, Token, moments
from gdn_core.rules import RULES, Discretisation, WriteRule

ROOT = Path(__file__).resolve().parents[3]
EPS = np.finfo(np.float32).eps
SIZES = [(1, 1, 1), (5, 3, 17), (70, 17, 3), (5, 1, 33), (3, 33, 1), (70, 6, 5)]  # T, V, K
DISCRETE = [slug for slug, rule in RULES.items() if not rule.discretisation]
LAUNCHES = [  # operands that are wide in one rule are wide for all of a launch
    DISCRETE[::2],
    DISCRETE[1::2],
    [slug for slug in RULES if slug not in DISCRETE] + [DISCRETE[2], DISCRETE[-1]],
]


@pytest.fixture(scope="module")
def pool() -> Iterator[workers.Pool]:
    """An interpreter that takes the tests' own operations too."""
    command = [sys.executable, str(Path(__file__).with_name("kernel_worker.py"))]
    pool = workers.Pool(1, command=command, env={"TRITON_INTERPRET": "1"})
    yield pool
    pool.close()


def stream(T: int, V: int, K: int, *, seed: int = 0, g: float = -2.0) -> streams.Stream:
    """Signed queries, keys and values, keys that overlap, gates over their whole range, some decays near 0 and 1."""
    rng = np.random.default_rng(seed)
    k = rng.normal(size=(T, K)) + rng.normal(size=K)
    decay = g * rng.random((T, K)) ** 4
    decay[rng.random(T) < 0.1] = -200.0  # exp underflows in float32
    return streams.Stream(
        q=rng.normal(size=(T, K)),
        k=k / np.linalg.norm(k, axis=1, keepdims=True),
        v=rng.normal(size=(T, V)),
        g=decay,
        beta=rng.uniform(0, 2, (T, K)),
        w=rng.uniform(0, 2, (T, V)),
        delta=rng.uniform(0, 1, (T, V)),
        A=-rng.uniform(0.1, 4, (V, K)),
    )


def start(V: int, K: int) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(V, K)).astype(np.float32)


def exact(rule: WriteRule, x: Token, S: np.ndarray) -> dict[str, np.ndarray]:
    """Run the reference over a rule's tokens in float64, and keep what a trajectory keeps."""
    V = len(S)
    S = np.concatenate([S.astype(float), np.zeros((x.v.shape[1] - V, S.shape[1]))])
    kept = [Moments(*[S] * 4, *[x.v[0]] * 3)]
    for t in range(len(x)):
        kept.append(moments(kept[-1].written, x[t]))
    columns = Moments(*(np.stack(column) for column in zip(*kept, strict=True)))
    read, u, o = (column[1:] for column in (columns.read, columns.u, columns.o))
    return {"states": columns.written[:, :V], "read": read[:, :V], "u": u[:, :V], "o": streams.answer(rule, o)}


def plain(rule: WriteRule, x: Token, S: np.ndarray) -> dict[str, np.ndarray]:
    """Run a rule's tokens in float32, every sum from left to right.

    NumPy's own sums are better than that: pairwise, or fused and in blocks. A kernel may choose another order, and on
    a GPU it does: with 64 channels its error was up to 4.5 times that of NumPy's sums.
    """
    x = Token(*(np.asarray(getattr(x, name), np.float32) for name in ("q", "k", "v", "g", "b", "w")))
    V = len(S)
    S = np.concatenate([S, np.zeros((x.v.shape[1] - V, S.shape[1]), np.float32)])
    states, read, u, o = [S], [], [], []
    for t in range(len(x)):
        k = np.broadcast_to(x.k[t], S.shape)
        S = np.exp(x.g[t]) * S
        read.append(np.add.accumulate(S * (x.b[t] * k), axis=1)[:, -1])
        u.append(x.w[t] * x.v[t] - read[t])
        S = S + u[t][:, None] * k
        o.append(np.add.accumulate(S * x.q[t], axis=1)[:, -1])
        states.append(S)
    kept = {"states": np.stack(states)[:, :V], "read": np.stack(read)[:, :V], "u": np.stack(u)[:, :V]}
    return kept | {"o": streams.answer(rule, np.stack(o))}


def check(run: Trajectory, r: int, truth: dict[str, np.ndarray], scan: dict[str, np.ndarray]) -> None:
    for name in truth:
        over = beyond_budget(getattr(run, name)[r], truth[name], scan[name])
        assert over <= 0, f"{run.rules[r].slug} at T, V, K = {run.sizes}: {name} by {over:.2e}"


def beyond_budget(got: np.ndarray, truth: np.ndarray, scan: np.ndarray) -> float:
    """Return by how much the error passes twice that of the plain scan: at most 0 is within the budget."""
    budget = 2 * abs(scan.astype(float) - truth).max() + EPS * abs(truth).max()
    return abs(got.astype(float) - truth).max() - budget


def test_every_rule_is_within_the_error_budget_at_every_size() -> None:
    """Both discretisations, a memory that is not empty, gates to 2, decays that underflow."""
    for T, V, K in SIZES:
        given, S = stream(T, V, K, seed=T), start(V, K)
        for slugs in LAUNCHES:
            for method in Discretisation:
                run = trajectory(slugs, given, initial_state=S, discretisation=method)
                for r, rule in enumerate(run.rules):
                    x = streams.tokens(rule, given, discretisation=method if rule.discretisation else None)
                    check(run, r, exact(rule, x, S), plain(rule, x, S))


def test_every_state_is_bit_by_bit_the_one_the_kernel_had() -> None:
    """The kernel gives its last memory: over a stream cut after t tokens, the one after token t."""
    given = stream(7, 5, 3, seed=3)
    for slugs in LAUNCHES:
        whole = trajectory(slugs, given, initial_state=start(5, 3))
        operands = [Operands.of(streams.tokens(rule, given)) for rule in whole.rules]
        for t in range(1, 8):
            packed = Packed.of([cut(x, t) for x in operands])
            S = np.zeros((len(slugs), packed.v.shape[2], 3), np.float32)
            S[:, :5] = start(5, 3)
            _, answer = workers.pool().call(*message(packed, S))
            np.testing.assert_array_equal(answer["S"][:, :5], whole.states[:, t])


def cut(x: Operands, T: int) -> Operands:
    return replace(x, decay=x.decay[:T], k=x.k[:T], erase=np.ascontiguousarray(x.erase[:T]), wv=x.wv[:T], q=x.q[:T])


def message(packed: Packed, S: np.ndarray, op: str = "trajectory", **more: str) -> tuple[dict, dict]:
    header = {"op": op, "wide_decay": packed.wide_decay, "wide_key": packed.wide_key, **more}
    return header, packed.arrays() | {"S": S}


def test_the_moments_follow_from_each_other_bit_by_bit() -> None:
    run = trajectory(LAUNCHES[2], stream(9, 4, 6), initial_state=start(4, 6))
    for r in range(len(run.rules)):
        for t in range(9):
            m = run.moments(r, t)
            k = run.operands[r].at(t)[1][:4]
            np.testing.assert_array_equal(m.written, m.decayed + m.u[:, None] * k)
            np.testing.assert_array_equal(m.erased, m.decayed - m.read[:, None] * k)
            np.testing.assert_array_equal(m.u, run.wv[r, t] - m.read)
            np.testing.assert_allclose(m.written, m.erased + run.wv[r, t][:, None] * k, atol=1e-5)


def test_rules_side_by_side_do_not_meet() -> None:
    """In the interpreter, which sums in one order whatever lies beside."""
    given = stream(6, 5, 3)
    together = trajectory(list(RULES)[:8], given, backend="interpreter")
    for r, slug in enumerate(list(RULES)[:8]):
        alone = trajectory(slug, given, backend="interpreter")
        np.testing.assert_array_equal(alone.states[0], together.states[r])
        np.testing.assert_array_equal(alone.o[0], together.o[r])


def test_the_normaliser_is_the_sum_of_the_keys() -> None:
    given = stream(8, 3, 5)
    run = trajectory(["linear-attention-normalised", "linear-attention"], given)
    keys = streams.featured(run.rules[0], given.k)
    np.testing.assert_allclose(run.normaliser[0, 1:], np.cumsum(keys, axis=0), rtol=1e-5)
    assert not run.normaliser[0, 0].any()
    assert not run.normaliser[1].any()


def test_pytorch_runs_the_same_rules() -> None:
    given, S = stream(9, 5, 3), start(5, 3)
    for slugs in LAUNCHES:
        run = trajectory(slugs, given, initial_state=S, backend="torch")
        assert run.run.backend == "torch"
        for r, rule in enumerate(run.rules):
            x = streams.tokens(rule, given)
            check(run, r, exact(rule, x, S), plain(rule, x, S))


def test_a_decay_of_zero_forgets_everything() -> None:
    given = replace(stream(3, 4, 2), g=np.full(3, -1e4))
    run = trajectory(["gated-deltanet", "mamba-2"], given, initial_state=start(4, 2))
    assert not run.moments(0, 0).decayed.any()
    np.testing.assert_array_equal(run.states[1, 1:], run.wv[1][:, :, None] * run.operands[1].k)


def test_padding_is_neither_read_nor_written(pool: workers.Pool) -> None:
    for T, V, K in ((5, 3, 17), (4, 17, 3)):
        for slugs in LAUNCHES:
            packed, S = packed_of(slugs, stream(T, V, K)), np.zeros((len(slugs), V + 1, K), np.float32)
            S = S[:, : packed.v.shape[2]]
            _, among_zeros = pool.call(*message(packed, S))
            header, results = pool.call(*message(packed, S, "poisoned"))
            assert header["clean"]
            for r, rows in enumerate(packed.rows):
                np.testing.assert_array_equal(results["out"][r, :, :rows], among_zeros["out"][r, :, :rows])
                np.testing.assert_array_equal(results["S"][r, :rows], among_zeros["S"][r, :rows])


def packed_of(slugs: list[str], given: streams.Stream) -> Packed:
    return Packed.of([Operands.of(streams.tokens(RULES[slug], given)) for slug in slugs])


def test_a_number_that_is_none_spreads_and_does_not_vanish() -> None:
    packed = packed_of(["gated-deltanet", "mamba"], stream(6, 4, 3))
    packed.v[:, 2, 1] = np.nan
    _, results = workers.pool().call(*message(packed, np.zeros((2, 4, 3), np.float32)))
    assert np.isnan(results["out"][:, 2:, 1, 1]).all()
    assert np.isfinite(results["out"][:, :, [0, 2, 3]]).all()
    assert np.isfinite(results["out"][:, :2]).all()


MUTANTS = {
    "read before decay": (
        "        b_S *= b_a  # decay\n        b_read = tl.reduce(b_S * b_e, 2, _sum_combine, keep_dims=True)\n",
        "        b_read = tl.reduce(b_S * b_e, 2, _sum_combine, keep_dims=True)\n        b_S *= b_a  # decay\n",
    ),
    "an output times 1.001": ("tl.join(b_read, b_o)", "tl.join(b_read, 1.001 * b_o)"),
    "padding filled with one": ("[BR, 4 * BK], 0.0,", "[BR, 4 * BK], 1.0,"),
    "the erase gate dropped": ("b_S * b_e", "b_S * b_k"),
    "a memory in half precision": (
        "b_S += b_u * b_k  # write",
        "b_S = (b_S + b_u * b_k).to(tl.float16).to(tl.float32)",
    ),
    "values of the first token only": ("p_v += s_v", "p_v += 0 * s_v"),
    "decays of the first token only": ("p_a += s_a", "p_a += 0 * s_a"),
    "keys by row ignored": ("+ s_v_k * o_v", ""),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_budget_refuses_a_planted_bug(name: str, pool: workers.Pool, tmp_path: Path) -> None:
    source = (ROOT / "gdn_core" / "ops" / "kernels" / "trajectory.py").read_text()
    before, after = MUTANTS[name]
    assert source.count(before) == 1
    assert caught(pool, tmp_path / "as_it_is.py", source) is None
    assert caught(pool, tmp_path / "mutant.py", source.replace(before, after)) is not None


def caught(pool: workers.Pool, file: Path, source: str) -> str | None:
    """Run a kernel given as source, and name the first thing that passes the budget."""
    file.write_text(source)
    T, V, K = 5, 3, 6
    given, S = stream(T, V, K, seed=1), start(V, K)
    for slugs in (["s4", "mamba", "deltanet"], ["gated-deltanet", "gated-deltanet-2", "mamba-2"]):
        packed = packed_of(slugs, given)
        _, results = pool.call(*message(packed, np.stack([S] * 3), "launch_from", file=str(file)))
        for r, slug in enumerate(slugs):
            x = streams.tokens(RULES[slug], given)
            truth, scan = exact(RULES[slug], x, S), plain(RULES[slug], x, S)
            got = {"read": results["out"][r, ..., 0], "o": results["out"][r, ..., 1], "states": results["S"][r]}
            truth["states"], scan["states"] = truth["states"][-1], scan["states"][-1]
            for what, value in got.items():
                if not beyond_budget(value, truth[what], scan[what]) <= 0:
                    return f"{slug}: {what}"
    return None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rules": []}, "expected 1 to 8 rules, got 0"),
        ({"rules": ["deltanet"] * 9}, "expected 1 to 8 rules, got 9"),
        ({"rules": "delta-net"}, "rules: expected slugs among .*, got 'delta-net'"),
        ({"rules": "softmax-attention"}, "outside the family"),
        ({"initial_state": np.zeros((3, 4))}, r"initial_state: expected \[V, K\] = \[4, 3\] or .*, got \[3, 4\]"),
        ({"initial_state": np.full((4, 3), np.nan)}, "initial_state: expected finite numbers"),
        ({"backend": "cuda"}, "backend: expected one of triton, interpreter, torch, got 'cuda'"),
        ({"stream": replace(stream(5, 4, 3), g=np.full(5, 0.1))}, "g: "),
        ({"stream": replace(stream(5, 4, 3), v=np.full((5, 4), np.nan))}, "v: "),
    ],
)
def test_a_wrong_argument_gets_a_sentence(change: dict, sentence: str) -> None:
    arguments = {"rules": "deltanet", "stream": stream(5, 4, 3)} | change
    with pytest.raises(ValueError, match=sentence):
        trajectory(**arguments)


def test_a_launcher_refuses_what_the_kernel_would_misread(pool: workers.Pool) -> None:
    packed = packed_of(["s4"], stream(4, 3, 2))
    S = np.zeros((1, 3, 2), np.float32)
    beyond = packed.table + np.array([packed.wide.size, 0, 0, 0])
    for wrong, sentence in (
        (replace(packed, x=packed.x.astype(np.int64)), "x: expected contiguous float32"),
        (replace(packed, table=beyond), "table: expected entries inside wide"),
        (replace(packed, rows=packed.rows + 1), "rows: expected 1 to V = 3 rows"),
    ):
        with pytest.raises(workers.LaunchError, match=sentence):
            pool.call(*message(wrong, S))
    with pytest.raises(workers.LaunchError, match=r"S: expected contiguous float32 \[R, V, K\] = \[1, 3, 2\]"):
        pool.call(*message(packed, np.zeros((1, 2, 3), np.float32)))
    with pytest.raises(ValueError, match="v: expected contiguous float32"):
        replace(packed, v=np.asfortranarray(packed.v)).check()


def test_constants_are_not_copied_for_each_token() -> None:
    packed = packed_of(["s4"], stream(50, 8, 4))
    assert packed.wide.size == (1 + 50) * 8 * 4  # S4 decays alike at every token; its keys are the tokens'
    assert packed.table[0, 0, 1] == 0


def test_neither_torch_nor_triton_is_imported_or_needed() -> None:
    script = (
        "import sys; sys.modules['torch'] = sys.modules['triton'] = None; "
        "import gdn_core.lab.trajectory, gdn_core.lab.metrics"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_the_worker_says_what_it_is() -> None:
    run = trajectory("deltanet", stream(3, 2, 2)).run
    assert run.backend in ("triton", "interpreter")
    assert run.seconds > 0
    assert run.device
    assert ("triton" in run.refusals) == (run.backend == "interpreter")
    assert set(worker.OPERATIONS) == {"trajectory", "reference"}


def test_a_trajectory_has_the_shapes_it_states() -> None:
    run: Trajectory = trajectory(["deltanet", "linear-attention-normalised"], stream(6, 4, 3))
    assert run.sizes == (6, 4, 3)
    assert run.states.shape == (2, 7, 4, 3)
    assert run.normaliser.shape == (2, 7, 3)
    for array in (run.read, run.u, run.wv, run.o):
        assert array.shape == (2, 6, 4)
    for array in (run.states, run.normaliser, run.read, run.u, run.wv, run.o):
        assert array.dtype == np.float32
