"""The fixtures of every test: out-of-bounds addresses and unwritten memory are detected."""

import os

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():  # read when a kernel is decorated
    os.environ["TRITON_INTERPRET"] = "1"
triton = pytest.importorskip("triton", reason="Triton has no wheel for this platform")
tl = pytest.importorskip("triton.language")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="it is the interpreter that is watched")


@triton.jit
def copy_kernel(x, y, SIZE: tl.constexpr, FROM: tl.constexpr, TO: tl.constexpr):
    o = tl.arange(0, SIZE)
    tl.store(y + o + TO, tl.load(x + o + FROM, mask=o < SIZE - 1, other=0.0))


@pytest.mark.parametrize(("start", "to"), [(2, 0), (-1, 0), (0, 1), (0, -1)])
def test_an_address_outside_the_tensors_of_a_launch_is_refused(start: int, to: int) -> None:
    room = torch.zeros(32)
    x, y = room[8:16], room[17:25]  # in the middle of memory that is there
    copy_kernel[(1,)](x, y, SIZE=8, FROM=1, TO=0)  # the last address is masked
    with pytest.raises(triton.runtime.errors.InterpreterError, match=r"1 of [78] addresses are outside"):
        copy_kernel[(1,)](x, y, SIZE=8, FROM=start, TO=to)


def test_memory_that_nobody_wrote_is_nan_or_leads_astray() -> None:
    assert torch.empty(3).isnan().all()
    assert (torch.empty_like(torch.zeros(3, dtype=torch.int32)) == 2**30).all()
