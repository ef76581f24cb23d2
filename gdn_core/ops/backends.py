"""Choose the backend of a request: a pure function of facts, with the reason why each other backend was refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Backend = Literal["triton", "interpreter", "torch"]
Form = Literal["trajectory", "chunk", "recurrent"]

BACKENDS: tuple[Backend, ...] = get_args(Backend)
# Without a GPU the trajectory runs in the interpreter. The public functions have plain PyTorch, which is faster there.
ORDER: dict[Form, tuple[Backend, ...]] = {
    "trajectory": BACKENDS,
    "chunk": ("triton", "torch"),
    "recurrent": ("triton", "torch"),
}
KERNEL_DTYPES: dict[Form, tuple[str, ...]] = {
    "trajectory": ("float32",),
    "chunk": ("bfloat16", "float16", "float32"),
    "recurrent": ("bfloat16", "float16", "float32"),
}
MOST_CHANNELS = 256


@dataclass(frozen=True, kw_only=True)
class Request:
    """The facts that decide the backend.

    Args:
        form: "trajectory", which records every token, or the API's "chunk" and "recurrent".
        triton: whether Triton can be imported.
        cuda: whether kernels are compiled for an NVIDIA GPU here.
        refused: if not, the reason that the worker process gave; None for the usual one.
        dtype: of the tensors.
        needs_grad: whether gradients are needed.
        transformed: whether a transform of ``torch.func`` or a forward-mode derivative is active.
        channels: the larger of the key and value channels of a memory.
    """

    form: Form = "trajectory"
    triton: bool
    cuda: bool
    refused: str = ""
    dtype: str = "float32"
    needs_grad: bool = False
    transformed: bool = False
    channels: int = 1


def refusal(backend: Backend, request: Request) -> str | None:
    """Return the reason why a backend cannot run a request, or None if it can."""
    if backend == "torch":
        return None
    name = "Triton" if backend == "triton" else "Triton's interpreter"
    if request.transformed:
        return f"{name} does not take it: kernels have no forward-mode derivatives, and torch.func does not map them"
    if request.needs_grad and request.form != "chunk":
        return f"{name} does not take it: the {request.form} kernel has no gradients"
    if request.dtype not in (dtypes := KERNEL_DTYPES[request.form]):
        takes = "computes in float32, not in" if len(dtypes) == 1 else f"takes {', '.join(dtypes)}, not"
        return f"{name} does not take it: the {request.form} kernel {takes} {request.dtype}"
    if request.channels > MOST_CHANNELS and request.form != "trajectory":
        return f"{name} does not take it: a memory of at most {MOST_CHANNELS} channels fits, got {request.channels}"
    if not request.triton:
        return f"{name} does not run: {request.refused or 'it is not installed, and is published for Linux only'}"
    if backend == "triton" and not request.cuda:
        return f"{name} does not compile: {request.refused or 'it needs an NVIDIA GPU, and there is none here'}"
    if backend == "interpreter" and request.cuda:
        return f"{name} does not run in a process that compiles: ask for it by name"
    return None


def choose(request: Request) -> tuple[Backend, dict[Backend, str]]:
    """Return the first backend that can run a request.

    Returns:
        The backend, and for each backend before it the reason why it cannot.
    """
    refusals: dict[Backend, str] = {}
    for backend in ORDER[request.form]:
        sentence = refusal(backend, request)
        if sentence is None:
            return backend, refusals
        refusals[backend] = sentence
    raise AssertionError("torch takes every request")
