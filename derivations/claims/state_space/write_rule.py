"""A diagonal state space model is a write rule of the matrix memory."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.engines import written
from derivations.engines.field import Field
from derivations.models.state_space import WIDTHS, Model, Widths, named, tokens_against_definition
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints, OverFields, Sizes
from gdn_core import reference, ssm
from gdn_core.equation import tex, tex_output
from gdn_core.rules import MAMBA, Discretisation


def _write_rule() -> str:
    zoh, mamba = (
        ssm.tokens(*map(written.entry, ("u", r"\Delta", "A", "B", "C")), method=method, phi1=written.phi1)
        for method in (Discretisation.ZOH, Discretisation.MAMBA)
    )
    shared = ", \\; ".join(f"{name} = {getattr(mamba, name).flat[0]}" for name in "gqv")
    keys = r" \text{ or } ".join(f"({x.k.flat[0]}, {x.w.flat[0]})" for x in (zoh, mamba))
    return (
        r"h_t = \bar A_t \odot h_{t-1} + \bar B_t \odot u_t, \; y_t = h_t C_t \quad\text{is}\quad "
        rf"{tex(MAMBA)}, \; {tex_output(MAMBA)} \quad\text{{with}}\quad {shared}, \; (k, w) = {keys}"
    )


@claim(
    statement=_write_rule,
    assumptions=(
        "$A$ is diagonal and real: one number a state, or one a channel and state.",
        r"$\bar B = \Delta \varphi_1(\Delta A) B$ (zero-order hold) gives each channel a key of its own; "
        r"$\bar B = \Delta B$ (Mamba's code) gives all of them the key $B$ and a write gate.",
    ),
    scope=Sizes(T=3, V=2, K=3),
    engine="ring",
    source=cite("2312.00752", "eq. 2a and Algorithm 2, sec. 3.2"),
    code=(ssm.tokens, reference.recurrent, reference.step),
    uses=("zoh_solves_the_held_equation",),
)
def state_space_model_is_a_write_rule() -> Any:
    """A diagonal state space model is a matrix memory: its rows are states, B is the key, C the query, Delta a gate."""
    return [Model(3, 2, 3).residual(method) for method in Discretisation]


@state_space_model_is_a_write_rule.step(engine="ring", scope=Sizes(T=2, V=2, K=3))
def with_delta_and_a_shared_by_the_channels() -> Any:
    """The same where Delta and A are given once for all channels."""
    return [Model(2, 2, 3, shared=True).residual(method) for method in Discretisation]


@state_space_model_is_a_write_rule.step(engine="ring", scope=Sizes(T=1, V=2, K=1))
def with_one_token_and_one_state() -> Any:
    """The same for a single token and a single state, where a wrong axis would broadcast without an error."""
    return [Model(1, 2, 1, shared=True).residual(method) for method in Discretisation]


@state_space_model_is_a_write_rule.step(engine="field", scope=OverFields(len(WIDTHS), named(WIDTHS)))
def tokens_of_every_width(rng: random.Random) -> Any:
    """The tokens are Delta A, Bbar, u and C entry by entry, whether Delta and A are shared by the channels or not."""
    numbers = Field(rng)
    return ({f"{sizes}:": tokens_against_definition(sizes, numbers)} for sizes in WIDTHS)


@state_space_model_is_a_write_rule.step(engine="exact", scope=AtPoints("T = 4, V = 2 and K = 3, in float64,"))
def parameters_left_at_their_defaults() -> Any:
    """With phi1 left out the tokens are those of the code's phi1, to the last bit."""
    exactly: Any = np.frompyfunc(Fraction, 1, 1)
    numbers = np.arange(1.0, 25.0)
    u, delta, A = numbers[:8].reshape(4, 2), numbers[:4, None] / 8, -numbers[:3][None]
    B, C = numbers[:12].reshape(4, 3), numbers[12:].reshape(4, 3)
    left_out, given = (
        ssm.tokens(u, delta, A, B, C, method=Discretisation.ZOH, **phi1) for phi1 in ({}, {"phi1": ssm.phi1})
    )
    return {name: exactly(getattr(left_out, name)) - exactly(getattr(given, name)) for name in "qkvgbw"}


@state_space_model_is_a_write_rule.refute
def tokens_of_shared_steps_for_wide_ones(rng: random.Random) -> Any:
    """The step of the first channel is taken for all of them."""
    return tokens_against_definition(
        Widths(3, 4, 2, 4, 4), Field(rng), lambda u, delta, *others, **kw: ssm.tokens(u, delta[:, :1], *others, **kw)
    )


@state_space_model_is_a_write_rule.refute
def step_missing_in_the_key() -> Any:
    """The key is phi_1(Delta A) B."""
    wrong = planted(ssm.tokens, "delta[:, :, None] * phi1(g)", "phi1(g)")
    return Model(2, 2, 2).residual(Discretisation.ZOH, wrong)


@state_space_model_is_a_write_rule.refute
def input_map_for_output_map() -> Any:
    """B is read with, and C written with."""
    wrong = planted(ssm.tokens, "Token(q=C, k=B, v=u", "Token(q=B, k=C, v=u")
    return Model(2, 2, 2).residual(Discretisation.MAMBA, wrong)


@state_space_model_is_a_write_rule.refute
def something_erased() -> Any:
    """The erase gate is one: the token erases, which a state space model does not."""
    wrong = planted(ssm.tokens, "v=u, g=g, b=none, w=delta", "v=u, g=g, b=none + 1, w=delta")
    return Model(2, 2, 2).residual(Discretisation.MAMBA, wrong)
