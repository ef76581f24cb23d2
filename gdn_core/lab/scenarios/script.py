"""Write the Python script that makes a scenario again and runs rules on it."""

from __future__ import annotations

from collections.abc import Sequence

from gdn_core.lab.scenarios.scenario import Scenario
from gdn_core.rules import Discretisation


def python_source(
    scenario: Scenario,
    rules: Sequence[str],
    *,
    files: Sequence[str] = ("stream.npz",),
    discretisation: Discretisation | None = None,
) -> str:
    """Return a Python script that makes a scenario and runs rules on it, with the public API alone.

    Args:
        scenario: any scenario of :mod:`gdn_core.lab.scenarios`.
        rules: slugs of :data:`gdn_core.rules.RULES`.
        files: for a scenario of arrays, the names of the files they were read from.
        discretisation: replaces the discretisation of the rules that have one.
    """
    read, method, shown = "", "", "scenario.stream"
    imports = "from gdn_core import RULES, scenarios, trajectory\n"
    if scenario.call.startswith("scenarios.from_arrays"):
        imports = f"from pathlib import Path\n\n{imports}from gdn_core.lab.files import read\n"
        read = f"given = {{}}\nfor name in {list(files)!r}:\n    given |= read(name, Path(name).read_bytes())\n"
        shown = "scenario.whole, window=scenario.window, from_empty=scenario.from_empty"
    if discretisation:
        imports += "from gdn_core.rules import Discretisation\n"
        method = f", discretisation={discretisation}"
    return (
        f"{imports}\n"
        f"settings = scenarios.{scenario.settings!r}\n"
        f"{read}"
        f"scenario = {scenario.call}\n"
        f"rules = [RULES[slug] for slug in {list(rules)!r}]\n"
        f"run = trajectory(rules, {shown}{method})\n"
        "print(run.states.shape)  # rule, token (0: before the first), value channel, key channel\n"
    )
