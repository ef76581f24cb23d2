"""What an install brings: the ranges of pyproject.toml, the pins of the requirements, and the lock agree."""

import importlib.metadata
import importlib.util
import itertools
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from gdn_core import extras

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
MACHINES = [
    {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine, **system}
    for python in ("3.11", "3.12", "3.13", "3.14")
    for machine, system in (
        ("x86_64", {"sys_platform": "linux", "platform_system": "Linux"}),
        ("aarch64", {"sys_platform": "linux", "platform_system": "Linux"}),
        ("arm64", {"sys_platform": "darwin", "platform_system": "Darwin"}),
    )
]


def listed(file: str) -> list[Requirement]:
    """The packages that a file names, a line each, without hashes."""
    lines = (re.sub(r"(^|\s)(#|--hash).*", "", line).strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def version(pin: Requirement) -> str:
    return str(pin.specifier).removeprefix("==")


def active(pins: Iterable[Requirement], machine: dict[str, str] | None = None) -> dict[str, str]:
    """The version of each package that is pinned for a machine, by default this one."""
    found: dict[str, str] = {}
    for pin in pins:
        if pin.marker is None or pin.marker.evaluate(machine):
            name = canonicalize_name(pin.name)
            assert found.setdefault(name, version(pin)) == version(pin), f"{name} has two versions on {machine}"
    return found


def declared(extra: str) -> Iterator[Requirement]:
    """What an extra brings, through the extras that it names."""
    for line in EXTRAS[extra]:
        wanted = Requirement(line)
        if wanted.name == extras.PROJECT:
            yield from itertools.chain.from_iterable(map(declared, sorted(wanted.extras)))
        else:
            yield wanted


DIRECT = listed("requirements.txt") + listed("requirements-dev.txt")
LOCK = listed("constraints.txt")


def test_every_requirement_is_pinned_and_the_last_line_installs_the_project() -> None:
    assert (ROOT / "requirements.txt").read_text().rstrip("\n").split("\n")[-1] == "-e ."
    assert (ROOT / "requirements-dev.txt").read_text().split("\n")[0] == "-r requirements.txt"
    for pin in DIRECT + LOCK:
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), pin


def test_the_pins_satisfy_what_the_package_declares() -> None:
    base = [Requirement(line) for line in PROJECT["dependencies"]]
    assert [wanted.name for wanted in base] == ["numpy"]
    app = base + list(declared("app"))
    assert {wanted.name for wanted in app} == {pin.name for pin in listed("requirements.txt")}
    pinned = {pin.name: pin for pin in DIRECT}  # the tests alone need the optional library
    pinned |= {pin.name: pin for pin in listed("tests/requirements-fla.txt")}
    for wanted in app + list(declared("transformers")) + list(declared("fla")):
        assert version(pinned[wanted.name]) in wanted.specifier, wanted
        assert pinned[wanted.name].marker == wanted.marker, wanted


def test_the_sentence_for_a_missing_package_names_the_smallest_extra_that_brings_it() -> None:
    bringing: dict[str, str] = {}
    for extra in EXTRAS:
        for wanted in declared(extra):
            name = {"fla-core": "fla"}.get(wanted.name, wanted.name)  # what is imported
            if name not in bringing or len(list(declared(extra))) < len(list(declared(bringing[name]))):
                bringing[name] = extra
    assert bringing == extras.EXTRAS
    assert PROJECT["name"] == extras.PROJECT


@pytest.mark.parametrize("machine", MACHINES, ids=lambda x: "-".join((x["python_version"], *list(x.values())[2:4])))
def test_the_lock_holds_every_pin_on_every_machine(machine: dict[str, str]) -> None:
    locked = active(LOCK, machine)
    for name, pinned in active(DIRECT, machine).items():
        assert locked.get(name) == pinned, f"{name}: run ./run lock"
    cuda = {name for name in locked if name.startswith("nvidia-")}
    assert bool(cuda) == (machine["sys_platform"] == "linux")


def installed(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def brought() -> dict[str, set[str]]:
    """Every package that the requirements bring here, by the metadata of what is installed, and who asks for it."""
    found: dict[str, set[str]] = {}
    left = [(canonicalize_name(name), "requirements") for name in active(DIRECT)]
    while left:
        name, by = left.pop()
        new = name not in found
        found.setdefault(name, set()).add(by)
        there = installed(name)
        if not new or there is None:
            continue
        for line in there.requires or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                left.append((canonicalize_name(wanted.name), name))
    return found


def test_the_lock_holds_every_package_that_the_requirements_bring_here() -> None:
    locked = active(LOCK)
    assert {name: by for name, by in brought().items() if name not in locked} == {}


@pytest.mark.skipif(not (Path(sys.prefix) / "gdn-dev").exists(), reason="this environment was not installed by ./run")
def test_what_run_installed_is_what_is_locked() -> None:
    locked = active(LOCK)
    there = {name: installed(name) for name in brought()}
    versions = {name: Version(found.version).public if found else "not installed" for name, found in there.items()}
    assert versions == {name: locked[name] for name in there}


def test_a_package_that_is_there_is_needed_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    extras.need("sympy", "torch")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    with pytest.raises(ModuleNotFoundError) as caught:
        extras.need("sympy", "torch")
    assert str(caught.value) == "torch is not installed: pip install 'gated-deltanet-first-principles[ops]' brings it"
    assert caught.value.name == "torch"


def test_the_sentence_is_for_what_an_extra_brings_alone() -> None:
    ours = ModuleNotFoundError("No module named 'torch'", name="torch")
    assert "[ops]" in str(extras.explained(ours))
    other = ModuleNotFoundError("No module named 'jinja2'", name="jinja2")
    assert extras.explained(other) is other
