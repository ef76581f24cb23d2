"""Scopes: the sizes or values for which a verdict holds, printed beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scope:
    """The sizes or values for which a step decides its statement."""

    @property
    def proof(self) -> bool:
        """Whether a step of this scope is a proof, and not a check at random points."""
        return True

    @property
    def example(self) -> bool:
        """Whether one example decides it."""
        return False

    @property
    def named(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The sizes that it names, with the values of each."""
        return ()

    @property
    def runs(self) -> int:
        """How often a step of this scope runs the code, about."""
        return 1

    def error(self, degree: int) -> float:
        """Return a bound on the probability that a wrong formula passes, given the degree of the residual."""
        return 0.0


@dataclass(frozen=True)
class Every(Scope):
    """For every ``what``, such as "square A, singular and defective ones included"."""

    what: str

    def __str__(self) -> str:
        return f"for every {self.what}"


@dataclass(frozen=True)
class EverySize(Scope):
    """For every value of the named sizes."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names or ("C", "dk", "dv"))

    def __str__(self) -> str:
        return f"for every {listed(self.names)}"


@dataclass(frozen=True)
class EveryWidth(Scope):
    """For every dk and dv, at streams of at most ``C`` tokens."""

    C: int

    @property
    def lengths(self) -> range:
        """Every length of a stream that a step of this scope runs."""
        return range(1, self.C + 1)

    @property
    def runs(self) -> int:
        """Once for each length."""
        return self.C

    def __str__(self) -> str:
        return f"for C <= {self.C}, every dk and dv"


WIDE = EveryWidth(C=8)  # of the steps that run code on vectors of any width


@dataclass(frozen=True)
class Sizes(Scope):
    """At these sizes only, every entry a symbol: ``Sizes(C=4, K=3, V=2)``."""

    sizes: tuple[tuple[str, int], ...]

    def __init__(self, **sizes: int) -> None:
        object.__setattr__(self, "sizes", tuple(sizes.items()))

    @property
    def named(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The sizes that it names, with the value of each."""
        return tuple((name, (size,)) for name, size in self.sizes)

    def __str__(self) -> str:
        return f"at {_equations(self.sizes)} only, every entry a symbol"


@dataclass(frozen=True)
class Counterexample(Scope):
    """By one example in exact numbers, which is enough where the statement is that something fails or exists."""

    what: str

    @property
    def example(self) -> bool:
        """True."""
        return True

    def __str__(self) -> str:
        return f"by example: {self.what}"


@dataclass(frozen=True)
class OverField(Scope):
    """At these sizes only, at random points mod several primes: a check, not a proof.

    Args:
        smallest: the size of the smallest set that a letter is drawn from.
        primes: how many primes, drawn independently.
        sizes: the sizes.
    """

    smallest: int
    primes: int
    sizes: tuple[tuple[str, int], ...]

    def __init__(self, *, smallest: int = 1 << 28, primes: int = 3, **sizes: int) -> None:
        for name, value in (("smallest", smallest), ("primes", primes)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "sizes", tuple(sizes.items()))

    @property
    def proof(self) -> bool:
        """False: a random point proves nothing, however small the probability of an error."""
        return False

    @property
    def named(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The sizes that it names, with the value of each."""
        return tuple((name, (size,)) for name, size in self.sizes)

    @property
    def runs(self) -> int:
        """Once for each prime."""
        return self.primes

    def error(self, degree: int) -> float:
        """Return the bound of Schwartz and Zippel: (degree / |set|)^primes."""
        return (degree / self.smallest) ** self.primes

    def __str__(self) -> str:
        return f"at {_equations(self.sizes)} only, at random points mod {self.primes} primes"


@dataclass(frozen=True)
class OverFields(Scope):
    """At several sizes, each at a random point mod as many primes: a check, not a proof.

    Args:
        cases: how many sizes.
        sizes: the values of each size that occur.
        primes: how many primes for each, drawn independently.
        smallest: the size of the smallest set that a letter is drawn from.
        degree: a bound on the degree of the residual at the largest of them, where no run of the code can count it.
        built: what the code was compiled to, in words; empty for code that is not compiled.
        rules: how many rules, which differ in the widths of their gates.
    """

    cases: int
    sizes: tuple[tuple[str, tuple[int, ...]], ...]
    primes: int = 1
    smallest: int = 1 << 28
    degree: int = 0
    built: tuple[str, ...] = ()
    rules: int = 1

    @property
    def proof(self) -> bool:
        """False: a random point proves nothing, however small the probability of an error."""
        return False

    @property
    def named(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The sizes that it names, with the values of each."""
        return self.sizes

    @property
    def runs(self) -> int:
        """Once for each size and prime."""
        return self.cases * self.primes

    def error(self, degree: int) -> float:
        """Return the bound of Schwartz and Zippel for a formula that is wrong at one size."""
        return (degree / self.smallest) ** self.primes

    def __str__(self) -> str:
        primes = "a prime" if self.primes == 1 else f"{self.primes} primes"
        return f"{_combinations(self)}, each at a random point mod {primes}"


@dataclass(frozen=True)
class AllInputs(Scope):
    """At several sizes, for all inputs: every entry a symbol.

    Args:
        cases: how many sizes.
        sizes: the values of each size that occur.
        built: what the code was compiled to, in words.
        rules: how many rules, which differ in the widths of their gates.
        some: how many tokens have symbols at some of the sizes, where the others are zero; 0 for all tokens.
    """

    cases: int
    sizes: tuple[tuple[str, tuple[int, ...]], ...]
    built: tuple[str, ...] = ()
    rules: int = 1
    some: int = 0

    @property
    def named(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The sizes that it names, with the values of each."""
        return self.sizes

    @property
    def runs(self) -> int:
        """Once for each size."""
        return self.cases

    def __str__(self) -> str:
        zeros = f", but those of tokens beyond {self.some}, which are zero" if self.some else ""
        return f"{_combinations(self)}, every entry a symbol{zeros}"


def _combinations(scope: OverFields | AllInputs) -> str:
    values = "; ".join(
        f"{name} = {', '.join(map(str, of))}" if len(of) <= 15 else f"{len(of)} {name} from {of[0]} to {of[-1]}"
        for name, of in scope.sizes
    )
    rules = f", with gates of {scope.rules} combinations of widths" if scope.rules > 1 else ""
    built = f", compiled to {listed(scope.built)}" if scope.built else ""
    return f"at {scope.cases} combinations of {values} only{rules}{built}"


def in_words(scope: Scope, degree: int) -> str:
    """Print a scope, of random points with the probability of an error.

    Args:
        scope: the scope.
        degree: a bound on the degree of the residual as a polynomial; 0 where there are no random points.
    """
    if not (error := scope.error(degree)):
        return str(scope)
    below = math.ceil(math.log10(error))
    return f"{scope}: of degree {degree} at most, a wrong formula passes with probability below 1e{below}"


def listed(names: tuple[str, ...]) -> str:
    """Join names to a list in a sentence."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _equations(sizes: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{name} = {size}" for name, size in sizes)


@dataclass(frozen=True)
class AtPoints(Scope):
    """At some points only, in float64, or for a part of what runs: a check, not a proof."""

    what: str

    @property
    def proof(self) -> bool:
        """False: points prove nothing about other points."""
        return False

    def __str__(self) -> str:
        return f"at {self.what} only"
