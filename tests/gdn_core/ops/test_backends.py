"""The choice of a backend, and the reasons of refusals, from facts."""

from dataclasses import replace

import pytest

from gdn_core.ops.backends import BACKENDS, Request, choose, refusal

GPU = Request(triton=True, cuda=True)
CPU = Request(triton=True, cuda=False, refused="it needs an NVIDIA GPU, and PyTorch sees none here")
MAC = Request(triton=False, cuda=False)


@pytest.mark.parametrize(
    ("request_", "backend", "refused"),
    [
        (GPU, "triton", []),
        (CPU, "interpreter", ["triton"]),
        (MAC, "torch", ["triton", "interpreter"]),
        (replace(GPU, needs_grad=True), "torch", ["triton", "interpreter"]),
        (replace(CPU, dtype="bfloat16"), "torch", ["triton", "interpreter"]),
    ],
)
def test_the_first_backend_that_can_is_taken_and_the_others_say_why_not(
    request_: Request, backend: str, refused: list[str]
) -> None:
    chosen, refusals = choose(request_)
    assert chosen == backend
    assert list(refusals) == refused
    assert all(refusals.values())


def test_a_refusal_says_what_is_missing() -> None:
    assert refusal("triton", CPU) == f"Triton does not compile: {CPU.refused}"
    assert refusal("triton", MAC) == "Triton does not run: it is not installed, and is published for Linux only"
    assert "no gradients" in (refusal("triton", replace(GPU, needs_grad=True)) or "")
    assert "float32, not in bfloat16" in (refusal("interpreter", replace(CPU, dtype="bfloat16")) or "")
    assert "does not run in a process that compiles" in (refusal("interpreter", GPU) or "")


def test_what_is_refused_is_not_chosen() -> None:
    for facts in (GPU, CPU, MAC):
        for dtype in ("float32", "float64"):
            for needs_grad in (False, True):
                request = replace(facts, dtype=dtype, needs_grad=needs_grad)
                chosen, refusals = choose(request)
                assert refusal(chosen, request) is None
                assert all(refusals[backend] == refusal(backend, request) for backend in refusals)
                assert (*refusals, chosen) == BACKENDS[: len(refusals) + 1]
