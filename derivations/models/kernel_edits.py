"""Edits of the text of the project's kernels, each run in the place of the kernel at sizes that show edits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from derivations.engines.aten.numbers import NotModelled, Numbers, Unsound
from derivations.models.kernel_forms import Kernels
from derivations.models.kernel_sizes import AMPERE, CHUNK, MANY, PAIRS, SEGMENTS, Case, Setting
from derivations.models.torch_forms import Stream, exact
from derivations.models.torch_sizes import Size
from derivations.mutants.of_texts import Edit, edits

Part = Callable[[Kernels, Size, dict[str, Any]], Any]
#: Packed and empty sequences in several segments, whose texts are edited; then windows of segments of two chunks, one
#: segment with heads in groups, and many short sequences. Widths are no multiple of a block, and the same in all, so
#: that cases share texts.
CASES: tuple[Case, ...] = (
    (Size(160, 20, 40, CHUNK, H=2, HV=4, lengths=(66, 0, 1, 66)), SEGMENTS),
    (Size(260, 20, 40, CHUNK, HV=2), replace(PAIRS, processors=8)),
    (Size(70, 20, 40, CHUNK, H=2, HV=4), AMPERE),
    (MANY, SEGMENTS),
)
#: Kernels whose edits are not run, because what they do shows only where a token is not finite.
LEFT_OUT = ("chunk_limits_kernel", "chunk_poison_kernel")


@dataclass(frozen=True)
class Edited:
    """What came of an edit.

    Args:
        kernel: the kernel.
        edit: the edit.
        by: the case at which it left a wrong number, failed, or raised; "" if it did at none.
        raises: whether it only raised, because the text has no meaning.
    """

    kernel: str
    edit: Edit
    by: str
    raises: bool = False


class Passes:
    """A pass in several cases, recorded once, and run with edited kernels.

    Args:
        cases: sizes and settings; each is tried after those before it.
        seed: of the points.
    """

    def __init__(self, cases: Sequence[Case], seed: int = 0) -> None:
        self._passes = [_Pass(size, setting, random.Random(f"{seed} {size}")) for size, setting in cases]

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """The kernels that are edited: those of the first case but those left out, each with its text."""
        return tuple(each for each in self._passes[0].texts if each[0] not in LEFT_OUT)

    def run(self, name: str, text: str, edit: Edit) -> Edited:
        """Run an edit in the cases that launch the kernel with this text, until one notices it."""
        raised = ""
        for each in self._passes:
            if (name, text) in each.texts:
                try:
                    if each.differs(name, text, edit.text):
                        return Edited(name, edit, each.name)
                except (NotModelled, ValueError, IndexError, TypeError, AttributeError, KeyError) as error:
                    raised = raised or f"{each.name}: {type(error).__name__}"
        return Edited(name, edit, raised, raises=bool(raised))

    def every(self, step: int = 1, first: int = 0) -> Iterator[Edited]:
        """Run the edits of all texts, or one of so many.

        Args:
            step: run one of this many.
            first: the first one.
        """
        found = ((name, text, edit) for name, text in self.texts for edit in edits(text))
        for name, text, edit in islice(found, first, None, step):
            yield self.run(name, text, edit)


class _Pass:
    """What the kernels of a case compute, in parts: decoding, forward, and backward, which begins with forward."""

    def __init__(self, size: Size, setting: Setting, rng: random.Random) -> None:
        self.name = f"{setting}, {size}"
        self._size, self._setting, self._numbers = size, setting, Numbers(rng)
        self._stream = Stream(size, self._numbers)
        self._do = self._numbers.draw(size.B, size.T, size.HV, size.V)
        self._dS = self._numbers.draw(size.N, size.HV, size.K, size.V)
        self.texts: dict[tuple[str, str], None] = {}
        self._parts: list[tuple[Part, set[tuple[str, str]], list[np.ndarray]]] = []
        for part in (Kernels.recurrent, Kernels.forward, self._backward):
            before = dict.fromkeys(self.texts)
            self.texts.clear()
            right = self._run(part, self._noted)
            self._parts.append((part, set(self.texts), right))
            self.texts = before | self.texts

    def _noted(self, name: str, text: str) -> str:
        self.texts[name, text] = None
        return text

    def _backward(self, kernels: Kernels, size: Size, given: dict[str, Any]) -> Any:
        return kernels.backward(size, given, exact(self._do), exact(self._dS)).values()

    def _run(self, part: Part, edited: Callable[[str, str], str]) -> list[np.ndarray]:
        kernels = Kernels(self._setting, self._numbers, random.Random(0))
        kernels.edited = edited
        return [x.entries.numpy() for x in part(kernels, self._size, self._stream.tensors()) if x is not None]

    def differs(self, name: str, text: str, changed: str) -> bool:
        """Tell whether a part fails or computes something else with a changed text."""
        for part, texts, right in self._parts:
            if (name, text) in texts:
                try:
                    got = self._run(part, lambda kernel, of: changed if (kernel, of) == (name, text) else of)
                except Unsound:
                    return True
                if any(not np.array_equal(a, b) for a, b in zip(got, right, strict=True)):
                    return True
        return False
