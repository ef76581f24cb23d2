"""Pack what the player needs into one buffer: the rank-one factors, from which the browser replays every state.

The buffer is a little-endian uint32, the length of the header in bytes; the header, JSON padded with spaces to a
multiple of 4; and float32 arrays, little-endian, at offsets counted in floats from the end of the header. An axis of
size 1 stands for every token or channel. The browser repeats the kernel's arithmetic, each operation in float32:

    decayed = decay * S         taken = read k^T        erased = decayed - taken
    written = decayed + u k^T   added = (w v) k^T

so its numbers are those of the kernel in Triton's interpreter to the bit, at a small part of their size.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.choice import MOST_RULES
from gdn_core.equation import GateLetter, letters
from gdn_core.lab.answers import Answers
from gdn_core.lab.trajectory import Trajectory
from gdn_core.rules import Features, Gate, WriteRule

# Four rules at T = 256, V = K = 64 take 1.3 MB; 13.8 MB if two of them are S4 and Mamba, both under exact ZOH with a
# step for each channel, since keys and decays then differ in every entry of the memory.
MAX_BYTES = 16 * 2**20

Floats = np.ndarray  # converted to float32


@dataclass(frozen=True, kw_only=True)
class Factors:
    """One rule's run of a stream, as the factors of what each token did to its memory.

    Args:
        title: the rule's name, shown above its memory.
        slug: the rule's name in links and file names.
        decay: what the memory is multiplied by, [T or 1, V or 1, K or 1].
        k: keys, [T or 1, V or 1, K].
        read: what the decayed memory answered to the erase key, [T, V].
        u: error, what is written less what was read, [T, V].
        wv: what is written, [T, V].
        o: output, [T, V].
        initial: memory before the first token, [V, K]; None for zeros.
        normaliser: z before the first token and after each, [T + 1, K]; None for a rule that has none.
        decays: the rule has a decay.
        erases: the rule has an erase gate.
        terms: the terms of its equation by the stage that they are: decay, erase, write.
    """

    title: str
    slug: str
    decay: Floats
    k: Floats
    read: Floats
    u: Floats
    wv: Floats
    o: Floats
    initial: Floats | None = None
    normaliser: Floats | None = None
    decays: bool = True
    erases: bool = True
    terms: dict[str, str] = field(default_factory=dict)


def encode(
    rules: Sequence[Factors], labels: Sequence[str], *, answers: Answers | None = None, events: Sequence[str] = ()
) -> bytes:
    """Pack one to four rules that ran the same stream.

    Args:
        rules: their factors, all of the same T, V and K.
        labels: a name for each token, T of them.
        answers: what their memories answer in the values that were written, of the same tokens and rules; or nothing.
        events: what happens at each token in words, "" where nothing is to be said; T of them or none.

    Returns:
        The buffer that :func:`app.player.player` shows.

    Raises:
        ValueError: if the rules are none or too many, an array has another shape than its rule's errors and keys
            demand, or the buffer would be larger than MAX_BYTES.
    """
    if not 1 <= len(rules) <= MOST_RULES:
        raise ValueError(f"rules: expected 1 to {MOST_RULES}, got {len(rules)}")
    T, V = rules[0].u.shape
    K = rules[0].k.shape[-1]
    if len(labels) != T:
        raise ValueError(f"labels: expected one for each of {T} tokens, got {len(labels)}")

    parts: list[Floats] = []
    floats = 0

    def place(array: Floats) -> dict[str, object]:
        nonlocal floats
        part = np.ascontiguousarray(array, dtype="<f4")
        where = {"offset": floats, "shape": list(array.shape)}
        parts.append(part)
        floats += part.size
        return where

    described = []
    for rule in rules:
        arrays = _checked(rule, T, V, K)
        described.append(
            {
                "title": rule.title,
                "slug": rule.slug,
                "decays": rule.decays,
                "erases": rule.erases,
                "terms": rule.terms,
                "arrays": {name: place(array) for name, array in arrays.items()},
            }
        )
    described_stream = {
        "T": T,
        "V": V,
        "K": K,
        "labels": list(labels),
        "events": list(events),
        "rules": described,
        "answers": _named(answers, place) if answers else None,
    }
    described_stream["floats"] = floats
    body = b"".join(part.tobytes() for part in parts)
    # The browser compares digests to tell a rerun of the page with the same numbers from new ones.
    digest = hashlib.blake2b(json.dumps(described_stream).encode() + body, digest_size=16).hexdigest()
    header = json.dumps({"digest": digest, **described_stream}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 4)
    if len(header) + len(body) > MAX_BYTES:
        raise ValueError(
            f"payload: expected at most {MAX_BYTES / 1e6:.1f} MB for the browser, got {len(body) / 1e6:.1f} MB: "
            "take fewer tokens, channels or rules"
        )
    return struct.pack("<I", len(header)) + header + body


def of(
    trajectory: Trajectory,
    labels: Sequence[str],
    answers: Answers | None = None,
    *,
    events: Sequence[str] | None = None,
) -> bytes:
    """Pack a run of one to four rules.

    Args:
        trajectory: what the kernel recorded.
        labels: a name for each token.
        answers: what its memories answer, or nothing.
        events: what happens at each token in words; by default where a key is written again.

    Returns:
        The buffer that :func:`app.player.player` shows.

    Raises:
        ValueError: as :func:`encode`.
    """
    V = trajectory.sizes[1]
    rules = []
    for r, (rule, x) in enumerate(zip(trajectory.rules, trajectory.operands, strict=True)):
        initial = trajectory.states[r, 0]
        rules.append(
            Factors(
                title=rule.title,
                slug=rule.slug,
                decay=x.decay[:, :V],  # a normalised rule has one more value channel
                k=x.k[:, :V],
                read=trajectory.read[r],
                u=trajectory.u[r],
                wv=trajectory.wv[r],
                o=trajectory.o[r],
                initial=initial if initial.any() else None,
                normaliser=trajectory.normaliser[r] if rule.normalised else None,
                decays=rule.decay is not Gate.NONE,
                erases=rule.erase is not Gate.NONE,
                terms=terms(rule),
            )
        )
    return encode(rules, labels, answers=answers, events=_events(trajectory) if events is None else events)


def _named(answers: Answers, place: Callable[[Floats], dict[str, object]]) -> dict[str, object]:
    """Describe answers: names as JSON, and by ``place`` the numbers among the other arrays."""
    names = ("written", "asked", "left", "of", "shares", "named", "others", "total", "rest")
    return {
        "values": list(answers.values),
        "glyphs": [glyph and {"thing": glyph.thing, "bits": glyph.bits} for glyph in answers.glyphs],
        "keys": list(answers.keys),
        "queries": list(answers.queries),
        "arrays": {name: place(getattr(answers, name)) for name in names},
    }


def terms(rule: WriteRule) -> dict[str, str]:
    """Name the terms of a rule's equation by the stage that they are, in letters that need no typesetting.

    >>> from gdn_core.rules import GATED_DELTANET
    >>> terms(GATED_DELTANET)
    {'decay': 'α S', 'erase': 'β α S k kᵀ', 'write': 'β v kᵀ'}
    """
    token = letters(rule)[1]
    keys, vector = ("φ(k)", "φ(k)ᵀ") if rule.features is not Features.IDENTITY else ("k", "kᵀ")

    def gate(letter: GateLetter) -> str:
        plain = re.sub(r"_t|[{}]", "", letter.tex)
        greek = {"\\alpha": "α", "\\beta": "β", "\\theta": "θ", "\\gamma": "γ", "\\Delta": "Δ", "\\bar A": "Ā"}
        for tex, sign in greek.items():
            plain = plain.replace(tex, sign)
        return plain

    decayed = {
        Gate.NONE: "S",
        Gate.SCALAR: f"{gate(token.g)} S",
        Gate.KEY: f"S diag({gate(token.g)})",
        Gate.VALUE: f"diag({gate(token.g)}) S",
        Gate.MATRIX: f"{gate(token.g)} ∘ S",
    }[rule.decay]
    written = {
        Gate.NONE: f"v {vector}",
        Gate.SCALAR: f"{gate(token.w)} v {vector}",
        Gate.VALUE: f"({gate(token.w)} ∘ v) {vector}",
        Gate.MATRIX: f"B̄ ∘ (v {vector})",
    }[rule.write]
    taken = f"{gate(token.b)} {decayed} {keys} {vector}"
    if rule.erase is Gate.KEY:
        taken = f"{decayed} ({gate(token.b)} ∘ {keys}) {vector}"
    return {
        "decay": decayed,
        "erase": "" if rule.erase is Gate.NONE else taken,
        "write": written,
    }


def _events(trajectory: Trajectory) -> list[str]:
    """Say at each token whose key was written before what each kind of rule does to what is stored there."""
    rules = trajectory.rules
    written = np.asarray(trajectory.wv.any(axis=(0, 2)))
    adding = [rule.title for rule in rules if rule.erase is Gate.NONE]
    replacing = [rule.title for rule in rules if rule.erase is not Gate.NONE]
    ends = [(adding, "adds", "add"), (replacing, "replaces", "replace")]
    acts = "; ".join(f"{', '.join(names)} {one if len(names) == 1 else all_}" for names, one, all_ in ends if names)
    first: dict[bytes, int] = {}
    events = []
    for t, key in enumerate(trajectory.stream.k):
        before = first.get(key.tobytes()) if written[t] and key.any() else None
        events.append("" if before is None else f"the key of token {before} again: {acts}")
        if written[t]:
            first.setdefault(key.tobytes(), t)
    return events


def header(payload: bytes) -> dict:
    """Read the header of a buffer that :func:`encode` made."""
    (length,) = struct.unpack_from("<I", payload)
    return json.loads(payload[4 : 4 + length])


def _checked(rule: Factors, T: int, V: int, K: int) -> dict[str, Floats]:
    """Return the arrays of a rule by name, each of a shape that the browser can replay."""
    expected: dict[str, tuple[tuple[int, ...], ...]] = {
        "decay": ((1, T), (1, V), (1, K)),
        "k": ((1, T), (1, V), (K,)),
        "read": ((T,), (V,)),
        "u": ((T,), (V,)),
        "wv": ((T,), (V,)),
        "o": ((T,), (V,)),
        "initial": ((V,), (K,)),
        "normaliser": ((T + 1,), (K,)),
    }
    arrays = {name: getattr(rule, name) for name in expected if getattr(rule, name) is not None}
    for name, array in arrays.items():
        sizes = expected[name]
        if array.ndim != len(sizes) or any(n not in allowed for n, allowed in zip(array.shape, sizes, strict=True)):
            wanted = ", ".join(" or ".join(str(n) for n in sorted(set(allowed))) for allowed in sizes)
            raise ValueError(f"{name} of {rule.slug}: expected [{wanted}], got {list(array.shape)}")
    return arrays
