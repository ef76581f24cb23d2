"""Make a scenario from one head of given arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from gdn_core.lab.limits import LIMITS, check_ranges, check_stream, check_window
from gdn_core.lab.scenarios.reading import Reading, named, oriented
from gdn_core.lab.scenarios.rows import TokenRow, many
from gdn_core.lab.scenarios.scenario import Scenario, diagonal, lengths_of
from gdn_core.lab.scenarios.settings import Settings
from gdn_core.ops.checks import LAYOUTS, Dimensions, check_integer, check_layout, shown
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
    reading: Reading = Reading(),  # noqa: B008  # it is frozen
) -> Scenario:
    """Make a scenario from one head of given arrays; no noise is added, and vectors are normalised only if asked for.

    Args:
        arrays: k [B, T, H, K] alone, or with v [B, T, HV, V], q as k, g and beta [B, T, HV] or [B, T, HV, K], w and
            delta [B, T, HV] or [B, T, HV, V]; g is a log decay in nats; alpha = exp(g) may be given instead.
            All arrays may lack B, or B and heads, or have heads before tokens. Defaults: v and q are k, w is beta, and
            gates that are still missing come from the settings.
        settings: alpha, beta, write and delta stand for missing gates; the other fields are not used.
        head: the value head, 0 to HV - 1; the heads of q and k are shared by HV / H value heads each.
        batch: the sequence, 0 to B - 1.
        start: the first token of the window.
        length: tokens of the window; by default as many as there are, at most ``LIMITS.tokens``.
        channels: keep only the first so many key and value channels; by default all.
        reading: the role of each array, the order of axes, and the transformations.

    Raises:
        TypeError: if an array that is used holds something other than floating-point numbers.
        ValueError: if arrays disagree, a number is NaN, infinite or out of range, there is no such head, sequence or
            window, or the memory would pass the limits.
    """
    layer = layer_of(arrays, reading)
    sizes = layer.sizes
    batch, head = layer.checked(batch, head)
    start = check_integer("start", start, 0, sizes.T - 1)
    most = min(sizes.T - start, LIMITS.tokens)
    length = most if length is None else check_integer("length", length, 1, most)
    kept, of_head = layer.of_head(batch, head, channels)
    stop = start + length
    check_ranges({name: x[start:stop] for name, x in of_head.items()}, start=start)
    lengths = lengths_of(np.asarray(of_head["k"][start:stop], dtype=float))
    if reading.normalise:
        of_head |= {name: normalised(of_head[name]) for name in ("q", "k") if name in of_head}
    notes = [*layer.notes, layer.read_as, *_notes_of_window(sizes.T, start, length, reading.from_empty)]
    notes += _notes_of_channels(kept, sizes.K, sizes.V)
    K, V = of_head["k"].shape[1], of_head["v"].shape[1]
    check_window(T=length, K=K, V=V)
    whole = filled(of_head, settings, sizes.T, K)
    stream = whole.window(start, stop)
    # Copies: a window that is kept must not keep the arrays that it is cut from.
    stream = Stream(**{f.name: np.array(getattr(stream, f.name), dtype=float) for f in fields(Stream)})
    check_stream(stream, LIMITS)
    notes += _notes_of_missing(of_head, settings)
    notes += _notes_of_lengths(lengths, stream, normalise=reading.normalise)
    asked = {"head": head, "batch": batch, "start": start, "length": length, "channels": channels}
    call = f"scenarios.from_arrays(given, settings, {', '.join(f'{k}={v!r}' for k, v in asked.items())}"
    if reading != Reading():
        call += f", reading=scenarios.{reading!r}"
    return Scenario(
        stream=stream,
        labels=tuple(f"token {t} of the stream" if start else f"token {t}" for t in range(start, stop)),
        title="Arrays",
        look_for="How the memory of this head fills, and which keys it still answers.",
        notes=tuple(notes),
        settings=settings,
        rows=_rows_of_stream(stream),
        call=f"{call})",
        inactive=_inactive(of_head),
        whole=whole,
        start=start,
        from_empty=reading.from_empty,
        key_lengths=lengths,
        reading=replace(reading, names=tuple(layer.roles.items()), axes=layer.axes or reading.axes),
        read_as=layer.read_as,
    )


@dataclass(frozen=True, eq=False)
class Layer:
    """Arrays that were found out to be q, k, v and so on, in the API's order of axes.

    Args:
        arrays: by the names of the API's layout, k and v among them; g may hold decays, see ``decays``.
        roles: the name of the array in each role.
        sizes: what the arrays agree on.
        axes: the order of axes they came in, "" where tokens and channels are all there is.
        decays: g holds decays, alpha, and not their logarithms.
        read_as: how the axes were read, in words.
        notes: what stands for what, and what was left, a sentence each.
    """

    arrays: dict[str, np.ndarray]
    roles: dict[str, str]
    sizes: Dimensions
    axes: str
    decays: bool
    read_as: str
    notes: tuple[str, ...]

    def checked(self, batch: int, head: int) -> tuple[int, int]:
        """Return a sequence and a head.

        Raises:
            ValueError: if there is no such sequence or head.
        """
        head = check_integer("head", head, 0, self.sizes.HV - 1)
        return check_integer("batch", batch, 0, self.sizes.B - 1), head

    def of_head(self, batch: int, head: int, channels: int | None) -> tuple[int, dict[str, np.ndarray]]:
        """Return how many channels are kept at most, and the arrays of one head, [T] or [T, channels], g a logarithm.

        Raises:
            ValueError: if there are more channels than the limits have and none are left out, or a decay is no decay.
        """
        kept = LIMITS.channels if channels is None else check_integer("channels", channels, 1, LIMITS.channels)
        if channels is None:
            for name, what, n in (("k", "key", self.sizes.K), ("v", "value", self.sizes.V)):
                if n > kept:
                    raise ValueError(
                        f"{name}: expected at most {kept} {what} channels, got {n}; "
                        f"channels = {kept} keeps the first ones"
                    )
        rank, found = len(self.arrays["k"].shape), {}
        for name, x in self.arrays.items():
            x = np.asarray(x)
            x = x[None] if rank == 3 else x[None, :, None] if rank == 2 else x
            x = x[batch, :, head // (self.sizes.HV // self.sizes.H if name in ("q", "k") else 1)]
            found[name] = x[:, :kept] if x.ndim == 2 else x
        if self.decays:
            found["g"] = _log("alpha", found["g"])
        return kept, found


def layer_of(arrays: Mapping[str, np.ndarray], reading: Reading) -> Layer:
    """Find out which array is which and in which order their axes are.

    Raises:
        TypeError: if an array that is used holds something other than floating-point numbers.
        ValueError: if there are no keys, or arrays disagree.
    """
    roles = named(arrays, reading)
    known = {role: arrays[name] for role, name in roles.items()}
    notes = _notes_of_names(arrays, roles)
    if "k" not in known:
        given = shown(", ".join(map(str, arrays)), 80)
        raise ValueError(f"k: expected an array of keys, got none; the arrays given are {given}")
    if "v" not in known:
        known["v"] = known["k"]
        notes.append("No v: every token stores its own key.")
    decays = known.pop("alpha", None)
    if decays is not None and "g" in known:
        notes.append("Both g and alpha were given: g is used.")
        decays = None
    elif decays is not None:
        known["g"] = decays
    known, order, ambiguous = oriented(known, reading.axes)
    sizes = check_layout(known, ranks=(4, 3, 2))
    return Layer(
        known,
        roles,
        sizes,
        "" if len(known["k"].shape) == 2 else order,
        decays is not None,
        _note_of_axes(order, sizes, ambiguous and reading.axes == "auto"),
        tuple(notes),
    )


def normalised(x: np.ndarray) -> np.ndarray:
    """Divide vectors, [T, K], by their lengths, in float64.

    Source: flash-linear-attention 0.6.0, ``l2norm``: x * rsqrt(sum x^2 + eps) with eps = 1e-6.
    """
    x = np.asarray(x, dtype=float)
    return x / np.sqrt(np.einsum("tk,tk->t", x, x) + 1e-6)[:, None]


def _log(name: str, x: np.ndarray) -> np.ndarray:
    """Return the logarithms of decays, which lie in (0, 1]."""
    x = np.asarray(x, dtype=float)
    if not bool(((x > 0) & (x <= 1)).all()):
        place = tuple(int(i) for i in np.argwhere(~((x > 0) & (x <= 1)))[0])
        raise ValueError(f"{name}: expected decays above 0 and at most 1, got {x[place]:g} at {list(place)}")
    return np.log(x)


def filled(given: Mapping[str, np.ndarray], settings: Settings, T: int, K: int) -> Stream:
    """Make the stream of a head, with gates from the settings where there is no array."""

    def even(value: float) -> np.ndarray:
        return np.broadcast_to(value, (T,))

    beta = given.get("beta", even(settings.beta))
    if "w" in given:
        w = given["w"]
    elif "beta" in given:
        w = beta.mean(axis=1, dtype=float) if beta.ndim == 2 else beta
    else:
        w = even(settings.write)
    return Stream(
        q=given.get("q", given["k"]),
        k=given["k"],
        v=given["v"],
        g=given.get("g", even(math.log(settings.alpha))),
        beta=beta,
        w=w,
        delta=given.get("delta", even(settings.delta)),
        A=diagonal(K),
    )


def _inactive(given: Mapping[str, np.ndarray]) -> frozenset[str]:
    """Return the settings that are not used: sizes come from the arrays, and so do the gates that are given."""
    brought = {"alpha": ("g",), "beta": ("beta",), "write": ("w", "beta"), "delta": ("delta",)}
    gates = {name for name, arrays in brought.items() if any(array in given for array in arrays)}
    return frozenset(gates | {"dk", "dv", "T", "spread", "noise", "seed"})


def _notes_of_names(arrays: Mapping[str, np.ndarray], roles: Mapping[str, str]) -> list[str]:
    """Note which arrays are used under another name, and which are not used."""
    notes = []
    if other := [f"{role} is {shown(name)}" for role, name in roles.items() if role != name]:
        notes.append(f"Read by their names: {', '.join(other)}.")
    if left := sorted(str(name) for name in arrays if name not in roles.values()):
        notes.append(f"Left out, not being one of {', '.join(LAYOUTS)}: {shown(', '.join(left), 80)}.")
    return notes


def _note_of_axes(order: str, sizes: Dimensions, ambiguous: bool) -> str:
    """Note how the axes were read."""
    heads = many(sizes.H, "head")
    if sizes.H != sizes.HV:
        heads = f"{many(sizes.H, 'key head')}, {many(sizes.HV, 'value head')}"
    said = {
        "B": many(sizes.B, "sequence"),
        "T": many(sizes.T, "token"),
        "H": heads,
        "K": f"{many(sizes.K, 'key channel')}, {many(sizes.V, 'value channel')}",
    }
    note = f"Read as [{', '.join(order)}]: {', '.join(said[axis] for axis in order)}."
    if not ambiguous:
        return note
    other = order.replace("TH", "HT") if "TH" in order else order.replace("HT", "TH")
    return f"{note} Their sizes allow [{', '.join(other)}] too: axes = {other} reads them so."


def _notes_of_window(T: int, start: int, length: int, from_empty: bool) -> list[str]:
    """Note which tokens are shown, and how the memory before them was found."""
    if length == T:
        return []
    shows = f"Windowed: tokens {start:,} to {start + length - 1:,} of {T:,}."
    if start == 0:
        return [shows]
    shows += f" Here t = 0 is token {start:,} of the stream."
    if from_empty:
        return [f"{shows} As asked, the memory is empty before them."]
    return [f"{shows} The memory before them is computed from the {many(start, 'token')} before."]


def _notes_of_channels(kept: int, K: int, V: int) -> list[str]:
    """Note which channels were dropped."""
    notes = []
    if kept < K:
        notes.append(f"Narrowed: the first {kept} of {K} key channels, which changes what the memory answers.")
    if kept < V:
        notes.append(f"Narrowed: the first {kept} of {V} value channels; a value channel never depends on the others.")
    return notes


def _notes_of_lengths(lengths: tuple[float, float, float], stream: Stream, *, normalise: bool) -> list[str]:
    """Note the lengths of keys that are not 1, and what they do to a delta rule."""
    notes = []
    low, middle, high = lengths
    if normalise:
        notes.append(
            f"Keys and queries were divided by their lengths; those of the keys were {low:.3g} to {high:.3g}, "
            f"median {middle:.3g}."
        )
    elif not 0.99 <= low <= high <= 1.01:
        notes.append(f"Keys are not of length 1: {low:.3g} to {high:.3g}, median {middle:.3g}.")
    beta = stream.beta.mean(axis=1) if stream.beta.ndim == 2 else stream.beta
    longest = float((beta * (stream.k**2).sum(axis=1)).max())
    if longest > 2:
        notes.append(
            f"beta |k|^2 reaches {longest:.3g}: above 2 a delta rule amplifies what it should erase. "
            "Models divide keys by their lengths first."
        )
    return notes


def _notes_of_missing(window: Mapping[str, np.ndarray], settings: Settings) -> list[str]:
    """Note the defaults used for arrays that were not given."""
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
    """Write a stream as token rows; a gate for each channel becomes its mean."""

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
