"""The lineage as data: the gates with which each architecture writes to its matrix memory.

A rule gives the width of each of its three gates, and where the gates come from. The arithmetic is written once, in
:mod:`gdn_core.reference`; the equation of a rule is printed from that arithmetic by :mod:`gdn_core.equation`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum


class Gate(Enum):
    """The width of a gate on a memory of V value channels by K key channels."""

    NONE = "none"  # the gate is absent: no decay, nothing erased, or everything written
    SCALAR = "scalar"  # one number for the whole memory
    KEY = "key"  # one number for each key channel, a column of the memory
    VALUE = "value"  # one number for each value channel, a row of the memory
    MATRIX = "matrix"  # one number for each entry of the memory

    def shape(self, V: int, K: int) -> tuple[int, int]:
        """Return the gate's shape, ready to broadcast against a [V, K] memory."""
        return V if self in (Gate.VALUE, Gate.MATRIX) else 1, K if self in (Gate.KEY, Gate.MATRIX) else 1


class Clock(Enum):
    """Whether a rule's gates are constants or computed from the token."""

    FIXED = "fixed"  # constants of the layer, the same at every token
    TOKEN = "token"  # computed from the token: the rule is selective


class Discretisation(Enum):
    """How a continuous-time rule turns h' = A h + B u, sampled every Delta, into gates (:mod:`gdn_core.ssm`)."""

    ZOH = "zoh"  # zero-order hold, exact for an input held over the step: Bbar = Delta phi_1(Delta A) B
    MAMBA = "mamba"  # the decay of ZOH and the input of Euler, as Mamba's code has it: Bbar = Delta B


class Integrator(Enum):
    """How a delta rule steps along dS/ds = g S + beta (v - S k) k^T to get its gates (:mod:`gdn_core.integrators`)."""

    IMPLICIT = "implicit"  # implicit Euler, without decay: theta = beta / (1 + beta |k|^2)
    EXACT = "exact"  # the solution: theta = (1 - exp(-beta |k|^2)) / |k|^2, and with decay a write gate of its own


class Features(Enum):
    """The map that a rule applies to keys and queries before they reach the memory."""

    IDENTITY = "identity"
    ELU_PLUS_ONE = "elu+1"  # elu(x) + 1 = exp(x) for x < 0 and 1 + x elsewhere: positive, as a normaliser needs


@dataclass(frozen=True)
class Source:
    """The publication of a rule or a formula, with the place in it.

    Args:
        paper: an arXiv number such as "2412.06464", or a full reference where there is none.
        place: the equation, section or table in it.
        title: the title of the paper.
    """

    paper: str
    place: str
    title: str = ""

    @property
    def url(self) -> str | None:
        """The address of the paper, or None where it has no arXiv number."""
        return f"https://arxiv.org/abs/{self.paper}" if re.fullmatch(r"\d{4}\.\d{4,5}", self.paper) else None


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One row of the lineage, inside the family of write rules or outside it.

    Args:
        slug: its name in links, lower-case words joined by hyphens.
        title: its name for readers.
        year: of the publication.
        source: where it is published.
        summary: what it does, in a sentence or two.
    """

    slug: str
    title: str
    year: int
    source: Source
    summary: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.slug):
            raise ValueError(f"slug: expected lower-case words joined by hyphens, got {self.slug!r}")


@dataclass(frozen=True, kw_only=True)
class KVCache(Architecture):
    """An architecture whose memory is all keys and values so far. It grows, so it is outside the family."""

    def floats(self, T: int, V: int, K: int) -> int:
        """Count the numbers kept after T tokens."""
        return T * (V + K)


@dataclass(frozen=True, kw_only=True)
class WriteRule(Architecture):
    """A member of the family: one [V, K] memory, decayed, erased and written once a token.

    Args:
        decay: the width of the decay exp(g), applied first.
        erase: the width of b in what is erased, (S (b*k)) k^T: NONE, SCALAR or KEY.
        write: the width of w in what is written, (w*v) k^T: NONE, SCALAR, VALUE, or MATRIX, where each value channel
            has a key of its own (exact ZOH makes one).
        tied: erase and write are one number, beta.
        clock: whether the gates are constants of the layer or computed from the token.
        discretisation: how the gates follow from A, B and Delta; None for a rule that is discrete from the start.
        integrator: how erase and write gate follow from beta, the key and the decay; None where they are beta itself,
            the explicit step, or gates of their own.
        features: the map applied to keys and queries.
        normalised: the output is divided by z . q, with z the sum of the keys: one more row of the memory, whose
            value is always 1.

    Raises:
        ValueError: if the gates do not make a rule of the family.
    """

    decay: Gate = Gate.NONE
    erase: Gate = Gate.NONE
    write: Gate = Gate.NONE
    tied: bool = False
    clock: Clock = Clock.TOKEN
    discretisation: Discretisation | None = None
    integrator: Integrator | None = None
    features: Features = Features.IDENTITY
    normalised: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = {"erase": (Gate.NONE, Gate.SCALAR, Gate.KEY), "write": tuple(g for g in Gate if g is not Gate.KEY)}
        for name, widths in allowed.items():
            if getattr(self, name) not in widths:
                raise ValueError(
                    f"{name}: expected one of {', '.join(g.value for g in widths)}, got {getattr(self, name).value}"
                )
        if self.tied and not (self.erase is self.write is Gate.SCALAR):
            raise ValueError(
                f"tied: expected scalar erase and write gates, got {self.erase.value} and {self.write.value}"
            )
        if (self.decay is Gate.MATRIX) is not (self.discretisation is not None):
            raise ValueError("decay: a matrix decay is exp(Delta A), and goes with a discretisation and nothing else")
        if self.discretisation and self.erase is not Gate.NONE:
            raise ValueError(f"erase: expected none beside a discretisation, got {self.erase.value}")
        if (self.write is Gate.MATRIX) is not (self.discretisation is Discretisation.ZOH):
            raise ValueError("write: a matrix gate is Delta phi_1(Delta A), and goes with ZOH and nothing else")
        if self.integrator and not (
            self.erase is self.write is Gate.SCALAR
            and (self.decay, self.tied) in ((Gate.NONE, True), (Gate.SCALAR, False))
            and (self.tied or self.integrator is Integrator.EXACT)
        ):
            raise ValueError(
                "integrator: expected scalar erase and write gates, tied without decay, or untied with a scalar decay "
                f"and the exact solution; got {self.integrator.value}"
            )
        if self.normalised and (self.erase is not Gate.NONE or self.write is not Gate.NONE):
            raise ValueError("normalised: expected an additive rule, without erase or write gate")

    @property
    def writes_w(self) -> bool:
        """Whether the rule has a write gate of its own, neither absent nor made of its other gates."""
        return self.write is not Gate.NONE and not (self.tied or self.discretisation or self.integrator)

    def discretised(self, method: Discretisation) -> WriteRule:
        """Return this rule under another discretisation.

        Raises:
            ValueError: if the rule is discrete from the start.
        """
        if not self.discretisation:
            raise ValueError(f"discretisation: {self.title} is discrete from the start, got {method.value}")
        return replace(self, discretisation=method, write=Gate.MATRIX if method is Discretisation.ZOH else Gate.VALUE)

    def floats(self, T: int, V: int, K: int) -> int:
        """Count the numbers kept after T tokens: they do not depend on T."""
        return (V + self.normalised) * K


SOFTMAX_ATTENTION = KVCache(
    slug="softmax-attention",
    title="Softmax attention",
    year=2017,
    source=Source("1706.03762", "eq. 1, sec. 3.2.1", "Attention Is All You Need"),
    summary="Keeps every key and value in a cache and weighs them all at each token: exact recall, and a memory that "
    "grows with the stream.",
)

FAST_WEIGHTS = WriteRule(
    slug="fast-weights",
    title="Fast weights",
    year=1992,
    source=Source(
        "Schmidhuber, Neural Computation 4(1), 131-139",
        "eqs. 1 and 5, without the squashing function",
        "Learning to Control Fast-Weight Memories",
    ),
    summary="One network writes outer products into the weights of another: the ancestor of all of them.",
)

LINEAR_ATTENTION = WriteRule(
    slug="linear-attention",
    title="Linear attention",
    year=2020,
    source=Source("2006.16236", "eqs. 16-20, without feature map and normaliser", "Transformers are RNNs"),
    summary="Adds v k^T at every token and forgets nothing: past dk keys the memories collide, and old weighs as new.",
)

LINEAR_ATTENTION_NORMALISED = WriteRule(
    slug="linear-attention-normalised",
    title="Linear attention, feature map and normaliser",
    year=2020,
    source=Source("2006.16236", "eq. 7 and eqs. 16-20", "Transformers are RNNs"),
    features=Features.ELU_PLUS_ONE,
    normalised=True,
    summary="Linear attention as published: positive features elu(x) + 1, and the answer divided by the weights it "
    "sums.",
)

S4 = WriteRule(
    slug="s4",
    title="S4 (diagonal, real)",
    year=2021,
    source=Source(
        "2111.00396",
        "eq. 1, made diagonal and sampled by ZOH as S4D's code does; eq. 3 there is the bilinear rule",
        "Efficiently Modeling Long Sequences with Structured State Spaces",
    ),
    decay=Gate.MATRIX,
    write=Gate.MATRIX,
    clock=Clock.FIXED,
    discretisation=Discretisation.ZOH,
    summary="A linear ODE, sampled: every entry of the memory decays at a rate of its own, the same at every token.",
)

MAMBA = WriteRule(
    slug="mamba",
    title="Mamba",
    year=2023,
    source=Source("2312.00752", "eqs. 2a and 4", "Mamba: Linear-Time Sequence Modeling with Selective State Spaces"),
    decay=Gate.MATRIX,
    write=Gate.VALUE,
    discretisation=Discretisation.MAMBA,
    summary="S4 with a step Delta, an input map and an output map computed from the token: a large Delta replaces the "
    "memory by the input, a small one ignores the token.",
)

RETNET = WriteRule(
    slug="retnet",
    title="RetNet",
    year=2023,
    source=Source("2307.08621", "eq. 6", "Retentive Network"),
    decay=Gate.SCALAR,
    clock=Clock.FIXED,
    summary="Linear attention under one constant decay: recent tokens weigh more, whatever they say.",
)

GLA = WriteRule(
    slug="gla",
    title="GLA",
    year=2023,
    source=Source("2312.06635", "eq. 3", "Gated Linear Attention Transformers with Hardware-Efficient Training"),
    decay=Gate.KEY,
    summary="A decay for each key channel, computed from the token: it chooses what to forget, but not by content.",
)

MAMBA2 = WriteRule(
    slug="mamba-2",
    title="Mamba-2",
    year=2024,
    source=Source("2405.21060", "eq. 2, with Delta left in the value", "Transformers are SSMs"),
    decay=Gate.SCALAR,
    summary="Mamba with one decay for a head's whole memory, which makes it masked attention; Delta stands in the "
    "value.",
)

DELTANET = WriteRule(
    slug="deltanet",
    title="DeltaNet",
    year=2021,
    source=Source("2102.11174", "eq. 24", "Linear Transformers Are Secretly Fast Weight Programmers"),
    erase=Gate.SCALAR,
    write=Gate.SCALAR,
    tied=True,
    summary="Reads what the key already answers and writes the difference: a key written twice answers the new value. "
    "Nothing else is ever forgotten.",
)

LONGHORN = WriteRule(
    slug="longhorn",
    title="Longhorn",
    year=2024,
    source=Source(
        "2407.14207",
        "its code, Longhorn.step of models/longhorn.py, with one beta for all value channels; there the erase keeps "
        "only the diagonal of k k^T",
        "Longhorn: State Space Models are Amortized Online Learners",
    ),
    erase=Gate.SCALAR,
    write=Gate.SCALAR,
    tied=True,
    integrator=Integrator.IMPLICIT,
    summary="The delta rule as an implicit step: a share z / (1 + z) of the error goes, z = beta |k|^2, so that no "
    "beta and no key is too large.",
)

EFLA = WriteRule(
    slug="efla",
    title="EFLA",
    year=2025,
    source=Source("2512.12602", "abstract (v4), and its code, alpha_t of mnist.py", "Exact Flow Linear Attention"),
    erase=Gate.SCALAR,
    write=Gate.SCALAR,
    tied=True,
    integrator=Integrator.EXACT,
    summary="The delta rule as the exact solution of its differential equation: a share 1 - exp(-beta |k|^2) of the "
    "error goes.",
)

GATED_DELTANET = WriteRule(
    slug="gated-deltanet",
    title="Gated DeltaNet",
    year=2024,
    source=Source("2412.06464", "eq. 10 (v3)", "Gated Delta Networks: Improving Mamba2 with Delta Rule"),
    decay=Gate.SCALAR,
    erase=Gate.SCALAR,
    write=Gate.SCALAR,
    tied=True,
    summary="Gating and the delta rule: the decay clears the whole memory at once, the delta rule edits one key.",
)

EXACT_GATED_DELTA = WriteRule(
    slug="exact-gated-delta",
    title="Exact gated delta rule",
    year=2026,
    source=Source(
        "Derived in this project",
        "claim exact_gated_step_solves_the_gated_equation",
        "Gated DeltaNet from first principles",
    ),
    decay=Gate.SCALAR,
    erase=Gate.SCALAR,
    write=Gate.SCALAR,
    integrator=Integrator.EXACT,
    summary="Decay and delta rule as the exact solution of one differential equation. It erases what a decay and EFLA "
    "erase one after the other, and writes a little less, since what is written decays within the step too.",
)

KIMI_DELTA_ATTENTION = WriteRule(
    slug="kimi-delta-attention",
    title="Kimi Delta Attention",
    year=2025,
    source=Source("2510.26692", "eq. 1", "Kimi Linear: An Expressive, Efficient Attention Architecture"),
    decay=Gate.KEY,
    erase=Gate.SCALAR,
    write=Gate.SCALAR,
    tied=True,
    summary="Gated DeltaNet with a decay for each key channel, as GLA has.",
)

GATED_DELTANET_2 = WriteRule(
    slug="gated-deltanet-2",
    title="Gated DeltaNet-2",
    year=2026,
    source=Source(
        "2605.22791",
        "eq. 10, read in its code: fla 0.6.0, ops/gdn2/naive.py",
        "Gated DeltaNet-2: Decoupling Erase and Write in Linear Attention",
    ),
    decay=Gate.KEY,
    erase=Gate.KEY,
    write=Gate.VALUE,
    summary="Erase and write come apart: a gate for each key channel says what to erase, one for each value channel "
    "what to write.",
)

#: The members of the family, by their slugs.
RULES: dict[str, WriteRule] = {
    rule.slug: rule
    for rule in (
        FAST_WEIGHTS,
        LINEAR_ATTENTION,
        LINEAR_ATTENTION_NORMALISED,
        S4,
        MAMBA,
        RETNET,
        GLA,
        MAMBA2,
        DELTANET,
        LONGHORN,
        EFLA,
        GATED_DELTANET,
        EXACT_GATED_DELTA,
        KIMI_DELTA_ATTENTION,
        GATED_DELTANET_2,
    )
}

#: The family and softmax attention beside it, for the pages that show all of them.
LINEAGE: tuple[Architecture, ...] = (SOFTMAX_ATTENTION, *RULES.values())
