"""Shares of answers against least squares, the reference on values that are names, and cases known by hand."""

from dataclasses import replace

import numpy as np
import pytest

from gdn_core import reference, streams
from gdn_core.lab import scenarios
from gdn_core.lab.answers import LEAST_NAMED, MOST_KEYS, MOST_NAMED, MOST_VALUES, Answers, answers, coefficients, words
from gdn_core.lab.scenarios import Settings, TokenRow
from gdn_core.lab.trajectory import Trajectory, trajectory
from gdn_core.rules import RULES, Gate
from tests.gdn_core.lab.test_metrics import replace_rules

ALIKE = [slug for slug, rule in RULES.items() if Gate.MATRIX not in (rule.decay, rule.write)]
T, K = 45, 5  # more tokens than a chunk has


def stream(T: int, V: int, seed: int = 0) -> streams.Stream:
    rng = np.random.default_rng(seed)
    k = rng.normal(size=(T, K))
    return streams.Stream(
        q=rng.normal(size=(T, K)),
        k=k / np.linalg.norm(k, axis=1, keepdims=True),
        v=rng.normal(size=(T, V)),
        g=-rng.uniform(0, 0.2, (T, K)),
        beta=rng.uniform(0, 1.5, (T, K)),
        w=np.repeat(rng.uniform(0.1, 2, (T, 1)), V, axis=1),  # the same for all value channels
        delta=rng.uniform(0.1, 1, (T, V)),
        A=-rng.uniform(0.1, 2, (V, K)),
    )


def named(run: Trajectory, values: list[str] | None = None) -> Answers:
    """The answers of a run whose tokens have names."""
    T = len(run.stream.k)
    rows = [TokenRow(key=f"key {t}", value=value) for t, value in enumerate(values or [f"v{t}" for t in range(T)])]
    return answers(run, rows, [""] * T)


def told(found: Answers, r: int, t: int, p: int = 0) -> dict[str, float]:
    """The shares of one answer, by the names of values."""
    pairs = zip(found.of[r, t, p], found.shares[r, t, p], strict=True)
    return {found.values[n]: float(share) for n, share in pairs if abs(share) > 1e-6}


@pytest.mark.parametrize("slug", ALIKE)
def test_coefficients_are_the_least_squares_fit_where_values_are_independent(slug: str) -> None:
    run = trajectory(slug, stream(T, V=T + 3), backend="torch")
    c = coefficients(run, 0, run.tokens[0].q[:, None])[:, 0]
    for t in (0, 1, 31, 32, T - 1):
        fit = np.linalg.lstsq(run.stream.v[: t + 1].T, run.o[0, t].astype(float), rcond=None)[0]
        np.testing.assert_allclose(c[t, : t + 1], fit, atol=2e-5 * max(1, np.abs(fit).max()))
        assert not c[t, t + 1 :].any()


@pytest.mark.parametrize("slug", ALIKE)
def test_coefficients_are_the_answers_of_a_memory_whose_values_are_names(slug: str) -> None:
    """Far more values than value channels: no fit could tell them apart, and the recurrence does."""
    run = trajectory(slug, stream(T, V=3), backend="torch")
    x = run.tokens[0]
    v = np.eye(T + RULES[slug].normalised)[:T]
    if RULES[slug].normalised:
        v[:, -1] = 1
    one = replace(x, v=v, w=x.w.mean(axis=1, keepdims=True))
    _, o = reference.recurrent(np.zeros((v.shape[1], K)), one)
    want = streams.answer(RULES[slug], o)
    got = coefficients(run, 0, x.q[:, None])[:, 0]
    np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(want).max())


def test_the_same_key_written_twice_answers_both_values_or_the_new_one_and_a_decay_leaves_them_faint() -> None:
    n = 6
    rows = [TokenRow(key="city", value="paris")] + [TokenRow(value=None, query="city")] * n
    both = [*rows, TokenRow(key="city", value="lyon")]
    made = scenarios.from_table([{"key": r.key, "value": r.value, "query": r.query} for r in both], Settings(alpha=0.9))
    rules = ["linear-attention", "mamba-2", "deltanet", "gated-deltanet"]
    found = answers(trajectory(rules, made.stream, backend="torch"), made.rows, made.labels)
    faded = 0.9 ** np.arange(n + 2)
    for t in range(n + 1):
        for r, want in enumerate((1, faded[t], 1, faded[t])):
            assert told(found, r, t) == pytest.approx({"paris": want}, abs=1e-6)
            assert found.total[r, t, 0] == pytest.approx(want)
    last = n + 1
    assert told(found, 0, last) == pytest.approx({"paris": 0.5, "lyon": 0.5}, abs=1e-6)
    whole = 1 + faded[last]
    assert told(found, 1, last) == pytest.approx({"lyon": 1 / whole, "paris": faded[last] / whole}, abs=1e-6)
    for r in (2, 3):
        assert told(found, r, last) == pytest.approx({"lyon": 1.0}, abs=1e-6)
    assert np.abs(found.rest).max() < 1e-4


def test_a_value_that_several_tokens_wrote_is_one_and_a_turned_sign_stays() -> None:
    key = np.ones((4, 1))
    v = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, -2.0]])
    one = np.ones(4)
    given = streams.Stream(key, key, v, 0 * one, one, one, one, -np.ones(1))
    run = trajectory("linear-attention", given, backend="torch")
    found = named(run, ["a", "b", "a", "b"])
    assert found.values == ("a", "b")
    assert told(found, 0, 2) == pytest.approx({"a": 2 / 3, "b": 1 / 3})
    turned = trajectory("deltanet", scenarios.from_preset("parity").stream, backend="torch")
    made = scenarios.from_preset("parity")
    shares = answers(turned, made.rows, made.labels).shares[0, :, 0, 0]
    signs = np.cumprod([-1.0 if label == "1" else 1.0 for label in made.labels])
    np.testing.assert_allclose(shares, signs, atol=1e-5)


def test_under_more_pairs_than_channels_the_newest_is_whole_for_the_delta_rule_and_many_for_linear_attention() -> None:
    made = scenarios.from_preset("collision")
    found = answers(trajectory(["linear-attention", "deltanet"], made.stream, backend="torch"), made.rows, made.labels)
    last = len(made.rows) - 1
    assert told(found, 1, last, 1) == pytest.approx({"value₃₁": 1.0}, abs=1e-4)  # the first key asked is the newest
    c = made.stream.k @ made.stream.k[0]
    want = np.abs(c) / np.abs(c).sum()
    assert found.shares[0, last, 0, 0] == pytest.approx(want.max(), rel=1e-5)
    assert found.total[0, last, 0] == pytest.approx(1)
    named = int((np.sort(want)[::-1][:MOST_NAMED] >= 0.05).sum())
    assert found.named[0, last, 0] == named
    assert found.others[0, last, 0] == pytest.approx(1 - np.sort(want)[::-1][:named].sum(), abs=1e-5)
    assert found.of.shape[-1] == MOST_VALUES


def test_what_no_value_explains_is_said(ran_rowwise: tuple[Trajectory, Answers]) -> None:
    run, found = ran_rowwise
    c = coefficients(run, 0, run.tokens[0].q[:, None])[:, 0]
    o = run.o[0].astype(float)
    want = np.linalg.norm(o - c @ run.stream.v, axis=1) / np.linalg.norm(o, axis=1)
    assert want.max() > 0.05
    np.testing.assert_allclose(found.rest[0, :, 0], want, rtol=1e-3, atol=1e-5)
    given = stream(9, V=4)
    start = np.ones((4, K), np.float32)
    before = named(trajectory("linear-attention", given, initial_state=start, backend="torch"))
    old = start @ given.q[0]
    o = old + given.v[0] * (given.k[0] @ given.q[0])
    assert before.rest[0, 0, 0] == pytest.approx(np.linalg.norm(old) / np.linalg.norm(o), rel=1e-4)


@pytest.fixture
def ran_rowwise() -> tuple[Trajectory, Answers]:
    run = trajectory("mamba", stream(9, V=4), backend="torch")
    return run, named(run)


def test_a_rule_with_a_gate_for_each_value_channel_is_explained_whole_where_they_are_alike() -> None:
    given = stream(9, V=4)
    given = replace(given, delta=given.delta[:, :1].repeat(4, axis=1), A=given.A[:1].repeat(4, axis=0))
    for slug in set(RULES) - set(ALIKE):
        assert named(trajectory(slug, given, backend="torch")).rest.max() < 1e-4


def test_the_keys_written_so_far_are_listed_newest_first_and_the_others_are_counted() -> None:
    made = scenarios.from_preset("overwrite")
    found = answers(trajectory("deltanet", made.stream, backend="torch"), made.rows, made.labels)
    assert found.asked[0].tolist() == [0] + [-1] * (MOST_KEYS - 1)
    assert found.asked[7].tolist() == [7, 6, 5, 4, 3, 2]
    assert found.left[7] == 2
    assert found.asked[8].tolist() == [8, 7, 6, 5, 4, 3]  # token 8 writes the key of token 0 again
    assert found.left[8] == 2
    assert found.keys[8] == found.keys[0] == "key of token 0"
    assert set(found.queries) == {"key of token 0"}
    assert found.values[found.written[8]] == "second value"
    assert told(found, 0, 8, 2) == pytest.approx({"value 7": 1.0}, abs=1e-5)
    asks = scenarios.from_text("a = 1\nb = 2", Settings())
    found = answers(trajectory("deltanet", asks.stream, backend="torch"), asks.rows, asks.labels)
    assert found.queries == ("a", "b", "a", "b")
    assert found.written.tolist() == [0, 1, -1, -1]


def test_each_listed_key_is_asked_of_the_memory_it_stands_beside() -> None:
    run = trajectory(["gated-deltanet", "linear-attention-normalised"], stream(12, V=20), backend="torch")
    found = named(run)
    for r, rule in enumerate(run.rules):
        for t in (0, 5, 11):
            for p, j in enumerate(found.asked[t]):
                if j < 0:
                    continue
                ask = streams.featured(rule, run.stream.k[j])
                said = run.states[r, t + 1].astype(float) @ ask
                if rule.normalised:
                    said /= run.normaliser[r, t + 1] @ ask
                fit = np.linalg.lstsq(run.stream.v[: t + 1].T, said, rcond=None)[0]
                want = fit / max(1, np.abs(fit).sum())
                most = np.abs(want).argmax()
                assert found.of[r, t, p + 1, 0] == most
                assert found.shares[r, t, p + 1, 0] == pytest.approx(want[most], abs=1e-4)


@pytest.mark.parametrize("slug", ["linear-attention", "gated-deltanet", "kimi-delta-attention"])
@pytest.mark.parametrize("t", [0, 31, 32, 40])
def test_after_one_token_every_key_is_asked_and_the_shares_are_those_of_the_fit(slug: str, t: int) -> None:
    run = trajectory(slug, stream(T, V=T + 3), backend="torch")
    rows = [TokenRow(key=f"key {s}", value=f"v{s}") for s in range(T)]
    found = answers(run, rows, [""] * T, token=t)
    assert list(found.asked[t]) == list(range(t, -1, -1))
    assert (np.delete(found.asked, t, axis=0) == -1).all()
    for p, s in enumerate(found.asked[t], start=1):
        said = run.states[0, t + 1].astype(float) @ run.stream.k[s]
        fit = np.linalg.lstsq(run.stream.v[: t + 1].T, said, rcond=None)[0]
        shares = fit / max(1, np.abs(fit).sum())
        for name, share in told(found, 0, t, p).items():
            assert abs(share - shares[int(name[1:])]) < 1e-4, (p, name)
        most = int(np.abs(shares).argmax())
        if abs(shares[most]) >= LEAST_NAMED:
            assert f"v{most} {shares[most]:.2f}".replace("-", "\N{MINUS SIGN}") in words(found, 0, t, p)


def test_a_memory_that_overflows_has_no_shares_and_arrays_have_words_without_pictures() -> None:
    rng = np.random.default_rng(0)
    made = scenarios.from_arrays({"k": 3 * rng.normal(size=(150, 6)), "beta": np.ones(150)}, Settings())
    run = trajectory(["mamba-2", "deltanet"], made.stream, backend="torch")
    found = answers(run, made.rows, made.labels)
    assert np.isnan(found.shares[1, -1]).all()
    assert np.isfinite(found.shares[0]).all()
    assert set(found.glyphs) == {None}
    assert found.values[0] == f"{made.labels[0]}'s value"


def test_a_rule_alone_has_the_answers_that_it_has_beside_others() -> None:
    run = trajectory(["retnet", "kimi-delta-attention"], stream(T, V=4), backend="torch")
    both, alone = named(run), named(replace_rules(run, 1))
    np.testing.assert_array_equal(both.shares[1], alone.shares[0])
