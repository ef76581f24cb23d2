"""The sizes, and the widths of gates, at which the forms with gates by channel are checked; this needs no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

from derivations.models import torch_sizes
from derivations.models.torch_sizes import (
    HEADS,
    MANY_HEADS,
    MANY_SEQUENCES,
    MANY_SPANS,
    PACKED,
    SHORT_AND_LONG,
    WIDE,
    WIDTHS,
    Size,
)
from gdn_core.rules import GATED_DELTANET, Gate, WriteRule

CHUNKS = (1, 2, 4, 8, 16, 32, 64)  # powers of 2, since blocks are halved


def gated(decay: Gate, erase: Gate, write: Gate, *, tied: bool = False) -> WriteRule:
    """Return a rule with gates of these widths."""
    return replace(GATED_DELTANET, decay=decay, erase=erase, write=write, tied=tied)


_NONE, _SCALAR, _KEY, _VALUE = Gate.NONE, Gate.SCALAR, Gate.KEY, Gate.VALUE
KDA, GDN2 = gated(_KEY, _SCALAR, _SCALAR, tied=True), gated(_KEY, _KEY, _VALUE)
GLA = gated(_KEY, _NONE, _NONE)
_OF_MEMORY = (
    (_KEY, _VALUE, False), (_SCALAR, _SCALAR, True), (_SCALAR, _VALUE, False), (_NONE, _NONE, False),
    (_KEY, _SCALAR, False), (_NONE, _VALUE, False), (_SCALAR, _SCALAR, False), (_NONE, _SCALAR, False),
)  # fmt: skip
#: Every width of the decay with every one of the erase and the write gate, as far as the functions take them.
EVERY_WIDTH = tuple(
    gated(decay, erase, write, tied=tied) for erase, write, tied in _OF_MEMORY for decay in (_KEY, _SCALAR, _NONE)
)
#: Those in which a gate has a number for each channel, or the write gate is one of its own.
BY_CHANNEL = tuple(rule for rule in EVERY_WIDTH if rule.decay is _KEY or rule.writes_w)


def _turns(sizes: tuple[Size, ...], rules: tuple[WriteRule, ...]) -> tuple[Size, ...]:
    """Return sizes with rules, which take turns."""
    return tuple(replace(size, rule=rule) for size, rule in zip(sizes, cycle(rules), strict=False))


def _every_chunk_size() -> Iterator[Size]:
    """Yield for every chunk size: T < C, one chunk, one token more; for C <= 32 two, nearly three, and for 8 six."""
    widths = cycle(WIDTHS)
    for C in CHUNKS:
        for chunks, rest, most in ((1, -1, 64), (1, 0, 64), (1, 1, 64), (2, 0, 32), (3, -1, 32), (6, 1, 8)):
            T = chunks * C + rest
            if T > 0 and most >= C and (chunks < 6 or most == C):
                K, V = next(widths)
                yield Size(T, K, V, C, HV=2)


#: As small as they can be, and of them those with K = V first, at which wrong code leaves numbers and does not raise.
SMALL = (
    *(Size(T, K, K, 2, HV=2, rule=rule) for rule, T, K in ((GDN2, 3, 2), (KDA, 4, 2), (GLA, 3, 3), (GDN2, 5, 1))),
    *_turns((Size(7, 3, 2, 4, H=2, HV=4), Size(11, 2, 5, 4, B=2, remembers=False)) * 12, EVERY_WIDTH),
)
SWEEP = _turns(tuple(_every_chunk_size()), EVERY_WIDTH[::-1] + EVERY_WIDTH[:1])
SPANS = (Size(257, 5, 3, rule=GDN2), Size(530, 2, 3, HV=2, rule=KDA))  # of the functions as they stand
REAL = (Size(150, 64, 48, HV=2, rule=GDN2),)
GROUPED = _turns(HEADS, (GDN2, KDA, gated(_SCALAR, _KEY, _SCALAR), GLA))
SEQUENCES = (
    *_turns(PACKED[:2], (GDN2, KDA)), Size(20, 3, 3, 8, lengths=(20,), rule=gated(_SCALAR, _SCALAR, _VALUE)),
    Size(20, 3, 2, 8, lengths=(9, 0, 9), rule=gated(_NONE, _NONE, _SCALAR)), *_turns(
        (Size(12, 2, 3, 4, lengths=(5, 5, 1)),) * len(BY_CHANNEL), BY_CHANNEL),
)  # fmt: skip
_MORE = BY_CHANNEL[::-1]
MANY = (*_turns(MANY_SPANS, _MORE), *_turns(WIDE, _MORE), *_turns(MANY_HEADS, _MORE))
MANY_PACKED = _turns(MANY_SEQUENCES, _MORE)
STEPS = _turns(SHORT_AND_LONG, BY_CHANNEL)
#: Without a write gate everything is written, whatever is erased.
WRITES_ALL = (
    Size(6, 3, 2, B=2, rule=gated(_SCALAR, _SCALAR, _NONE)), Size(5, 2, 3, HV=2, rule=gated(_KEY, _KEY, _NONE)),
)  # fmt: skip
TYPES = _turns(torch_sizes.TYPES, (GDN2, KDA, GLA))
#: Where tokens clear channels of the memory.
RESETS = _turns(
    (
        Size(5, 2, 2, 2, HV=2, resets=True), Size(5, 3, 2, 2, HV=2, B=2, remembers=False, resets=True),
        Size(21, 3, 2, 2, H=2, HV=4, B=2, resets=True), Size(19, 5, 3, 4, lengths=(7, 0, 4, 7), resets=True),
        Size(9, 3, 2, 2, lengths=(4, 0, 4), resets=True), Size(9, 1, 2, 4, resets=True),
        Size(41, 2, 3, 8, resets=True), Size(40, 3, 2, HV=2, resets=True),
    ),
    (GDN2, GLA, KDA, gated(_SCALAR, _KEY, _VALUE), gated(_KEY, _NONE, _VALUE), gated(_SCALAR, _SCALAR, _SCALAR)),
)  # fmt: skip
#: As many sequences as tokens: in each of them another token's log decays outweigh all others together.
OUTWEIGHED = _turns(
    tuple(Size(T, 2, 1, C, B=T) for C, T in ((1, 3), (2, 5), (4, 9), (8, 17), (16, 17), (32, 33))), (GDN2, KDA, GLA)
)
TOKEN_BY_TOKEN = (
    Size(1, 2, 2, rule=GDN2), Size(2, 1, 1, HV=2, rule=KDA), Size(17, 5, 3, H=2, HV=4, B=2, rule=GDN2),
    *_turns((Size(6, 3, 2, B=2), Size(3, 2, 3, HV=2, B=2, remembers=False)) * 12, EVERY_WIDTH),
)  # fmt: skip
