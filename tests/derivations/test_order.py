"""The order in which claims are started: those that run longest first, whatever the order of the subjects."""

from concurrent.futures import Future

import pytest

from derivations import registry, run
from derivations.registry import load
from derivations.result import Result
from derivations.scope import AllInputs, EverySize, EveryWidth, OverField, OverFields
from gdn_core.rules import Source


@pytest.fixture
def stated(monkeypatch):
    """State claims with as many packages, runs of the code and mutants as a test says."""
    monkeypatch.setattr(registry, "CLAIMS", made := {})
    monkeypatch.setattr(run, "load", lambda: made)

    def state(name, *, needs=(), scope=None, mutants=0):
        def said():
            """It is said."""
            return 0

        said.__name__ = name
        claim = registry.claim(statement="x", scope=scope or EverySize(), engine="exact", source=Source("a", "b"),
                               needs=needs)(said)  # fmt: skip
        for _ in range(mutants):
            claim.refute(lambda: 1)

    return state


def test_claims_are_started_by_packages_then_runs_and_mutants(stated):
    stated("quick")
    stated("wide", scope=EveryWidth(C=8))
    stated("program", needs=("torch",), scope=OverFields(cases=2, sizes=(), primes=3), mutants=1)
    stated("programs", needs=("torch",), scope=OverFields(cases=5, sizes=(), primes=2))
    stated("kernel", needs=("torch", "triton"))
    stated("kernels", needs=("torch", "triton"), scope=AllInputs(cases=2, sizes=()))
    stated("field", scope=OverField(primes=9, T=4))
    stated("mutants", mutants=20)
    order = ["kernels", "kernel", "programs", "program", "mutants", "field", "wide", "quick"]
    assert run.longest_first(["quick", "wide", "program", "programs", "kernel", "kernels", "field", "mutants"]) == order
    assert run.longest_first(reversed(order)) == order


def test_a_run_starts_the_longest_claims_and_reports_all_in_the_order_that_was_asked_for(monkeypatch):
    started = []

    class Worker:
        def check(self, name, *, seed):
            started.append(name)
            return Result(name, "", (), (), 0.0, seed)

    class Workers:
        def __init__(self, jobs):
            self.worker = Worker()

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def submit(self, task):
            done = Future()
            done.set_result(task(self.worker))
            return done

    monkeypatch.setattr(run, "Workers", Workers)
    monkeypatch.setattr(run, "Worker", Worker)
    report = run.run(list(load()), mutate=False, jobs=2)
    assert [result.claim for result in report.results] == list(load())
    needs = [len(load()[name].needs) for name in started]
    assert needs == sorted(needs, reverse=True) and needs[0] == 2
    assert "_kernels_" in started[0]
