"""One head of one's own arrays as a scenario."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gdn_core.lab.limits import LIMITS, check_ranges, check_stream, check_window
from gdn_core.lab.scenarios.rows import TokenRow
from gdn_core.lab.scenarios.scenario import Scenario, diagonal
from gdn_core.lab.scenarios.settings import Settings
from gdn_core.ops.checks import LAYOUTS, check_integer, check_layout, shown
from gdn_core.streams import Stream


def from_arrays(
    arrays: Mapping[str, np.ndarray],
    settings: Settings,
    *,
    head: int = 0,
    batch: int = 0,
    start: int = 0,
    length: int | None = None,
    channels: int | None = None,
) -> Scenario:
    """Make a stream of one head of one's own arrays, as they are: no noise is added and nothing is normalised.

    Args:
        arrays: k [B, T, H, K] alone, or with v [B, T, HV, V], q as k, g and beta [B, T, HV] or [B, T, HV, K], w and
            delta [B, T, HV] or [B, T, HV, V]; g is a log decay in nats. All without B, or without B and heads, also do.
            What is missing: v is k, q is k, w is beta, and if that is missing too the gates are the settings'.
        settings: alpha, beta, write and delta for what is missing; the others do not act.
        head: the value head, 0 to HV - 1; the heads of q and k are shared by HV / H value heads each.
        batch: the sequence, 0 to B - 1.
        start: the first token of the window.
        length: tokens of the window; by default as many as there are, at most ``LIMITS.tokens``.
        channels: keep only so many key channels and value channels, the first; by default all.

    Raises:
        TypeError: if an array holds something other than floating-point numbers.
        ValueError: if arrays disagree, a number is NaN, infinite or out of range, there is no such head, sequence or
            window, or the memory would pass the limits.
    """
    known = {name: arrays[name] for name in LAYOUTS if name in arrays}
    notes = []
    if others := sorted(set(arrays) - set(known)):
        notes.append(f"Left out, not being one of {', '.join(LAYOUTS)}: {shown(', '.join(map(str, others)), 80)}.")
    if "k" not in known:
        given = shown(", ".join(map(str, arrays)), 80)
        raise ValueError(f"k: expected an array of keys, got none; the arrays given are {given}")
    if "v" not in known:
        known["v"] = known["k"]
        notes.append("No v: every token stores its own key.")
    sizes = check_layout(known, ranks=(4, 3, 2))
    if (rank := len(known["k"].shape)) < 4:
        notes.append("Read as [T, H, K]: one sequence." if rank == 3 else "Read as [T, K]: one sequence of one head.")
    head, batch = check_integer("head", head, 0, sizes.HV - 1), check_integer("batch", batch, 0, sizes.B - 1)
    start = check_integer("start", start, 0, sizes.T - 1)
    most = min(sizes.T - start, LIMITS.tokens)
    length = most if length is None else check_integer("length", length, 1, most)
    kept = LIMITS.channels if channels is None else check_integer("channels", channels, 1, LIMITS.channels)
    if channels is None:
        for name, what, n in (("k", "key", sizes.K), ("v", "value", sizes.V)):
            if n > kept:
                raise ValueError(
                    f"{name}: expected at most {kept} {what} channels, got {n}; channels = {kept} keeps the first ones"
                )
    window = {}
    for name, x in known.items():
        x = np.asarray(x)
        x = x[None] if rank == 3 else x[None, :, None] if rank == 2 else x
        shared = sizes.HV // sizes.H if name in ("q", "k") else 1
        x = x[batch, start : start + length, head // shared].astype(float)
        window[name] = x[:, :kept] if x.ndim == 2 else x
    check_ranges(window, start=start)
    notes += _notes_of_window(sizes.T, start, length, kept, sizes.K, sizes.V)
    K, V = window["k"].shape[1], window["v"].shape[1]
    check_window(T=length, K=K, V=V)
    even = np.ones(length)
    beta = window.get("beta", settings.beta * even)
    mean = beta.mean(axis=1) if beta.ndim == 2 else beta
    stream = Stream(
        q=window.get("q", window["k"]),
        k=window["k"],
        v=window["v"],
        g=window.get("g", math.log(settings.alpha) * even),
        beta=beta,
        w=window.get("w", mean if "beta" in window else settings.write * even),
        delta=window.get("delta", settings.delta * even),
        A=diagonal(K),
    )
    check_stream(stream, LIMITS)
    notes += _notes_of_missing(window, settings)
    longest = float((mean * (stream.k**2).sum(axis=1)).max())
    if longest > 2:
        notes.append(
            f"beta |k|^2 reaches {longest:.3g}: above 2 a delta rule amplifies what it should erase. "
            "Models divide keys by their lengths first."
        )
    asked = {"head": head, "batch": batch, "start": start, "length": length, "channels": channels}
    return Scenario(
        stream=stream,
        labels=tuple(f"token {t}" for t in range(start, start + length)),
        title="Arrays",
        look_for="How the memory of this head fills, and which keys it still answers.",
        notes=tuple(notes),
        settings=settings,
        rows=_rows_of_stream(stream),
        call=f"scenarios.from_arrays(given, settings, {', '.join(f'{k}={v!r}' for k, v in asked.items())})",
    )


def _notes_of_window(T: int, start: int, length: int, kept: int, K: int, V: int) -> list[str]:
    """Say what of the arrays is not shown."""
    notes = []
    if length < T:
        notes.append(f"Windowed: tokens {start} to {start + length - 1} of {T:,}; the memory is empty before them.")
    if kept < K:
        notes.append(f"Narrowed: the first {kept} of {K} key channels, which changes what the memory answers.")
    if kept < V:
        notes.append(f"Narrowed: the first {kept} of {V} value channels; a value channel never depends on the others.")
    return notes


def _notes_of_missing(window: Mapping[str, np.ndarray], settings: Settings) -> list[str]:
    """Say what stands for the arrays that were not given."""
    stands = {
        "q": "q is k",
        "g": f"g is log({settings.alpha:g})",
        "beta": f"beta is {settings.beta:g}",
        "w": "w is beta" if "beta" in window else f"w is {settings.write:g}",
        "delta": f"delta is {settings.delta:g}",
    }
    missing = [sentence for name, sentence in stands.items() if name not in window]
    return [f"Not given: {', '.join(missing)}."] if missing else []


def _rows_of_stream(stream: Stream) -> tuple[TokenRow, ...]:
    """Write a stream as rows; a gate per channel as its mean."""

    def means(x: np.ndarray) -> list[float]:
        return [float(n) for n in (x.mean(axis=1) if x.ndim == 2 else x)]

    gates = zip(means(stream.g), means(stream.beta), means(stream.w), means(stream.delta), strict=True)
    vectors = zip(stream.k.tolist(), stream.v.tolist(), stream.q.tolist(), strict=True)
    return tuple(
        TokenRow(
            key=tuple(k),
            value=tuple(v),
            query=None if k == q else tuple(q),
            alpha=max(math.exp(g), 5e-324),
            beta=beta,
            write=w,
            delta=delta,
        )
        for (k, v, q), (g, beta, w, delta) in zip(vectors, gates, strict=True)
    )
