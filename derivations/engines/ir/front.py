"""Compile kernels without a GPU, up to Triton's intermediate code, as text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import triton
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget, Language
from triton.compiler import make_backend

from derivations.engines.aten.numbers import NotModelled
from derivations.engines.ir.text import Function, check_version, parse
from gdn_core.ops.compile_check import described

LEVELS = ("ttir", "ttgir")


@dataclass(frozen=True)
class Compiled:
    """A kernel as it was compiled for a launch.

    Args:
        name: of the kernel.
        text: its code.
        arguments: those of the launch that it takes, without constants, in order; a tuple's entries follow each other.
    """

    name: str
    text: str
    arguments: tuple[tuple[str, str, Any], ...]  # name, type of the signature, value

    def function(self, *, insist: bool = False) -> Function:
        """Return the code, as operations.

        Args:
            insist: read the text of a Triton that was not tested.
        """
        if not insist:
            check_version(triton.__version__)
        return _parsed(self.text)


_parsed = cache(parse)


@cache
def _backend(arch: int) -> Any:
    return make_backend(GPUTarget("cuda", arch, 32))


def options_for(arch: int) -> set[str]:
    """Return the names of the options of compilation."""
    return set(vars(_backend(arch).parse_options({})))


_texts: dict[tuple[str, str, int, str], str] = {}


def compiled(kernel: Any, arguments: tuple[Any, ...], options: dict[str, Any], *, arch: int, level: str) -> Compiled:
    """Compile a kernel for a launch.

    Args:
        kernel: Triton's function.
        arguments: those given by place.
        options: those given by name, and the options of compilation.
        arch: compute capability of the target, 90 for 9.0.
        level: one of ``LEVELS``.

    Raises:
        NotModelled: if kernels are interpreted in this process.
    """
    if triton.knobs.runtime.interpret:
        raise NotModelled("TRITON_INTERPRET=1 is set, so that kernels are interpreted and not compiled")
    backend = _backend(arch)
    source, chosen = described(kernel, arguments, options, backend)
    if source.language == Language.GLUON:
        level = "ttgir"  # where it begins
    key = source.hash(), chosen.hash(), arch, level
    if key not in _texts:
        _texts[key] = _text(source, chosen, backend, arch, level)
    bound = dict(zip(kernel.arg_names, arguments, strict=False)) | options
    given = [(name, kind, bound.get(name)) for name, kind in source.signature.items()]
    return Compiled(kernel.fn.__name__, _texts[key], tuple(_flat(given)))


def _text(source: Any, options: Any, backend: Any, arch: int, level: str) -> str:
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    target = GPUTarget("cuda", arch, 32)
    functions = backend.get_codegen_implementation(options)
    module = source.make_ir(target, options, functions, backend.get_module_map(), context)
    stages: dict[str, Any] = {}
    backend.add_stages(stages, options, source.language)
    metadata: dict[str, Any] = {}
    for name in LEVELS[: LEVELS.index(level) + 1]:
        if name in stages:  # Gluon begins at the second
            module = stages[name](module, metadata)
    return module.str_nodebug()


def _flat(given: list[tuple[str, Any, Any]]) -> list[tuple[str, str, Any]]:
    found = []
    for name, kind, value in given:
        if isinstance(kind, tuple):
            found += _flat([(f"{name}[{i}]", *each) for i, each in enumerate(zip(kind, value, strict=True))])
        elif kind != "constexpr":
            found.append((name, kind, value))
    return found
