"""The script of a scenario, run, makes the same scenario."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gdn_core
from gdn_core.lab import files, scenarios
from gdn_core.lab.scenarios import PRESETS, Settings
from gdn_core.rules import RULES, Discretisation
from tests.gdn_core.lab.scenarios.stream_checks import HV, B, T, layout, same


@pytest.fixture
def ran(monkeypatch, capsys):
    """Run a script with a trajectory that only notes what it was given."""

    class Noted:
        def __init__(self, rules, stream, window=None, from_empty=False, discretisation=None):
            self.rules, self.stream = rules, stream.window(*window) if window else stream
            self.states = self.stream.k
            self.window, self.from_empty = window, from_empty
            self.discretisation = discretisation

    monkeypatch.setattr(gdn_core, "trajectory", Noted, raising=False)

    def run(source: str) -> Noted:
        space: dict = {}
        exec(compile(source, "script.py", "exec"), space)  # noqa: S102
        assert capsys.readouterr().out
        return space["run"]

    return run


@pytest.mark.parametrize("slug", PRESETS)
def test_a_preset(slug, ran):
    made = scenarios.from_preset(slug, replace(PRESETS[slug].settings, noise=0.1, T=9))
    run = ran(scenarios.python_source(made, ["deltanet", "mamba"]))
    same(run.stream, made.stream)
    assert run.rules == [RULES["deltanet"], RULES["mamba"]]
    assert run.discretisation is None


@pytest.mark.parametrize("method", Discretisation)
def test_a_discretisation(method, ran):
    made = scenarios.from_preset("ignore")
    assert ran(scenarios.python_source(made, ["mamba"], discretisation=method)).discretisation is method


@pytest.mark.parametrize(
    "text", ["to be or not to be", 'a = 1\n\'"\\ = """2"""', "😀 \ud800 \0 שלום ' {settings} %s"]
)
def test_a_text_whatever_it_holds(text, ran):
    made = scenarios.from_text(text, Settings(dk=5))
    same(ran(scenarios.python_source(made, ["deltanet"])).stream, made.stream)


def test_a_table(ran):
    rows = [{"key": "'", "value": [0.1, 0.2], "alpha": 0.3}, {"query": "'", "beta": 0.0}, {}]
    made = scenarios.from_table(rows, Settings(dk=3, dv=2))
    same(ran(scenarios.python_source(made, ["deltanet"])).stream, made.stream)


def test_arrays_from_one_file_or_several(ran, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = layout()
    stream = io.BytesIO()
    np.savez(stream, **x)
    Path("it's.npz").write_bytes(stream.getvalue())
    np.save("w.npy", np.ones((B, T, HV)))
    names = ["it's.npz", "w.npy"]
    given_: dict = {}
    for name in names:
        given_ |= files.read(name, Path(name).read_bytes())
    made = scenarios.from_arrays(given_, Settings(), head=5, batch=1, start=1, length=3, channels=2)
    same(ran(scenarios.python_source(made, ["deltanet"], files=names)).stream, made.stream)
