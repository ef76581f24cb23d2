"""Rules with two names."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.engines import arrays
from derivations.engines.algebra import Algebra
from derivations.engines.cases import symbols
from derivations.engines.written import entry, exp, phi1
from derivations.models.containment import edge
from derivations.models.state_space import Model
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Counterexample, EverySize, Sizes
from gdn_core import reference, ssm, streams
from gdn_core.equation import tex
from gdn_core.rules import DELTANET, FAST_WEIGHTS, LINEAR_ATTENTION, MAMBA, RETNET, S4, Discretisation, Gate, WriteRule


def against_published(rule: WriteRule) -> Any:
    """Compare the code's step at a rule's gates, as letters, with S + v k', and what it reads with S q."""
    a = Algebra("alpha beta")
    decay, gate = a.all_scalars()
    S, q, k, v = a.matrix("S", "V", "K"), a.vector("q", "K"), a.vector("k", "K"), a.vector("v", "V")
    x = arrays.token(
        q=q, k=k, v=v,
        decay=1 if rule.decay is Gate.NONE else decay,
        erase=0 if rule.erase is Gate.NONE else gate,
        write=1 if rule.write is Gate.NONE else gate,
    )  # fmt: skip
    after, o = reference.step(arrays.Array(S, 2), x, exp=arrays.exp)
    published = S + v @ k.T
    return [(after.word - published).normal(), (o.word - published @ q).normal()]


@claim(
    statement=lambda: (
        rf"\text{{{FAST_WEIGHTS.title}: }} {tex(FAST_WEIGHTS)}, \quad "
        rf"\text{{{LINEAR_ATTENTION.title.lower()}: }} {tex(LINEAR_ATTENTION)}"
    ),
    assumptions=("Both without what else their papers have: a squashing function, a feature map, a normaliser.",),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=cite("2102.11174", "secs. 2 and 3.1"),
    code=(reference.step,),
)
def fast_weights_are_linear_attention() -> Any:
    """A token of the fast weights of 1992 and one of linear attention do the same: they add v k', and read S q."""
    return [against_published(rule) for rule in (FAST_WEIGHTS, LINEAR_ATTENTION)]


@fast_weights_are_linear_attention.step(engine="ring", scope=Sizes(T=3, dk=3, dv=2))
def they_run_alike() -> Any:
    """Their tokens run alike."""
    return edge(FAST_WEIGHTS, LINEAR_ATTENTION)


@fast_weights_are_linear_attention.refute
def retnet_for_linear_attention() -> Any:
    """RetNet is taken for linear attention."""
    return against_published(RETNET)


@fast_weights_are_linear_attention.refute
def deltanet_for_fast_weights() -> Any:
    """DeltaNet, the fast weights of 2021, is taken for those of 1992."""
    return against_published(DELTANET)


# State space models.


def state_space(*, delta: tuple[float, ...] = (0.5, 0.5, 0.5)) -> streams.Stream:
    """Return a stream of three tokens for a memory of 2 x 3, in numbers that float64 holds exactly."""
    T, V, K = len(delta), 2, 3
    numbers = np.arange(1, T * K + 1, dtype=float).reshape(T, K) / 4
    none = np.zeros(T)
    A = -np.arange(1, V * K + 1, dtype=float).reshape(V, K) / 2
    return streams.Stream(
        q=numbers[::-1], k=numbers, v=numbers[:, :V] - 1, g=none, beta=none, w=none, delta=np.array(delta), A=A
    )


def as_mamba(stream: streams.Stream, discretisation: Discretisation) -> dict[str, Any]:
    """Return the differences between the tokens of a stream under S4 and under Mamba, exactly."""
    s4, mamba = streams.tokens(S4, stream), streams.tokens(MAMBA, stream, discretisation=discretisation)
    exactly = np.frompyfunc(Fraction, 1, 1)
    k = [x.w[:, :, None] * (x.k if x.k.ndim == 3 else x.k[:, None, :]) for x in (s4, mamba)]
    return {"g": exactly(s4.g) - exactly(mamba.g), "w k": exactly(k[0]) - exactly(k[1])}


def _fixed_step() -> str:
    x = ssm.tokens(*map(entry, ("u", r"\Delta", "A", "B", "C")), method=Discretisation.ZOH, phi1=phi1)
    return rf"\Delta_t = \Delta \;\Rightarrow\; (\bar A_t, \bar B_t) = ({exp(x.g).flat[0]}, {x.k.flat[0]})"


@claim(
    statement=_fixed_step,
    assumptions=("The two are discretised alike, by zero-order hold.",),
    scope=Sizes(T=3, dk=3, dv=2),
    engine="ring",
    source=cite("2312.00752", "sec. 3.2 and algorithms 1 and 2"),
    code=(ssm.tokens,),
    uses=("state_space_model_is_a_write_rule", "fixed_recurrence_is_a_convolution"),
)
def s4_is_mamba_with_a_fixed_step() -> Any:
    """S4 is Mamba with the same step at every token: h = Abar h + Bbar u with one Abar and one Bbar, entry by entry."""
    return Model(3, 2, 3, fixed=True).residual(Discretisation.ZOH)


@s4_is_mamba_with_a_fixed_step.step(
    engine="exact", scope=Counterexample("one stream of three tokens, of which every number is compared")
)
def the_tokens_of_both_rules() -> Any:
    """The code's tokens of a stream with a constant step are the same under both rules."""
    return as_mamba(state_space(), Discretisation.ZOH)


@s4_is_mamba_with_a_fixed_step.step(engine="ring", scope=Sizes(T=3, dk=3, dv=2))
def mamba_contains_retnet() -> Any:
    """Mamba with Delta = 1 and A = log gamma in every entry is RetNet."""
    case = symbols(RETNET, 3, 2, 3)
    gamma = case.x.g[:1, 0]  # [1, 1]
    one = 0 * case.x.v[:, :1] + 1
    x = ssm.tokens(case.x.v, one, np.broadcast_to(gamma, (2, 3)), case.x.k, case.x.q, method=Discretisation.MAMBA)
    wider = replace(case, x=x)
    return wider.compare(wider.run(reference.recurrent), case.run(reference.recurrent))


@s4_is_mamba_with_a_fixed_step.refute
def step_that_changes() -> Any:
    """The step is another one at each token: S4 cannot follow it."""
    return as_mamba(state_space(delta=(0.25, 0.5, 1.0)), Discretisation.ZOH)


@s4_is_mamba_with_a_fixed_step.refute
def discretised_as_mamba_is() -> Any:
    """Mamba keeps its own discretisation, whose input is Delta B."""
    return as_mamba(state_space(), Discretisation.MAMBA)
