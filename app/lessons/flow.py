"""Pictures of the layer around the memory, with a text that flows through it."""

from __future__ import annotations

import numpy as np

from app.lessons.frame import Numbers, many, quoted, said
from app.reel.panels import Bars, Curves, Edge, Graph, Line, Map, Maps, Node, Reel
from gdn_core.lab.studies.softmax import MODELS

NODES = {
    "x": Node(name="tokens in", x=1, y=0), "qkv": Node(name="q, k, v", x=0, y=1), "z": Node(name="gate z", x=2, y=1),
    "ba": Node(name="b, a", x=1, y=1), "conv": Node(name="short convolution", x=0, y=2),
    "silu": Node(name="SiLU", x=0, y=3), "norm": Node(name="L2 norm", x=0, y=4), "gates": Node(name="β, α", x=1, y=4),
    "memory": Node(name="memory", x=1, y=5), "out": Node(name="gated norm", x=2, y=4),
    "y": Node(name="output", x=2, y=5),
}  # fmt: skip
#: From where to where, and the names of what flows there.
EDGES = (
    ("x", "qkv", ("mixed",)), ("qkv", "conv", ("mixed",)), ("conv", "silu", ("conv",)), ("silu", "norm", ("active",)),
    ("norm", "memory", ("query", "key", "value")), ("x", "ba", ("b", "a")), ("ba", "gates", ("b", "a")),
    ("gates", "memory", ("beta", "alpha")), ("memory", "out", ("o",)), ("x", "z", ("z",)), ("z", "out", ("z",)),
    ("out", "y", ("gated",)),
)  # fmt: skip

def _ticks(numbers: Numbers) -> tuple[str, ...]:
    return tuple(f"{t}, {word}" for t, word in enumerate(numbers["word"]))


def _maps(title: str, arrays: dict[str, np.ndarray], columns: str = "channel", small: int = 150) -> Maps:
    """Return arrays [T, ...] as maps of the tokens so far, one row a token."""
    T = len(next(iter(arrays.values())))
    so_far = np.tri(T)[:, :, None]
    maps = tuple(Map(name=name, values=so_far * array.reshape(T, -1)) for name, array in arrays.items())
    return Maps(title=title, rows="token", columns=columns, small=small, maps=maps)


def draw_flow(numbers: Numbers, text: str) -> Reel:
    """Draw what flows along each arrow of the layer."""
    places, T = list(NODES), len(numbers["word"])
    flows = [np.concatenate([numbers[name].reshape(T, -1) for name in names], axis=1) for _, _, names in EDGES]
    told = [f"From {NODES[start].name} to {NODES[end].name}: {many(T, 'token')} of {many(x.shape[1], 'channel')}, "
            f"numbers from {said(x.min())} to {said(x.max())}."
            for (start, end, _), x in zip(EDGES, flows, strict=True)]
    widest = max(x.shape[1] for x in flows)
    padded = np.stack([np.pad(x, ((0, 0), (0, widest - x.shape[1])), constant_values=np.nan) for x in flows])
    edges = tuple(Edge(start=places.index(start), end=places.index(end)) for start, end, _ in EDGES)
    graph = Graph(title="The layer", nodes=tuple(NODES.values()), edges=edges, lit=np.arange(len(EDGES)),
                  dashes=(("solid", "numbers flow"),))
    flow = Maps(title="What flows there; hatched: no such channel", rows="token", columns="channel",
                small=340, maps=(Map(name="all tokens", values=padded),), limit=2.0)
    ticks = tuple(f"{NODES[start].name} → {NODES[end].name}" for start, end, _ in EDGES)
    return Reel(panels=(graph, flow), counts="arrow", ticks=ticks, said=tuple(told))


def draw_convolution(numbers: Numbers, text: str, channel: int) -> Reel:
    """Draw a channel, and all of them, through convolution and SiLU."""
    told = [f"Token {t}, {quoted(word)}: " + " + ".join(f"({said(term)})" for term in terms)
            + f" = {said(conv)} in channel {channel}, the last term its own. SiLU makes {said(active)} of it."
            for t, (word, terms, conv, active) in enumerate(
                zip(*(numbers[name] for name in ("word", "terms", "conv", "active")), strict=True))]
    styles = {"before": ("before", "dot"), "conv": ("convolved", "dash"), "active": ("after SiLU", "solid")}
    lines = tuple(
        Line(name=name, y=numbers[key], colour=n, dash=dash) for n, (key, (name, dash)) in enumerate(styles.items())
    )
    chart = Curves(title=f"Channel {channel}", x=numbers["token"], lines=lines, x_title="token", y_title="number",
                   at=numbers["token"], bottom=float(min(numbers[key].min() for key in styles)))
    channels = dict(zip(("before", "convolved", "after SiLU"), numbers["all"], strict=True))
    return Reel(panels=(chart, _maps("All channels: q, k, then v", channels, small=200)), counts="token",
                ticks=_ticks(numbers), said=tuple(told), start=min(3, len(told) - 1))


def draw_gates(numbers: Numbers, text: str) -> Reel:
    """Draw the gates of a token, and queries and keys of length 1."""
    beta, alpha = numbers["beta"], numbers["alpha"]
    told = [f"Token {t}, {quoted(word)}: a key of length {said(numbers['raw'][t])} becomes one of {said(length)}. "
            + ", ".join(f"{'hH'[not h]}ead {h} has β = {said(beta[t, h])} and keeps {said(alpha[t, h])} of its memory"
                        for h in (0, 1)) + "."
            for t, (word, length) in enumerate(
                zip(numbers["word"], numbers["normed_key"], strict=True))]
    bars = Bars(title="The gates of this token", groups=("β", "α"), names=("head 0", "head 1"), y_title="gate",
                values=np.stack([beta, alpha], axis=1), bottom=0.0, top=1.0)
    both = _maps("After the L2 norm", {"query": numbers["query"], "key": numbers["key"]})
    return Reel(panels=(bars, both), counts="token", ticks=_ticks(numbers), said=tuple(told), start=len(told) // 2)


def draw_memory(numbers: Numbers, text: str, head: str) -> Reel:
    """Draw the memory of a head, and its answers."""
    S, o = numbers["memory"], numbers["o"]
    lengths, answers = numbers["held"], numbers["answered"]
    told = [f"Token {t}, {quoted(word)}: the memory of head {head} has length {said(lengths[t])}, before it "
            f"{said(lengths[t - 1] if t else 0.0)}. Its query gets an answer of length {said(answers[t])}."
            for t, word in enumerate(numbers["word"])]
    memory = Maps(title=f"The memory of head {head}", rows="value channel", columns="key channel", small=260,
                  maps=(Map(name="S", values=S),))
    return Reel(panels=(memory, _maps("Its answers", {"o": o}, small=200)), counts="token", ticks=_ticks(numbers),
                said=tuple(told), start=len(told) - 1)


def draw_out(numbers: Numbers, text: str) -> Reel:
    """Draw the way from the answers to the output."""
    rms, opened, leaves = (numbers[name] for name in ("rms", "opened", "leaves"))
    told = [f"Token {t}, {quoted(word)}: the norm divides the answers of the heads by {said(rms[t, 0])} and "
            f"{said(rms[t, 1])}. After the gate {said(opened[t])} of them is left on average, and what leaves has "
            f"length {said(leaves[t])}." for t, word in enumerate(numbers["word"])]
    stages = {"answers": "o", "normed": "normed", "gate z": "z", "gated": "gated", "output": "y"}
    maps = _maps("From the answers to the output, both heads", {name: numbers[key] for name, key in stages.items()})
    return Reel(panels=(maps,), counts="token", ticks=_ticks(numbers), said=tuple(told), start=len(told) // 2)


def draw_parameters(numbers: Numbers, model: str) -> Reel:
    """Draw the parameters of a layer, part by part."""
    m, count, total = MODELS[model], numbers["count"], int(numbers["total"])
    kept = int(numbers["memory"])
    told = [f"{m.title}, {part}: {rows:,} by {columns:,}, {n:,} numbers, {said(100 * n / total)} % of the {total:,} of "
            f"a layer. Its memories have {kept:,}, and of {m.linear + m.softmax} layers {m.linear} are such."
            for part, rows, columns, n in zip(*(numbers[x] for x in ("part", "rows", "columns", "count")), strict=True)]
    groups = "q, k, v", "gate z", "β, α", "conv.", "A, δ", "norm", "output"  # short, for a phone
    bars = Bars(title="Parameters of a layer, in millions", groups=groups, names=("parameters",),
                values=np.tri(len(count))[:, :, None] * count[:, None] / 1e6, y_title="millions", bottom=0.0)
    return Reel(panels=(bars,), counts="part", ticks=tuple(numbers["part"]), said=tuple(told), start=len(told) - 1)
