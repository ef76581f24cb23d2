"""PyTorch programs of other people, run unchanged on exact numbers and compared with the recurrence of a rule."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import random
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from derivations.engines.aten.mode import exactly
from derivations.engines.aten.numbers import Entries, NotModelled, Numbers, Unsound
from derivations.engines.aten.tensors import Exact
from derivations.models.programs import CONSTANTS, ROLES, Program
from derivations.models.torch_forms import SCALE, Stream, difference, exact
from derivations.models.torch_sizes import Size
from derivations.residual import describe, is_zero
from gdn_core.extras import EXTRAS, missing

Function = Callable[..., Any]


class Refused(ValueError):
    """A program that cannot be compared; the message is a sentence that names the argument or the operation."""


@dataclass(frozen=True)
class Compared:
    """What came of one run of a program.

    Args:
        residual: the first wrong output, with its indices; "" if all are equal.
        unmodelled: what is not modelled of the operations that it ran: rounding, and casts, which are the identity.
        operations: the names of the ATen operations that it ran on exact numbers.
    """

    residual: str
    unmodelled: tuple[str, ...]
    operations: tuple[str, ...]


def found(where: str, of: Any = Callable) -> Any:
    """Import what a user names, and nothing else, and return the function.

    Args:
        where: ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``.
        of: what it must be.

    Raises:
        Refused: if there is no such module or function, or if it raises.
    """
    place, _, name = where.rpartition(":")
    file = Path(place) if place.endswith(".py") else None
    if file and not file.is_file():
        raise Refused(f"{place}: there is no such file")
    sys.path.insert(0, str(file.resolve().parent if file else Path.cwd()))  # as for a script, or python -m
    try:
        module = _of_file(file) if file else importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise Refused(f"{where}: {error}") from error
        said = missing(error.name) if error.name in EXTRAS else f"there is no module {error.name}"
        raise Refused(f"{where}: {said}") from error
    except SyntaxError as error:
        raise Refused(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # it runs code that may be wrong in any way
        raise Refused(f"{where}: its import raises {_told(error)}{_line(error)}") from error
    function = vars(module).get(name)
    if function is None or not isinstance(function, of):
        raise Refused(f"{where}: {place} has no function {name}")
    return function


def _of_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path.resolve())
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def fitted(function: Function, program: Program) -> tuple[Program, tuple[Size, ...]]:
    """Find out which parameter is what, and at which sizes to compare.

    Raises:
        Refused: if the function has other parameters than the program says, or not those that the rule needs.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise Refused(f"{program.where}: its parameters cannot be read") from error
    starred = {p.name for p in parameters.values() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in (*program.roles, *program.constants):
        if (name not in parameters and not takes_any) or name in starred:
            raise Refused(f"{program.where}: it has no parameter {name}; it has {', '.join(parameters) or 'none'}")
    roles, constants = dict(program.roles), dict(program.constants)
    for name in parameters:
        if name in roles or name in constants:
            continue
        role = next((role for role, names in ROLES.items() if name in names and role not in roles.values()), None)
        if role:
            roles[name] = role
        elif name in CONSTANTS:
            constants[name] = CONSTANTS[name]
    given = set(roles.values())
    allowed = {role for options in program.gates for role in options}
    for name, role in list(roles.items()):
        if role in ("g", "alpha", "beta", "erase", "write") and role not in allowed:
            raise Refused(f"{program.where}: {name} is {role}, which {program.rule} does not have")
    for options in (("q",), ("k",), ("v",), *program.gates):
        if len(given & set(options)) != 1:
            which = " or ".join(options)
            raise Refused(f"{program.where}: expected one parameter that is {which}: say --map PARAMETER={options[0]}")
    if missed := [p.name for p in parameters.values()
                  if p.default is p.empty and p.name not in (*roles, *constants, *starred)]:  # fmt: skip
        raise Refused(f"{program.where}: its parameter {missed[0]} has no default: say --map {missed[0]}=CONSTANT")
    state = next((parameters.get(name) for name, role in roles.items() if role == "initial_state"), None)
    known = Program(**{**vars(program), "roles": roles, "constants": constants})
    return known, known.at(given, optional=state is not None and state.default is None)


def compare(function: Function, program: Program, size: Size, rng: random.Random) -> Compared:
    """Run a program at a size on a random point, and compare what it returns with the recurrence.

    Args:
        function: the program.
        program: what :func:`fitted` found.
        size: the size.
        rng: draws the prime and the point.

    Raises:
        Refused: if the program raises, or does what is not modelled.
    """
    numbers = Numbers(rng)
    roles = set(program.roles.values())
    stream = Stream(replace(size, rule=program.write_rule), numbers, program.eps if "l2norm" in roles else None)
    scale = SCALE if "scale" in roles else size.K**-0.5 if program.scale is None else program.scale
    arguments = {name: _argument(role, program, stream) for name, role in program.roles.items()}
    arguments |= program.constants
    by_place = [arguments.pop(name) for name, parameter in inspect.signature(function).parameters.items()
                if parameter.kind is parameter.POSITIONAL_ONLY and name in arguments]  # fmt: skip
    residual: Any
    mode = None
    try:
        with exactly(numbers) as mode:
            got = function(*by_place, **arguments)
        residual = _difference(got, program, stream, scale)
    except Unsound as error:
        residual = f"{error}{_line(error)}"
    except NotModelled as error:
        what = f"{program.where}: uses what is not modelled: {error}"
        raise Refused(f"{what}, at {size.stream}{_line(error)}") from error
    except Refused:
        raise
    except (Exception, SystemExit) as error:  # it is code that may be wrong in any way
        what = f"{program.where}: raises {_told(error)}"
        raise Refused(f"{what}, at {size.stream}{_line(error)}") from error
    text = "" if is_zero(residual) else describe(residual)
    assert mode is not None
    return Compared(text, mode.unmodelled, tuple(sorted(mode.operations)))


def _argument(role: str, program: Program, stream: Stream) -> Any:
    dtype = getattr(torch, program.dtype)
    size, numbers = stream.size, stream.numbers
    if role == "scale":
        return SCALE
    if role == "l2norm":
        return True
    if role == "cu_seqlens":
        return torch.tensor(size.bounds, dtype=torch.int32) if size.lengths else None
    if role == "initial_state":
        return None if stream.S is None else exact(_ordered(stream.S, "BHKV", program.state), dtype)
    name = {"alpha": "g", "erase": "b", "write": "w"}.get(role, role)
    entries = stream.entries()[name]
    if role == "alpha":
        entries = numbers.exponential(entries)
    return exact(_ordered(entries, "BTHD" if role in "qkv" else "BTH", program.layout), dtype)


def _ordered(x: Entries, axes: str, wanted: str) -> Entries:
    """Return a tensor with its first axes in another order; an axis that is not wanted has size 1."""
    kept = [axis for axis in wanted if axis in axes]
    rest = range(len(axes), x.ndim)
    dropped = [axis for axis in axes if axis not in wanted]
    moved = x.permute(*(axes.index(axis) for axis in (*dropped, *kept)), *rest)
    return moved[(0,) * len(dropped)].contiguous()


def _difference(got: Any, program: Program, stream: Stream, scale: float) -> Any:
    o, S = (torch.from_numpy(x) for x in stream.recurrence(scale))
    want = {"o": _ordered(o, "BTHD", program.layout), "S": _ordered(S, "BHKV", program.state)}
    names = program.results or (("o",) if isinstance(got, torch.Tensor) else ("o", "S"))
    returned = (got,) if isinstance(got, torch.Tensor) else got
    if not isinstance(returned, tuple | list) or len(returned) != len(names):
        count = len(returned) if isinstance(returned, tuple | list) else f"a {type(returned).__name__}"
        raise Refused(f"{program.where}: expected it to return {', '.join(names)}, got {count}: say --returns")
    residual = {}
    for name, value in zip(names, returned, strict=True):
        if name != "_":
            if not isinstance(value, Exact):
                what = f"expected a tensor that it computed, got {type(value).__name__}"
                raise Refused(f"{program.where}: returns for {name}: {what}; say --returns")
            residual[name] = difference(stream.numbers, value, want[name].numpy())
    return residual


def raised(error: BaseException) -> str:
    """Say what was raised, and at which line of the program's own code."""
    return f"{_told(error)}{_line(error)}"


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _line(error: BaseException) -> str:
    """Return the last line that was running in the program's own code when it raised, in parentheses."""
    packages, own = Path(torch.__file__).parents[1], Path(__file__).parents[2]
    places = (own / "derivations", own / "gdn_core", packages / "torch", packages / "triton")
    others = (*map(str, places), "<")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(others)]
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
