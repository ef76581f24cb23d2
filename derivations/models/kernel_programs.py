"""Kernels of other people, compiled for a GPU that need not be here and compared with what a specification expects."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from triton.runtime.autotuner import Heuristics
from triton.runtime.jit import JITFunction

from derivations.engines.aten.numbers import NotModelled, Numbers, Unsound
from derivations.engines.field import Residues, stack
from derivations.engines.ir.chain import Chain
from derivations.engines.ir.front import options_for
from derivations.engines.unmodelled import noted
from derivations.models.kernel_specs import Argument, Launch, Spec, in_words
from derivations.models.torch_forms import never_written
from derivations.models.torch_programs import Refused, found, raised
from derivations.residual import describe, is_zero


@dataclass(frozen=True)
class Target:
    """What a kernel is compiled to.

    Args:
        arch: compute capability of the GPU, 90 for 9.0.
        level: ``ttir`` or ``ttgir``.
        insist: whether to read the text of a Triton that was not tested.
    """

    arch: int = 80
    level: str = "ttir"
    insist: bool = False


@dataclass(frozen=True)
class Kernel:
    """A kernel as a user names it.

    Args:
        function: Triton's function.
        heuristics: how arguments follow from others, by name, as under ``triton.heuristics``; the outermost first.
    """

    function: Any
    heuristics: tuple[Mapping[str, Callable[[dict[str, Any]], Any]], ...]

    def completed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a launch's arguments with those that follow from them, as Triton launches it."""
        arguments = dict(given)
        for by_name in self.heuristics:
            for name, choose in by_name.items():
                arguments[name] = choose(arguments)
        return arguments


def kernel_of(where: str) -> Kernel:
    """Import what a user names, and return the kernel.

    Raises:
        Refused: if there is no such module or kernel, or if it raises.
    """
    kernel, heuristics = found(where, of=object), []
    while not isinstance(kernel, JITFunction) and hasattr(kernel, "fn"):
        if isinstance(kernel, Heuristics):
            heuristics.append(kernel.values)
        kernel = kernel.fn  # what chooses configurations by timing is left out: here the specification chooses
    if not isinstance(kernel, JITFunction):
        raise Refused(f"{where}: expected a function under @triton.jit, got {type(kernel).__name__}")
    return Kernel(kernel, tuple(heuristics))


def spec_of(path: str) -> Spec:
    """Run a specification's file.

    Raises:
        Refused: if there is no such file, if it raises, or if a part of it is missing.
    """
    if Path(path).suffix != ".py":
        raise Refused(f"{path}: expected a Python file")
    launch, expected = found(f"{path}:launch"), found(f"{path}:expected")
    sizes = vars(inspect.getmodule(launch)).get("SIZES")
    if not isinstance(sizes, list | tuple) or not sizes or not all(isinstance(size, Mapping) for size in sizes):
        raise Refused(f"{path}: expected SIZES, a list of sizes by name, such as [{{'T': 5, 'K': 4}}]")
    return Spec(tuple(sizes), launch, expected)


def compare(
    kernel: Kernel, spec: Spec, size: Mapping[str, int], target: Target, rng: random.Random
) -> tuple[str, tuple[str, ...]]:
    """Run a kernel at a size on a random point, and compare what it writes with what is expected.

    Args:
        kernel: the kernel.
        spec: its specification.
        size: the size.
        target: what it is compiled to.
        rng: draws the prime and the point.

    Returns:
        The first wrong output, with its indices, or what fails; "" if all are right. And what is not modelled.

    Raises:
        Refused: if the kernel or its specification raises, or does what is not modelled.
    """
    name, at = kernel.function.fn.__name__, f"at {in_words(size)}"
    residual: Any
    try:
        numbers = Numbers(rng)
        launch = spec.launch(**size)
        if not isinstance(launch, Launch):
            raise Refused(f"launch: expected a Launch, got {type(launch).__name__}")
        with noted() as unmodelled:
            residual = _residual(kernel, launch, spec, target, numbers, rng)
    except Unsound as error:
        residual = str(error)
    except NotModelled as error:
        raise Refused(f"{name}: uses what is not modelled: {error}, {at}") from error
    except Refused as refused:
        raise Refused(f"{refused}, {at}") from refused
    except (Exception, SystemExit) as error:  # it is code that may be wrong in any way
        raise Refused(f"{name}: raises {raised(error)}, {at}") from error
    text = "" if is_zero(residual) else describe(residual)
    return text, tuple(sorted(unmodelled))


def _residual(
    kernel: Kernel, launch: Launch, spec: Spec, target: Target, numbers: Numbers, rng: random.Random
) -> dict[str, Any]:
    chain = Chain(numbers, rng, arch=target.arch, level=target.level, insist=target.insist)
    tensors: dict[str, torch.Tensor] = {}
    known: dict[str, Any] = {"exp": numbers.field.exp}
    for name, x in launch.arguments.items():
        if not isinstance(x, Argument):
            known[name] = numbers.constant(float(np.float32(x))) if isinstance(x, float) else x
            continue
        tensors[name] = torch.empty(x.shape, dtype=getattr(torch, x.dtype), device="meta")
        entries = _entries(x, numbers)
        if entries is not None:
            chain.put(tensors[name], entries)
            known[name] = _read(x, entries, numbers)
    function, name = kernel.function, kernel.function.fn.__name__
    given = kernel.completed({name: tensors.get(name, x) for name, x in launch.arguments.items()})
    defaults = {parameter.name: parameter.default for parameter in function.params if parameter.has_default}
    if missed := [of for of in function.arg_names if of not in given and of not in defaults]:
        raise Refused(f"launch: gives no {missed[0]}, which {name} takes")
    by_place = tuple(given.pop(of) if of in given else defaults[of] for of in function.arg_names)
    if more := sorted(set(given) - options_for(target.arch)):
        raise Refused(f"launch: gives {more[0]}, which is no parameter of {name} and no option")
    chain.run(function, launch.grid, by_place, given)
    wanted = inspect.signature(spec.expected).parameters
    if unknown := [name for name in wanted if name not in known]:
        raise Refused(f"expected: takes {unknown[0]}, which launch does not give")
    expected = spec.expected(**{name: known[name] for name in wanted})
    outputs = [name for name, x in launch.arguments.items() if isinstance(x, Argument) and x.role == "output"]
    if not isinstance(expected, Mapping) or not set(outputs) <= set(expected) <= set(tensors) or not expected:
        raise Refused(f"expected: expected it to return {', '.join(outputs) or 'an array'} by name")
    return {name: _difference(chain.get(tensors[name]), want, numbers) for name, want in expected.items()}


def _entries(x: Argument, numbers: Numbers) -> np.ndarray | None:
    if x.role == "output":
        return None
    if x.role == "integers":
        return np.array(x.entries)
    if x.role == "values":
        return numbers.draw(*x.shape).numpy()
    logs = numbers.draw_logs(*x.shape)
    return (numbers.in_base_2(logs) if x.base_2 else logs).numpy()


def _read(x: Argument, entries: np.ndarray, numbers: Numbers) -> Any:
    if x.role == "integers":
        return entries
    whole = torch.from_numpy(entries)
    return numbers.residues(whole) if x.role == "values" else numbers.logs(whole, base_2=x.base_2)


def _difference(got: np.ndarray, want: Any, numbers: Numbers) -> Any:
    if isinstance(want, list | tuple):
        want = stack(want)
    if not isinstance(want, Residues) or want.shape != got.shape:
        raise Refused(f"expected: expected an array {list(got.shape)}, got {getattr(want, 'shape', want)}")
    return never_written(torch.from_numpy(got)) or Residues(
        numbers.residues(torch.from_numpy(got)).values - want.values, numbers.p
    )
