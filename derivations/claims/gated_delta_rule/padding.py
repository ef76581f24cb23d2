"""A token of zeros leaves the memory unchanged, so a chunk may be padded with such tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivations.claim import every_rule
from derivations.engines import arrays
from derivations.engines.algebra import Algebra
from derivations.engines.cases import symbols
from derivations.engines.trees import Expr
from derivations.models.gated_chunk import decays
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes
from gdn_core import reference
from gdn_core.reference import Token
from gdn_core.rules import WriteRule


@claim(
    statement=lambda: (
        r"k = 0,\; v = 0,\; b = 0,\; g = 0 \;\Rightarrow\; \operatorname{step}(S, x) = "
        rf"({', '.join(end.normal().tex() for end in padded()[2:])})"
    ),
    assumptions=(
        "The write gate may be anything: a rule without one writes everything, and there is nothing to write.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=cite("2412.06464", "sec. 3.3"),
    code=(reference.step, reference.chunk),
    rules=every_rule,
)
def padding_leaves_the_memory() -> Any:
    """A token whose key, value, erase gate and log decay are zero leaves the memory exactly as it was.

    Its output is what the memory answers.
    """
    return _padding_in_words()


def padded(*, decay: str | int = 1, value: bool = False, key: bool = False) -> tuple[Expr, Expr, Expr, Expr]:
    """Return a memory and its answer, and both after a padding token; fields that are named are not zeroed."""
    a = Algebra("omega alpha")
    S, q = a.matrix("S", "V", "K"), a.vector("q", "K")
    x = arrays.token(
        q=q,
        k=a.vector("k", "K") if key else a.zero("K", "1"),
        v=a.vector("v", "V") if value else a.zero("V", "1"),
        decay=a.scalar(decay) if isinstance(decay, str) else decay,
        write=a.scalar("omega"),
    )
    after, o = reference.step(arrays.Array(S, 2), x, exp=arrays.exp)
    return S, S @ q, after.word, o.word


def _padding_in_words(**wrong: Any) -> Any:
    before, read, after, o = padded(**wrong)
    return {"S": (after - before).normal(), "o": (o - read).normal()}


@padding_leaves_the_memory.step(engine="ring", scope=Sizes(C=4, dk=3, dv=2))
def a_padded_chunk_is_the_chunk(rule: WriteRule) -> Any:
    """A chunk padded with two such tokens has the memory and the outputs of its own tokens."""
    return padded_against_chunk(rule, ("k", "v", "g", "b"))


def padded_against_chunk(rule: WriteRule, zeroed: tuple[str, ...]) -> Any:
    """Zero the named fields of the last two of four tokens, and compare with the chunk of the first two."""
    case = symbols(rule, 4, 2, 3)
    fields = {name: getattr(case.x, name) for name in ("q", "k", "v", "g", "b", "w")}
    kept = np.array([1, 1, 0, 0])
    for name in zeroed:
        fields[name] = kept.reshape(4, *[1] * (fields[name].ndim - 1)) * fields[name]
    S, o = reference.chunk(case.S, Token(**fields), exp=case.exp, stack=case.stack)
    return case.compare((S, o[:2]), reference.chunk(case.S, case.x[:2], exp=case.exp, stack=case.stack))


@padding_leaves_the_memory.refute
def padding_that_decays() -> Any:
    """The log decay is not zeroed."""
    return _padding_in_words(decay="alpha")


@padding_leaves_the_memory.refute
def padding_that_writes() -> Any:
    """Only the erase gate and the log decay are zero: a rule without a write gate still writes."""
    return _padding_in_words(key=True, value=True)


@padding_leaves_the_memory.refute(rules=decays)
def padding_that_decays_in_a_chunk(rule: WriteRule) -> Any:
    """The log decays of the padding tokens are not zeroed."""
    return padded_against_chunk(rule, ("k", "v", "b"))
