"""What is told about a PyTorch program of other people: which of its parameters and results is what, and its sizes.

This module needs no PyTorch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from derivations.models.torch_sizes import Size
from gdn_core.rules import GATED_DELTANET, RULES, Discretisation, Gate, WriteRule

# What a parameter may be, and the names under which it is recognised.
ROLES: dict[str, tuple[str, ...]] = {
    "q": ("q", "query", "queries"),
    "k": ("k", "key", "keys"),
    "v": ("v", "value", "values"),
    "g": ("g", "log_decay"),  # log decay
    "alpha": ("alpha",),  # decay
    "beta": ("beta",),  # erase and write gate, where they are one
    "erase": (),
    "write": (),
    "initial_state": ("initial_state",),
    "scale": ("scale",),
    "cu_seqlens": ("cu_seqlens",),
    "l2norm": (),  # is given True; the program divides queries and keys by their length
}
CONSTANTS: dict[str, Any] = {"output_final_state": True}  # given by name where nothing else is said
RESULTS = ("o", "S", "_")  # outputs, last memory, anything else
DTYPES = ("float16", "bfloat16", "float32", "float64")
EPS = 1e-6

# Keys are 1, 4, 16 or 64 wide, so that a scale of 1 / sqrt(K) is a binary fraction.
SIZES = (
    Size(1, 4, 3, H=2, HV=2), Size(2, 1, 1), Size(16, 4, 5, B=2), Size(63, 4, 3), Size(64, 16, 5, H=2, HV=2),
    Size(65, 4, 2), Size(150, 16, 12),
)  # fmt: skip
GROUPED = (Size(5, 4, 3, H=2, HV=6, B=2), Size(70, 4, 3, HV=2))
PACKED = (Size(33, 4, 3, lengths=(17, 1, 15), H=2, HV=2), Size(100, 4, 2, lengths=(65, 35)))
FORGETFUL = (Size(20, 4, 3, H=2, HV=2, remembers=False),)
PRIMES = 3


@dataclass(frozen=True)
class Program:
    """A function, and what its arguments and results are.

    Args:
        where: ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``.
        roles: parameter to role, one of ``ROLES``; what is not named is recognised by its name.
        constants: parameter to value.
        rule: the slug of the rule whose recurrence it should be.
        layout: the order of the axes of queries, keys, values and outputs: B for sequences, T for tokens, H for heads,
            D for channels. An axis that is left out has size 1. Gates have the same axes without D, and those of a wide
            gate behind them.
        state: the order of the axes of memories: B, H, K and V; B and H may be left out.
        results: what the function returns, in order, of ``RESULTS``; empty for outputs, or outputs and last memory.
        scale: the factor on queries that the program has, where no parameter is it; None for 1 / sqrt(K).
        eps: what the program adds to the squared length of queries and keys, where a parameter is ``l2norm``.
        dtype: of its floating-point arguments.
        grouped: whether there may be more heads of values than of keys.
        sizes: the sizes; empty for those of this module.

    Raises:
        ValueError: if something is said that has no meaning; the message names it.
    """

    where: str
    roles: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    rule: str = GATED_DELTANET.slug
    layout: str = "BTHD"
    state: str = "BHKV"
    results: tuple[str, ...] = ()
    scale: float | None = None
    eps: float = EPS
    dtype: str = "float32"
    grouped: bool = False
    sizes: tuple[Size, ...] = ()

    def __post_init__(self) -> None:
        module, _, function = self.where.rpartition(":")
        if not module or not function.isidentifier():
            raise ValueError(f"{self.where}: expected MODULE:FUNCTION or FILE.py:FUNCTION")
        for parameter, role in self.roles.items():
            if role not in ROLES:
                raise ValueError(f"{parameter}={role}: expected one of {', '.join(ROLES)}, or a constant")
        roles = list(self.roles.values())
        if twice := {role for role in roles if roles.count(role) > 1}:
            raise ValueError(f"{min(twice)}: expected one parameter to be it, got {roles.count(min(twice))}")
        for name, axes, needed in (("layout", "BTHD", "TD"), ("state", "BHKV", "KV")):
            given = getattr(self, name)
            if len(set(given)) < len(given) or not set(needed) <= set(given) <= set(axes):
                raise ValueError(f"{name}: expected an order of {axes}, of which {needed} are needed, got {given}")
        if unknown := [name for name in self.results if name not in RESULTS]:
            raise ValueError(f"returns: expected a list of {', '.join(RESULTS)}, got {unknown[0]}")
        if self.results and "o" not in self.results:
            raise ValueError("returns: expected outputs, o, among the results")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {self.dtype}")
        if self.rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}, got {self.rule}")
        if self.write_rule.normalised or self.write_rule.discretisation is Discretisation.ZOH:
            raise ValueError(f"rule: {self.rule} is not compared with programs: its keys or outputs differ")
        for size in self.sizes:
            for axis, used in (("B", max(size.B, len(size.lengths))), ("H", size.HV)):
                if axis not in self.layout and used > 1:
                    raise ValueError(f"size: expected {axis} = 1 where the layout is {self.layout}, got {used}")

    @property
    def write_rule(self) -> WriteRule:
        """The rule."""
        return RULES[self.rule]

    @property
    def gates(self) -> tuple[tuple[str, ...], ...]:
        """The roles that the rule needs, beside q, k and v; one of each."""
        rule = self.write_rule
        needed: list[tuple[str, ...]] = [("g", "alpha")] if rule.decay is not Gate.NONE else []
        if rule.tied:
            return (*needed, ("beta",))
        for name, gate in (("erase", rule.erase), ("write", rule.write)):
            needed += [(name,)] if gate is not Gate.NONE else []
        return tuple(needed)

    def at(self, roles: Iterable[str], *, optional: bool) -> tuple[Size, ...]:
        """Return the sizes at which it is compared, the smallest first.

        Args:
            roles: the roles of its parameters.
            optional: whether the memory before the first token may be left out.
        """
        roles = set(roles)
        sizes = self.sizes
        if not sizes:
            sizes = SIZES + (GROUPED if self.grouped else ()) + (PACKED if "cu_seqlens" in roles else ())
            sizes += FORGETFUL if optional and "initial_state" in roles else ()
        one = {**({} if "B" in self.layout else {"B": 1}), **({} if "H" in self.layout else {"H": 1, "HV": 1})}
        remembers = "initial_state" in roles
        known = (replace(size, **one, remembers=size.remembers and remembers) for size in sizes)  # type: ignore[arg-type]
        return tuple(sorted(dict.fromkeys(known), key=lambda size: size.T))

    def encoded(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return own | {"sizes": [encoded_size(size) for size in self.sizes]}

    @classmethod
    def decoded(cls, read: Mapping[str, Any]) -> Program:
        """Return the program that was encoded."""
        sizes = tuple(decoded_size(size) for size in read["sizes"])
        return cls(**{**read, "results": tuple(read["results"]), "sizes": sizes})


def encoded_size(size: Size) -> dict[str, Any]:
    """Return a size as what JSON can hold; its rule is that of the program."""
    return {name: value for name, value in vars(size).items() if name != "rule"}


def decoded_size(read: Mapping[str, Any]) -> Size:
    """Return the size that was encoded."""
    return Size(**{**read, "lengths": tuple(read["lengths"])})


def argument(text: str) -> tuple[str, str | None, Any]:
    """Read ``PARAMETER=ROLE`` or ``PARAMETER=CONSTANT``; return the parameter, the role or None, and the constant.

    Raises:
        ValueError: if it is neither.
    """
    parameter, equals, what = text.partition("=")
    if not equals or not parameter.isidentifier():
        raise ValueError(f"{text}: expected PARAMETER=ROLE or PARAMETER=CONSTANT")
    if what in ROLES:
        return parameter, what, None
    try:
        return parameter, None, ast.literal_eval(what)
    except (ValueError, SyntaxError) as error:
        expected = f"expected one of {', '.join(ROLES)}, or a constant of Python"
        raise ValueError(f"{text}: {expected}") from error


def size(text: str) -> Size:
    """Read a size, such as ``T=64,K=16,V=8,H=2,HV=4,B=1``.

    Raises:
        ValueError: if it is none.
    """
    found = re.findall(r"(T|K|V|HV|H|B)=(\d+)", text)
    given = {name: int(number) for name, number in found}
    if ",".join(f"{name}={number}" for name, number in found) != text or not {"T", "K", "V"} <= set(given):
        raise ValueError(f"size: expected T=, K= and V=, and H=, HV= and B= where they are not 1, got {text}")
    heads = given.setdefault("HV", given.get("H", 1))
    if not all(given.values()) or heads % given.get("H", 1):
        raise ValueError(f"size: expected positive sizes, and HV a multiple of H, got {text}")
    return Size(**given)  # type: ignore[arg-type]
