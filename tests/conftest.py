"""Settings shared by all tests."""

import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from gdn_core.lab.worker import front_end

# Shared machines stall; a slow example is no bug. CI runs the same examples each time, so that red means changed.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background; what a test starts would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


class OutOfBounds(Exception):
    """A kernel touched memory that it was not given."""


@pytest.fixture(autouse=True)
def kernels_stay_in_their_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every address outside the tensors of a launch: in the interpreter a wild one may well go unnoticed.

    A GPU faults at such an address, or gives the numbers of somebody else.
    """
    interpreter = sys.modules.get("triton.runtime.interpreter")
    if interpreter is None:
        return
    given: dict[str, np.ndarray] = {}
    take, builder = interpreter.GridExecutor._init_args_hst, interpreter.InterpreterBuilder

    def tensors(arg: Any) -> Iterator[Any]:
        if isinstance(arg, tuple):
            for part in arg:
                yield from tensors(part)
        elif hasattr(arg, "base"):  # a tensor's descriptor, or a tensor in another dtype
            yield from tensors(arg.base)
        elif hasattr(arg, "data_ptr") and math.prod(arg.size()):
            yield arg

    def taking(executor: Any, args: Any, kwargs: Any) -> Any:
        taken = take(executor, args, kwargs)
        ends = sorted(
            (
                x.data_ptr(),
                x.data_ptr() + (1 + sum((n - 1) * s for n, s in zip(x.size(), x.stride(), strict=True))) * x.itemsize,
            )
            for arg in (*taken[0], *taken[1].values())
            for x in tensors(arg)
        )
        given["first"], given["end"] = np.array(ends, np.uint64).reshape(-1, 2).T
        given["end"] = np.maximum.accumulate(given["end"])
        return taken

    def checked(name: str, mask_at: int | None) -> None:
        access = getattr(builder, name)

        def accessing(self: Any, ptrs: Any, *rest: Any) -> Any:
            at = np.asarray(ptrs.data, np.uint64)
            if mask_at is not None:
                at = at[np.broadcast_to(np.asarray(rest[mask_at].data, bool), at.shape)]
            place = np.searchsorted(given["first"], at, side="right") - 1
            size = np.uint64(max(1, ptrs.get_element_ty().primitive_bitwidth // 8))
            inside = (place >= 0) & (at + size <= given["end"][place]) if at.size else np.True_
            if not np.all(inside):
                raise OutOfBounds(f"{name}: {np.sum(~inside)} of {at.size} addresses are outside the tensors given")
            return access(self, ptrs, *rest)

        monkeypatch.setattr(builder, name, accessing)

    monkeypatch.setattr(interpreter.GridExecutor, "_init_args_hst", taking)
    for name, mask_at in {"create_masked_load": 0, "create_masked_store": 1, "create_atomic_rmw": None}.items():
        checked(name, mask_at)


@pytest.fixture(autouse=True)
def the_interpreter_does_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the interpreter half of its time: the language is patched anew for each function that a kernel calls, and
    each type is made anew. Memory is read and written as it comes, so that each address is looked at.
    """
    interpreter = sys.modules.get("triton.runtime.interpreter")
    if interpreter is None:
        return
    patch, scope, language = interpreter._patch_lang, interpreter._LangPatchScope, interpreter.tl

    def patch_once(function: Any) -> Any:
        named = {id(value) for value in function.__globals__.values()}
        seen = [module for module in (language, language.core) if id(module) in named]
        return patch(function) if any(language.core.is_builtin(module.load) for module in seen) else scope()

    monkeypatch.setattr(interpreter, "_patch_lang", patch_once)
    front_end.install(moving=False)


@cache
def once(look: Callable[[], Any]) -> Any:
    return look()


@pytest.fixture(autouse=True)
def apps_start_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the apps that tests run without a browser what they would wait for.

    To Streamlit each of them is a server that starts, and that looks through every installed package for components.
    And the lab gives a browser time to draw.
    """
    if "streamlit.testing.v1" in sys.modules:
        from streamlit.components.v2 import manifest_scanner

        scan = manifest_scanner.scan_component_manifests
        monkeypatch.setattr(manifest_scanner, "scan_component_manifests", lambda: once(scan))
    if "app.session" in sys.modules:
        monkeypatch.setattr("app.session.PAUSE", 0.0)


@pytest.fixture(autouse=True)
def new_memory_is_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill memory that nobody has written yet: what is read of it shows."""
    torch = sys.modules.get("torch")
    if torch is None:
        return

    def poisoned(make: Any) -> Any:
        def making(*args: Any, **options: Any) -> Any:
            made = make(*args, **options)
            if made.device.type == "cpu":
                wild = 255 if made.dtype is torch.uint8 else 2**30  # 255: bytes of a NaN
                made.fill_(float("nan") if made.is_floating_point() else wild)
            return made

        return making

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, poisoned(getattr(torch, name)))
