"""What a step may say follows from what it ran: its kind, its functions, and no scope that is wider."""

import inspect
import random
from dataclasses import replace

import pytest

from derivations import registry
from derivations.engines import arrays
from derivations.engines.algebra import Algebra
from derivations.engines.cases import points, symbols, vectors
from derivations.engines.used import use
from derivations.models.gated_chunk import chunk_against_recurrence
from derivations.models.torch_passes import chunk, forward
from derivations.models.torch_sizes import Size
from derivations.models.torch_sizes import scope as torch_scope
from derivations.ran import Compared, compared
from derivations.result import Kind, Verdict
from derivations.scope import AllInputs, Counterexample, EverySize, EveryWidth, OverField, OverFields, Sizes
from gdn_core import reference
from gdn_core.rules import GATED_DELTANET, MAMBA2, Source


def in_words():
    a = Algebra()
    x = arrays.token(q=a.vector("q", "K"), k=a.vector("k", "K"), v=a.vector("v", "V"))
    S, _ = reference.step(arrays.Array(a.matrix("S", "V", "K"), 2), x, exp=arrays.exp)
    return (S.word - S.word).normal()


def on_symbols(T=3):
    return chunk_against_recurrence(symbols(GATED_DELTANET, T, 2, 2))


def on_vectors(lengths):
    return (chunk_against_recurrence(vectors(MAMBA2, C)) for C in lengths)


def at_points(primes, T=4):
    def step(rng: random.Random):
        for _ in range(primes):
            case = points(GATED_DELTANET, T, 3, 2, rng)
            yield case.compare(case.run(reference.chunkwise, chunk_size=2), case.run(reference.recurrent))

    return step


@pytest.fixture
def checked(monkeypatch):
    """Check a step with a scope and an engine."""
    monkeypatch.setattr(registry, "CLAIMS", {})

    def check(run, scope, engine):
        def said(rng: random.Random):
            """It is said."""
            return run(rng) if inspect.signature(run).parameters.get("rng") else run()

        made = registry.claim(statement="x", scope=scope, engine=engine, source=Source("a", "b"))(said)
        made.refute(lambda: 1)
        return made.check().steps[0]

    return check


@pytest.mark.parametrize(
    ("run", "scope", "engine", "kind", "ran"),
    [
        (lambda: 0, EverySize("C", "dk", "dv"), "words", Kind.ALGEBRA, ()),
        (in_words, EverySize("dk", "dv"), "words", Kind.CODE, ("reference.step",)),
        (in_words, EverySize("C", "dk", "dv"), "words", Kind.ALGEBRA, ("reference.step",)),  # no function of C tokens
        (on_symbols, Sizes(C=3, dk=2, dv=2), "ring", Kind.CODE, ("reference.chunk", "reference.recurrent")),
        (on_symbols, Counterexample("one"), "exact", Kind.POINTS, ("reference.chunk", "reference.recurrent")),
        (lambda: on_vectors((1, 2, 3)), EveryWidth(C=3), "gram", Kind.CODE, ("reference.chunk", "reference.recurrent")),
        (at_points(2), OverField(primes=2, T=4, C=2, dk=2, dv=3), "field", Kind.POINTS,
         ("reference.chunkwise", "reference.recurrent")),
    ],
)  # fmt: skip
def test_the_kind_and_the_functions_follow_from_what_ran(checked, run, scope, engine, kind, ran):
    step = checked(run, scope, engine)
    assert (step.verdict, step.kind, step.functions) == (Verdict.HOLDS, kind, ran)


@pytest.mark.parametrize(
    ("run", "scope", "engine", "fault"),
    [
        (on_symbols, Sizes(C=4, dk=2, dv=2), "ring", "the scope says C = 4, and the code ran at [3]"),
        (on_symbols, Sizes(C=3, dk=2, dv=3), "ring", "the scope says dv = 3, and the code ran at [2]"),
        (on_symbols, Sizes(C=3), "field", "said to be decided by field, and ran the code by ring only"),
        (lambda: on_vectors((1, 3)), EveryWidth(C=3), "gram", "the scope says C <= 3, and C = 2 did not run"),
        (lambda: on_vectors(()), EveryWidth(C=3), "gram", "expected a residual"),
        (at_points(1), OverField(primes=2, T=4), "field", "the scope says 2 random primes, and 1 were drawn"),
        (at_points(2), OverField(primes=2, T=5), "field", "the scope says T = 5, and the code ran at [4]"),
    ],
)
def test_a_scope_that_is_wider_than_what_ran_is_a_fault(checked, run, scope, engine, fault):
    step = checked(run, scope, engine)
    assert step.verdict is Verdict.ERROR
    assert fault in step.residual


def test_the_degree_is_counted_by_the_code(checked):
    step = checked(at_points(2), OverField(primes=2, T=4, dk=2, dv=3), "field")
    assert step.degree == 4 * 4 + 2  # decay, gate and key twice for each token, then the memory or value, and the query
    assert "of degree 18 at most" in step.scope


def test_the_code_is_as_it_was_after_it_was_recorded(checked):
    code = reference.recurrent.__code__
    checked(on_symbols, Sizes(C=3), "ring")
    assert reference.recurrent.__code__ is code


# Programs, which take no arrays of the code: what was compared, and by which engine.

SIZES = tuple(Size(T, 3, 2, 4) for T in (3, 5))


def on_programs(sizes=SIZES, primes=2, form=chunk):
    def step(rng: random.Random):
        return forward(sizes, rng, form, primes)

    return step


def noted(*made):
    """A step that notes comparisons of kernels, without any."""

    def step():
        for each in made:
            use("ir")
            compared(each)
            yield 0

    return step


AT = (("C", 4), ("T", 3), ("K", 3), ("V", 2))
KERNEL = Compared("one", AT, "scalar", "TTIR for sm_80", 7)


def on_kernels(**other):
    values = tuple((name, (value,)) for name, value in AT)
    return OverFields(**{"cases": 1, "sizes": values, "built": ("TTIR for sm_80",), **other})


@pytest.mark.parametrize(
    ("run", "scope", "engine"),
    [
        (on_programs(), torch_scope(SIZES, primes=2), "aten"),
        (noted(KERNEL), on_kernels(), "ir"),
        (noted(replace(KERNEL, prime=0, some=2)), AllInputs(1, on_kernels().sizes, on_kernels().built, some=2), "ir"),
    ],
)
def test_a_scope_of_what_was_compared_holds(checked, run, scope, engine):
    assert checked(run, scope, engine).verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    ("run", "scope", "engine", "fault"),
    [
        (on_programs(), torch_scope((*SIZES, Size(9, 3, 2, 4)), primes=2), "aten", "3 combinations of sizes"),
        (on_programs(), torch_scope((SIZES[0], Size(9, 3, 2, 4)), primes=2), "aten", "T = 9, and what ran is 3, 5"),
        (on_programs(), torch_scope(SIZES, primes=3), "aten", "says 3 primes for each size, and 2 were drawn"),
        (on_programs(SIZES[:1]), replace(torch_scope(SIZES[:1]), rules=2), "aten", "2 combinations of widths of gates"),
        (on_programs(), torch_scope(SIZES), "ir", "decided by ir, and programs were evaluated by aten only"),
        (lambda: 0, torch_scope(SIZES), "aten", "decided by aten, and programs were evaluated by none"),
        (noted(KERNEL), on_kernels(built=("TTGIR for sm_90",)), "ir", "code compiled to TTGIR for sm_90"),
        (noted(KERNEL), AllInputs(1, on_kernels().sizes), "ir", "every entry is a symbol, and programs ran at random"),
        (noted(replace(KERNEL, prime=0, some=2)), AllInputs(1, on_kernels().sizes), "ir", "0 tokens with symbols"),
        (noted(KERNEL, KERNEL), on_kernels(primes=2), "ir", "says 2 primes for each size, and 1 were drawn"),
    ],
)  # fmt: skip
def test_a_scope_that_is_wider_than_what_was_compared_is_a_fault(checked, run, scope, engine, fault):
    step = checked(run, scope, engine)
    assert step.verdict is Verdict.ERROR
    assert fault in step.residual
