"""Preset streams: each shows one effect, and says what to look for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios.rows import SHUT, TokenRow, many
from gdn_core.lab.scenarios.scenario import Scenario, scenario_of
from gdn_core.lab.scenarios.settings import Settings
from gdn_core.lab.text import direction, gaussians, of_token
from gdn_core.ops.checks import check_choice
from gdn_core.rules import RULES, WriteRule


@dataclass(frozen=True)
class Preset:
    """A stream that shows one effect.

    Args:
        slug: its name in a link.
        title: its name on a page.
        look_for: what to look for, true of the stream that its own settings make; a sentence names only rules that it
            is true of, so that :func:`about` can leave it out where they are not shown.
        settings: the settings it is meant for.
        rules: the slugs worth comparing on it.
        rows: makes the tokens of any settings, with notes.
        panel: the chart that shows the effect: "recall", "size" (norm and rank) or "spectrum".
        meant: the value that the key of each token should answer from that token on, [T, V]; None: the value written.
    """

    slug: str
    title: str
    look_for: str
    settings: Settings
    rules: tuple[str, ...]
    rows: Callable[[Settings], tuple[list[TokenRow], list[str]]]
    panel: str = "recall"
    meant: Callable[[Scenario], np.ndarray] | None = None

    def build(self, settings: Settings | None = None) -> Scenario:
        """Make the scenario, by default with the preset's own settings."""
        settings = settings or self.settings
        rows, notes = self.rows(settings)
        call = f"scenarios.from_preset({self.slug!r}, settings)"
        made = scenario_of(rows, settings, title=self.title, look_for=self.look_for, notes=notes, call=call)
        return replace(made, meant=self.meant(made)) if self.meant else made


def _axis(i: int, size: int) -> np.ndarray:
    """Return the i-th unit vector: a key that is written to one column of the memory alone."""
    return np.eye(size)[i]


def _at_right_angles(seed: int, count: int, size: int, start: int = 0) -> list[tuple[float, ...]]:
    """Return unit keys orthogonal to the first ``start`` axes and, as far as possible, to each other.

    The first ones are the remaining axes, so that each pair is seen in a column of its own. When no direction is left,
    a new block begins: a random rotation, orthogonal within the block.
    """
    found: list[tuple[float, ...]] = []
    basis = np.eye(size)
    used = start
    for i in range(count):
        if used == size:
            used = start
        axis = start + i
        x = _axis(axis, size) if axis < size else direction(seed, "key", f"direction {i}", size)
        if used < size:  # false if the first axes span the space
            for _ in range(2):  # twice, against rounding
                x = x - (basis[:used] @ x) @ basis[:used]
            x = x / np.sqrt((x * x).sum())
            basis[used] = x
            used += 1
        found.append(tuple(x.tolist()))
    return found


def _collision(settings: Settings) -> tuple[list[TokenRow], list[str]]:
    """Store as many pairs as there are tokens, the first dk keys orthogonal."""
    keys = _at_right_angles(settings.seed, settings.T, settings.dk)
    notes = ["Every token asks for the first key."]
    if settings.dk >= settings.T:
        notes.append(f"T = {settings.T} pairs fit into dk = {settings.dk}: raise T or lower dk for a collision.")
    rows = [
        TokenRow(key=key, value=of_token("value", t), query=keys[0], label=f"pair {t}") for t, key in enumerate(keys)
    ]
    return rows, notes


def _overwrite(settings: Settings) -> tuple[list[TokenRow], list[str]]:
    """Write one key twice, the other keys orthogonal to it."""
    again = settings.T // 2
    others = _at_right_angles(settings.seed, settings.T, settings.dk, start=1)
    cell = tuple(_axis(0, settings.dk).tolist())
    rows = [
        TokenRow(key=other, value=f"value {i}", query=cell, label=f"other key → value {i}")
        for i, other in enumerate(others)
    ]
    rows[0] = TokenRow(key=cell, value="first value", label="the key → first value")
    notes = [f"Token {again} writes the key of token 0 again. Every token asks for that key."]
    if settings.T > 1:
        rows[again] = TokenRow(key=cell, value="second value", label="the key → second value")
    else:
        notes = ["T = 1: the key is written once; it takes T = 2 to write it again."]
    return rows, notes + _one_direction(settings)


def _recency(settings: Settings) -> tuple[list[TokenRow], list[str]]:
    """Store pairs with orthogonal keys, so that only the decay weakens them."""
    keys = _at_right_angles(settings.seed, settings.T, settings.dk)
    notes = ["Every token asks for the first key."]
    if settings.dk < settings.T:
        notes.append(f"T = {settings.T} pairs do not fit into dk = {settings.dk}: later keys collide with earlier.")
    rows = [
        TokenRow(key=key, value=of_token("value", t), query=keys[0], label=f"pair {t}") for t, key in enumerate(keys)
    ]
    return rows, notes


def _ignored(settings: Settings) -> tuple[list[TokenRow], list[str]]:
    """Close every gate at one token."""
    at = settings.T // 2
    rows = [TokenRow(key=of_token("key", t), value=of_token("value", t)) for t in range(settings.T)]
    rows[at] = replace(SHUT, key="noise", value="noise", label="noise, to be ignored")
    return rows, [f"At token {at} delta, beta and write are 0 and alpha is 1. Every token asks for its own key."]


def _reset(settings: Settings) -> tuple[list[TokenRow], list[str]]:
    """Reset the memory at one token, which stores nothing."""
    at = settings.T // 2
    first = of_token("key", 0)
    rows = [TokenRow(key=of_token("key", t), value=of_token("value", t), query=first) for t in range(settings.T)]
    rows[at] = TokenRow(query=first, alpha=2.0**-40, delta=LIMITS.delta, label="reset")
    notes = [f"At token {at} alpha is 2^-40, delta {LIMITS.delta:g}, nothing is stored. Every token asks for {first}."]
    if settings.T == 1:
        notes.append("T = 1: the reset is the only token, and there is nothing to forget.")
    return rows, notes


def _correlated(settings: Settings) -> tuple[list[TokenRow], list[str]]:
    """Store pairs whose keys share most of their direction."""
    common = _axis(0, settings.dk)
    own = _at_right_angles(settings.seed, settings.T, settings.dk, start=1)
    rows = []
    for t, x in enumerate(own):
        key = math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * np.array(x)
        key = key / np.sqrt((key * key).sum())
        rows.append(TokenRow(key=tuple(key.tolist()), value=of_token("value", t), label=f"pair {t}"))
    return rows, [f"Cosine between two keys: {SHARED:g}. Every token asks for its own key.", *_one_direction(settings)]


SHARED = 0.8  # cosine between two of the correlated keys


def _long(settings: Settings) -> tuple[list[TokenRow], list[str]]:
    """Give a few keys new values again and again, in another order each time."""
    count = max(1, min(settings.dk * 3 // 4, settings.T))
    rows: list[TokenRow] = []
    for time in range(math.ceil(settings.T / count)):
        order = np.argsort(gaussians(settings.seed, "order", str(time), count), kind="stable")
        rows += [TokenRow(key=f"key {i + 1}", value=f"value {time + 1} of key {i + 1}") for i in order]
    notes = [f"{many(count, 'key')}, each with a new value every {count} tokens. Every token asks for its own key."]
    return rows[: settings.T], notes


def _parity(settings: Settings) -> tuple[list[TokenRow], list[str]]:
    """Store one pair, then erase its key with beta at every 1 of a stream of bits."""
    bits = gaussians(settings.seed, "bits", "", settings.T) > 0
    rows = [TokenRow(key="switch", beta=None if bit else 0.0, label="1" if bit else "0") for bit in bits]
    rows[0] = TokenRow(key="switch", value="on", beta=1.0, label="switch → on")
    return rows, ["After the first token every token is a bit: at a 1 beta acts, at a 0 it is 0. No value is written."]


def _signed(made: Scenario) -> np.ndarray:
    """Return the first value with its sign flipped at every 1 so far: the sign is the parity of the ones."""
    signs = np.cumprod([-1.0 if label == "1" else 1.0 for label in made.labels])
    return signs[:, None] * made.stream.v[0]


def _one_direction(settings: Settings) -> list[str]:
    """Note that with one key channel all keys are parallel."""
    return [] if settings.dk > 1 else ["dk = 1: there is one direction, so all keys are the same up to their sign."]


def about(text: str, rules: Sequence[WriteRule]) -> str:
    """Return the sentences of a text that speak of no other rules than these.

    >>> about("A key comes twice. DeltaNet replaces. Gated DeltaNet does too.", [RULES["deltanet"]])
    'A key comes twice. DeltaNet replaces.'
    """
    titles = sorted((rule.title for rule in RULES.values()), key=len, reverse=True)  # not DeltaNet in Gated DeltaNet
    named = re.compile("|".join(map(re.escape, titles)), re.IGNORECASE)
    shown = {rule.title.lower() for rule in rules}
    sentences = re.split(r"(?<=[.]) ", text)
    return " ".join(said for said in sentences if {name.lower() for name in named.findall(said)} <= shown)


#: The presets by their slugs; the first is what the lab starts with.
PRESETS: dict[str, Preset] = {
    preset.slug: preset
    for preset in (
        Preset(
            slug="collision",
            title="More pairs than dk",
            look_for="The first dk keys are the axes: each pair fills a column of its own. From then on no "
            "direction is free. Linear attention answers every key exactly up to there, and then blurs all, the "
            "newest too. DeltaNet with beta = 1 answers the newest exactly at all times, and from there on older "
            "ones worse.",
            settings=Settings(dk=16, dv=16, T=32, alpha=0.98),
            rules=("linear-attention", "mamba-2", "deltanet", "gated-deltanet"),
            rows=_collision,
        ),
        Preset(
            slug="overwrite",
            title="The same key written twice",
            look_for="Watch column 0, where the key of token 0 is written again. At the second write linear "
            "attention holds the sum of both values. Mamba-2 holds the second value plus what its decay has left of "
            "the first. DeltaNet with beta = 1 holds the second value alone: it takes away what the key answered "
            "before it writes. Gated DeltaNet with beta = 1 holds the second value alone too, and its decay fades "
            "what stands in other columns.",
            settings=Settings(dk=16, dv=16, T=16, alpha=0.95),
            rules=("linear-attention", "mamba-2", "deltanet", "gated-deltanet"),
            rows=_overwrite,
        ),
        Preset(
            slug="recency",
            title="Recency",
            look_for="The keys are the axes, a column each, so nothing collides. Linear attention answers all of "
            "them exactly. DeltaNet answers all of them exactly. Under RetNet an answer shrinks by alpha at every "
            "token after its own, whatever it says: new pairs outweigh old ones. Under Gated DeltaNet an answer "
            "shrinks by alpha at every token after its own.",
            settings=Settings(dk=16, dv=16, T=16, alpha=0.8),
            rules=("linear-attention", "retnet", "deltanet", "gated-deltanet"),
            rows=_recency,
        ),
        Preset(
            slug="ignore",
            title="A token to be ignored",
            look_for="At the token in the middle the gates are shut. Mamba (delta = 0) leaves the memory exactly "
            "as it was. Gated DeltaNet (beta = 0, alpha = 1) leaves the memory exactly as it was. Linear attention "
            "has no gate to shut, and writes the token like any other. RetNet has none that follows the token, and "
            "writes it like any other.",
            settings=Settings(dk=16, dv=16, T=16, alpha=0.95, delta=0.5),
            rules=("linear-attention", "retnet", "mamba", "gated-deltanet"),
            rows=_ignored,
            panel="size",
        ),
        Preset(
            slug="reset",
            title="A reset",
            look_for="At the token in the middle alpha is almost 0, and delta large. The norm of Gated DeltaNet "
            "falls to almost nothing. The norm of Mamba falls to almost nothing. DeltaNet has no decay and keeps "
            "everything. RetNet has a decay that cannot follow the token, and keeps everything.",
            settings=Settings(dk=16, dv=16, T=24, alpha=0.98, delta=0.5),
            rules=("retnet", "mamba", "deltanet", "gated-deltanet"),
            rows=_reset,
            panel="size",
        ),
        Preset(
            slug="correlated",
            title="Correlated keys",
            look_for="Any two keys share most of their direction, column 0. Linear attention answers every key "
            "with nearly the same sum of all values. DeltaNet writes only what the key does not answer yet: the "
            "newest pair is exact, and the older ones are far closer than without an erase.",
            settings=Settings(dk=16, dv=16, T=12, alpha=0.98),
            rules=("linear-attention", "mamba-2", "deltanet", "gated-deltanet"),
            rows=_correlated,
        ),
        Preset(
            slug="long",
            title="A long stream",
            look_for="A few keys get new values again and again. The norm of linear attention keeps growing, "
            "roughly with the square root of the tokens. The norm of Mamba-2 levels off, because it forgets. The "
            "norm of DeltaNet levels off, because it overwrites. The norm of Gated DeltaNet levels off, because it "
            "does both.",
            settings=Settings(dk=16, dv=16, T=256, alpha=0.97),
            rules=("linear-attention", "mamba-2", "deltanet", "gated-deltanet"),
            rows=_long,
            panel="size",
        ),
        Preset(
            slug="parity",
            title="Beta = 2: counting by sign",
            look_for="With beta = 2 an erase is a reflection. DeltaNet's answer changes its sign at every 1, and "
            "tells whether the ones so far are even or odd. Linear attention has nothing to write here and stays as "
            "it was.",
            settings=Settings(dk=8, dv=8, T=24, alpha=1.0, beta=2.0),
            rules=("linear-attention", "deltanet", "gated-deltanet"),
            rows=_parity,
            panel="spectrum",
            meant=_signed,
        ),
    )
}


def from_preset(slug: str, settings: Settings | None = None) -> Scenario:
    """Make the scenario of a preset.

    Args:
        slug: one of :data:`PRESETS`.
        settings: every field is used; by default the preset's own.

    Raises:
        ValueError: if there is no such preset.
    """
    return PRESETS[check_choice("preset", slug, PRESETS)].build(settings)
