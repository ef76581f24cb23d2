"""The player's buffer, read back and replayed by NumPy: what the browser has to do, written a second time."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from app.player import payload
from app.player.payload import Factors
from gdn_core.lab.answers import answers
from gdn_core.lab.scenarios import TokenRow
from gdn_core.lab.trajectory import trajectory
from gdn_core.reference import Moments, moments
from gdn_core.rules import RULES, Discretisation, WriteRule
from gdn_core.streams import Stream, tokens

T, V, K = 7, 3, 5
LABELS = [f"word {t}" for t in range(T)]


def stream(seed: int = 0, T: int = T, V: int = V, K: int = K) -> Stream:
    """A stream on which every gate differs from token to token and from channel to channel."""
    rng = np.random.default_rng(seed)
    return Stream(
        q=rng.standard_normal((T, K)),
        k=rng.standard_normal((T, K)),
        v=rng.standard_normal((T, V)),
        g=-rng.uniform(0.01, 1.0, (T, K)),
        beta=rng.uniform(0.0, 1.0, (T, K)),
        w=rng.uniform(0.0, 1.0, (T, V)),
        delta=rng.uniform(0.0, 1.0, (T, V)),
        A=-rng.uniform(0.1, 2.0, (V, K)),
    )


def by_reference(rule: WriteRule, stream: Stream, S: np.ndarray) -> tuple[Factors, list[Moments]]:
    """Run a rule by the float64 reference, and cut its factors out in float32."""
    x = tokens(rule, stream)
    passed = []
    for t in range(len(x)):
        passed.append(moments(S, x[t]))
        S = passed[-1].written
    f32 = np.float32
    return Factors(
        title=rule.title,
        slug=rule.slug,
        decay=np.exp(x.g).astype(f32),
        k=(x.k if x.k.ndim == 3 else x.k[:, None, :]).astype(f32),
        read=np.stack([m.read for m in passed]).astype(f32),
        u=np.stack([m.u for m in passed]).astype(f32),
        wv=(x.w * x.v).astype(f32),
        o=np.stack([m.o for m in passed]).astype(f32),
        initial=passed[0].before.astype(f32),
    ), passed


def decode(data: bytes) -> tuple[dict, list[dict[str, np.ndarray]]]:
    """Read a buffer back, with nothing of the encoder's."""
    (length,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + length].decode())
    floats = np.frombuffer(data, "<f4", offset=4 + length)
    assert len(floats) == header["floats"]

    def array(where: dict) -> np.ndarray:
        size = int(np.prod(where["shape"]))
        return floats[where["offset"] : where["offset"] + size].reshape(where["shape"])

    return header, [
        {name: array(where) for name, where in rule["arrays"].items()} for rule in header["rules"]
    ]


def replay(arrays: dict[str, np.ndarray], T: int, V: int, K: int) -> list[dict[str, np.ndarray]]:
    """Replay every token in float32, in the order that the player's buffer prescribes."""
    S = arrays.get("initial", np.zeros((V, K), np.float32))
    replayed = []
    for t in range(T):
        decay = arrays["decay"][t if len(arrays["decay"]) > 1 else 0]
        k = arrays["k"][t if len(arrays["k"]) > 1 else 0]
        read, u, wv = (arrays[name][t][:, None] for name in ("read", "u", "wv"))
        decayed = decay * S
        taken, added = read * k, wv * k
        written = decayed + u * k
        whole = {"before": S, "decayed": decayed, "taken": taken, "erased": decayed - taken, "added": added}
        replayed.append({name: np.broadcast_to(x, (V, K)) for name, x in whole.items()} | {"written": written})
        assert written.dtype == np.float32
        S = written
    return replayed


@pytest.fixture
def factors() -> Factors:
    return by_reference(RULES["gated-deltanet-2"], stream(), np.ones((V, K)))[0]


@pytest.mark.parametrize("rule", [rule for rule in RULES.values() if not rule.normalised], ids=lambda rule: rule.slug)
def test_the_replay_passes_through_the_moments_of_the_reference(rule: WriteRule) -> None:
    start = np.random.default_rng(1).standard_normal((V, K))
    factors, passed = by_reference(rule, stream(), start)
    header, [arrays] = decode(payload.encode([factors], LABELS))
    replayed = replay(arrays, header["T"], header["V"], header["K"])
    largest = max(np.abs(m).max() for want in passed for m in want[:4])
    for t, (got, want) in enumerate(zip(replayed, passed, strict=True)):
        budget = 4 * (t + 1) * np.finfo(np.float32).eps * max(1.0, largest)  # a few roundings for each token so far
        for name in ("before", "decayed", "erased", "written"):
            np.testing.assert_allclose(got[name], getattr(want, name), rtol=0, atol=budget)
        np.testing.assert_allclose(got["erased"] + got["added"], want.written, rtol=0, atol=budget)


@pytest.mark.parametrize("discretisation", list(Discretisation), ids=lambda d: d.value)
def test_the_replay_of_a_trajectory_is_the_trajectory_to_the_bit(discretisation: Discretisation) -> None:
    for rules in (list(RULES)[start : start + 4] for start in range(0, len(RULES), 4)):
        takes = any(RULES[rule].discretisation for rule in rules)
        ran = trajectory(rules, stream(), discretisation=discretisation if takes else None, backend="torch")
        header, decoded = decode(payload.of(ran, LABELS))
        for r, arrays in enumerate(decoded):
            for t, got in enumerate(replay(arrays, T, V, K)):
                want = ran.moments(r, t)
                for name in ("before", "decayed", "erased", "written"):
                    np.testing.assert_array_equal(got[name], getattr(want, name))
            np.testing.assert_array_equal(arrays["o"], ran.o[r])
        assert [rule["slug"] for rule in header["rules"]] == rules


def test_an_initial_memory_is_where_the_replay_begins() -> None:
    start = np.random.default_rng(2).standard_normal((V, K)).astype(np.float32)
    ran = trajectory("deltanet", stream(), initial_state=start, backend="torch")
    _, [arrays] = decode(payload.of(ran, LABELS))
    np.testing.assert_array_equal(arrays["initial"], start)
    np.testing.assert_array_equal(replay(arrays, T, V, K)[-1]["written"], ran.states[0, -1])


def test_a_normalised_rule_brings_its_normaliser_and_others_none() -> None:
    ran = trajectory(["linear-attention-normalised", "linear-attention"], stream(), backend="torch")
    header, [normalised, plain] = decode(payload.of(ran, LABELS))
    np.testing.assert_array_equal(normalised["normaliser"], ran.normaliser[0])
    assert normalised["normaliser"][-1].min() > 0
    assert "normaliser" not in plain
    assert [(rule["decays"], rule["erases"]) for rule in header["rules"]] == [(False, False)] * 2


def test_answers_travel_beside_the_factors_and_change_none_of_them() -> None:
    ran = trajectory(["deltanet", "linear-attention"], stream(), backend="torch")
    rows = [TokenRow(key="a", value=f"v{t}") for t in range(T)]
    want = answers(ran, rows, LABELS)
    header, decoded = decode(payload.of(ran, LABELS, want))
    plain, without = decode(payload.of(ran, LABELS))
    assert plain["answers"] is None
    for mine, others in zip(decoded, without, strict=True):
        for name, array in mine.items():
            np.testing.assert_array_equal(array, others[name])
    assert header["answers"]["values"] == [f"v{t}" for t in range(T)]
    assert header["answers"]["glyphs"][0] == {"thing": "heart", "bits": "6cfefefe7c381000"}
    data = payload.of(ran, LABELS, want)
    (length,) = struct.unpack("<I", data[:4])
    for name, where in header["answers"]["arrays"].items():
        size = int(np.prod(where["shape"]))
        got = np.frombuffer(data, "<f4", count=size, offset=4 + length + 4 * where["offset"])
        np.testing.assert_array_equal(got.reshape(where["shape"]), getattr(want, name).astype(np.float32))


def test_every_label_survives_and_every_array_is_aligned(factors: Factors) -> None:
    labels = ["", "naïve", "🦉" * 3, "مرحبا", 'a "quoted" </script>', "\u2028", "x" * 500]
    for cut in range(4):  # headers of every length modulo 4
        data = payload.encode([replace(factors, title="t" * cut)], labels)
        (length,) = struct.unpack("<I", data[:4])
        assert length % 4 == 0
        assert decode(data)[0]["labels"] == labels
        assert payload.header(data) == decode(data)[0]


def test_the_digest_tells_one_run_from_another(factors: Factors) -> None:
    def digest(factors: Factors, labels: list[str] = LABELS) -> str:
        return payload.header(payload.encode([factors], labels))["digest"]

    other = factors.u.copy()
    other[-1, -1] = np.nextafter(other[-1, -1], np.float32(9))
    assert digest(factors) == digest(replace(factors))
    assert len({digest(factors), digest(replace(factors, u=other)), digest(factors, [*LABELS[:-1], "end"])}) == 3


@pytest.mark.parametrize("name", ["decay", "k", "read", "u", "wv", "o", "initial"])
def test_an_array_that_cannot_be_replayed_is_named(factors: Factors, name: str) -> None:
    wrong = getattr(factors, name)[..., :-1]
    with pytest.raises(ValueError, match=r" of gated-deltanet-2: expected \[.*\], got \["):
        payload.encode([factors, replace(factors, **{name: wrong})], LABELS)


def test_a_wrong_number_of_rules_or_labels_is_an_error(factors: Factors) -> None:
    for rules in ([], [factors] * 5):
        with pytest.raises(ValueError, match=f"rules: expected 1 to 4, got {len(rules)}"):
            payload.encode(rules, LABELS)
    with pytest.raises(ValueError, match="labels: expected one for each of 7 tokens, got 6"):
        payload.encode([factors], LABELS[1:])


def test_a_buffer_too_large_for_the_browser_is_refused_in_a_sentence() -> None:
    long = by_reference(RULES["deltanet"], stream(T=3), np.zeros((V, K)))[0]
    T = payload.MAX_BYTES // (4 * V * 4) + 1
    widened = {name: np.zeros((T, V), np.float32) for name in ("read", "u", "wv", "o")}
    with pytest.raises(ValueError, match=r"expected at most 16\.8 MB for the browser, got .* take fewer tokens"):
        payload.encode([replace(long, decay=long.decay[:1], k=long.k[:1], **widened)], ["x"] * T)


@pytest.mark.parametrize(
    ("slug", "method", "write"),
    [
        ("mamba", None, "(Δ ∘ v) kᵀ"),
        ("mamba", Discretisation.ZOH, "B̄ ∘ (v kᵀ)"),
        ("s4", None, "B̄ ∘ (v kᵀ)"),
        ("s4", Discretisation.MAMBA, "(Δ ∘ v) kᵀ"),
        ("deltanet", Discretisation.ZOH, "β v kᵀ"),
    ],
)
def test_the_write_is_named_as_the_chosen_discretisation_writes(
    slug: str, method: Discretisation | None, write: str
) -> None:
    run = trajectory([slug], stream(), discretisation=method)
    assert payload.terms(run.rules[0])["write"] == write
