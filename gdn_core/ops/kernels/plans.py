"""Plans: what a pass launches for inputs of given shapes, found once and replayed for other numbers.

A plan holds all that does not depend on addresses: grids, tiles, tables, strides, constants, which kernel was compiled,
and where each intermediate lies in one workspace. Two intermediates share a place if the last launch that uses the one
comes before the first that uses the other. Running a plan allocates outputs and workspace and launches.

A shape is planned when it comes the second time, so that shapes that never come again cost no plan. The first run of a
plan launches by Triton, which compiles; the next ones by ``driver.Block``, unless that cannot be or somebody wants to
see the launches. Nothing is read from an input, so lengths of packed sequences may change in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gdn_core.ops.kernels.driver import Block, Compiled, Place, TensorMap, Unsupported, hooked
from gdn_core.ops.kernels.launches import Launch, NotPlanned, Scale, recording

ALIGNMENT = 256  # of intermediates, in bytes: that of PyTorch's allocator is 512, and kernels count on 16
ALIGNED_INPUT = 15  # the bits of an input's address that must be 0
MOST_PLANS = 256
MOST_SEEN = 4096

Pass = Callable[..., tuple[Tensor | None, ...]]


@dataclass(frozen=True)
class _Output:
    """An output: its place in a storage, and that storage's size in numbers; ``whole`` if it is all of it, in order."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    size: int
    whole: bool

    @classmethod
    def of(cls, x: Tensor) -> _Output:
        """Describe an output that was recorded."""
        size = x.untyped_storage().nbytes() // x.element_size()
        whole = x.is_contiguous() and x.numel() == size
        return cls(x.dtype, tuple(x.shape), x.stride(), int(x.storage_offset()), size, whole)

    def allocate(self, device: torch.device) -> tuple[int, Tensor]:
        """Allocate the storage; return its address and the output in it."""
        if self.whole:
            x = torch.empty(self.shape, dtype=self.dtype, device=device)
            return x.data_ptr(), x
        whole = torch.empty(self.size, dtype=self.dtype, device=device)
        return whole.data_ptr(), whole.as_strided(self.shape, self.strides, self.offset)


def _storage(x: Tensor) -> int:
    return x.untyped_storage()._cdata


def _arranged(sizes: dict[int, int], used: dict[int, tuple[int, int]]) -> tuple[dict[int, int], int]:
    """Place intermediates in a workspace, the largest first, each at the lowest free place; return its size, too.

    Args:
        sizes: bytes of each.
        used: the first and the last launch that use it.
    """
    placed: list[tuple[int, int, int, int]] = []  # start, stop, first, last
    found, total = {}, 0
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        first, last = used[name]
        at = 0
        for start, stop, since, until in sorted(placed):
            if since <= last and first <= until and start < at + sizes[name] and at < stop:
                at = -(-stop // ALIGNMENT) * ALIGNMENT
        placed.append((at, at + sizes[name], first, last))
        found[name], total = at, max(total, at + sizes[name])
    return found, total


class Plan:
    """A pass over inputs of given shapes."""

    def __init__(self, run: Pass, inputs: Sequence[Tensor | None], device: torch.device) -> None:
        """Record the pass.

        Args:
            run: the pass; it takes the inputs and the scale, and allocates, launches, and returns outputs.
            inputs: its inputs, contiguous or of strides that the pass passes on.
            device: where they are.

        Raises:
            NotPlanned: if the pass does anything else.
        """
        with recording(device) as recorder:
            given = [None if x is None else _meta(x) for x in inputs]
            outputs = run(*given, Scale(1.0))
        self._device, self._launches = device, recorder.launches
        self._inputs = [i for i, x in enumerate(given) if x is not None]
        slots = {_storage(x): n for n, x in enumerate(x for x in given if x is not None)}
        self._outputs: list[_Output | None] = []
        for x in outputs:
            if x is None:
                self._outputs.append(None)
                continue
            if _storage(x) in slots:
                raise NotPlanned("an output shares its memory with an input or another output")
            slots[_storage(x)] = len(slots)
            self._outputs.append(_Output.of(x))
        sizes: dict[int, int] = {}
        used: dict[int, tuple[int, int]] = {}
        self._constants: list[Tensor] = []
        for i, launch in enumerate(self._launches):
            for x in _tensors((*launch.arguments, *launch.options.values())):
                name = _storage(x)
                if x.device.type != "meta":
                    self._constants.append(x)
                elif name not in slots:
                    sizes[name] = x.untyped_storage().nbytes()
                    used[name] = (used.get(name, (i, i))[0], i)
        at, self.workspace = _arranged(sizes, used)
        self._slots, self._at, self._work = slots, at, len(slots)
        self._count = len(slots) + 1 + len(self._constants)
        self._constant_slots = {id(x): self._work + 1 + i for i, x in enumerate(self._constants)}
        self._addresses = [x.data_ptr() for x in self._constants]
        self._kernels = list({id(x.kernel): x.kernel for x in self._launches}.values())
        self._block: Block | None = None
        self._unsupported = device.type != "cuda" or torch.version.hip is not None
        self._running = threading.Lock()
        del recorder.allocated[:]

    def constants(self) -> list[Tensor]:
        """Return the tables that the plan reads."""
        return self._constants

    def run(self, inputs: Sequence[Tensor | None], scale: float) -> list[Tensor | None]:
        """Run the pass.

        Args:
            inputs: as those of the plan.
            scale: factor on the queries.
        """
        given: list[Any] = [inputs[i] for i in self._inputs]
        slots = [x.data_ptr() for x in given]
        outputs: list[Tensor | None] = []
        for of in self._outputs:
            if of is None:
                outputs.append(None)
                continue
            address, x = of.allocate(self._device)
            slots.append(address)
            outputs.append(x)
        work = None
        if self.workspace:
            work = torch.empty(self.workspace, dtype=torch.uint8, device=self._device)
        if self._block is not None and not hooked(self._kernels) and self._running.acquire(blocking=False):
            try:
                slots.append(0 if work is None else work.data_ptr())
                slots += self._addresses
                stream = torch._C._cuda_getCurrentRawStream(self._device.index)
                if self._block.run(slots, scale, stream):
                    return outputs
            finally:
                self._running.release()
        self._launch(given, outputs, work, scale)
        return outputs

    def _launch(self, given: list[Tensor], outputs: list[Tensor | None], work: Tensor | None, scale: float) -> None:
        """Launch by Triton, and keep what it compiled."""
        slots = [*given, *(x for x in outputs if x is not None)]
        compiled = []
        for launch in self._launches:
            arguments = [self._real(x, slots, work, scale) for x in launch.arguments]
            options = {name: self._real(x, slots, work, scale) for name, x in launch.options.items()}
            compiled.append(launch.kernel[launch.grid](*arguments, **options))
        if self._block is None and not self._unsupported:
            try:
                self._block = Block([self._compiled(*of) for of in zip(self._launches, compiled, strict=True)])
            except Unsupported:
                self._unsupported = True

    def _real(self, x: Any, slots: list[Tensor], work: Tensor | None, scale: float) -> Any:
        """Return an argument with the tensors of this run in the place of those that were recorded."""
        if isinstance(x, Scale):
            return scale
        if isinstance(x, tuple):
            return tuple(self._real(each, slots, work, scale) for each in x)
        if hasattr(x, "block_shape"):
            return replace(x, base=self._real(x.base, slots, work, scale))
        if not isinstance(x, Tensor) or x.device.type != "meta":
            return x
        slot = self._slots.get(_storage(x))
        if slot is None:
            assert work is not None
            whole = work[self._at[_storage(x)] :][: x.untyped_storage().nbytes()].view(x.dtype)
        else:
            whole = slots[slot]
        before = 0 if slot is not None and slot >= len(self._inputs) else whole.storage_offset()
        return whole.as_strided(x.shape, x.stride(), before + x.storage_offset())

    def _compiled(self, launch: Launch, kernel: Any) -> Compiled:
        """Describe a launch by places instead of tensors."""
        names = launch.kernel.arg_names
        by_name = dict(zip(names, launch.arguments, strict=False)) | launch.options
        if kernel is None or not hasattr(kernel, "src"):
            raise Unsupported("what was launched is not known")
        return Compiled(kernel, launch.grid, tuple(self._placed(by_name[name]) for name in names))

    def _placed(self, x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(self._placed(each) for each in x)
        if hasattr(x, "block_shape"):
            return TensorMap(self._placed(x.base), tuple(x.shape), tuple(x.strides), x.padding)
        if not isinstance(x, Tensor):
            return x
        if x.device.type != "meta":
            return Place(self._constant_slots[id(x)], 0)
        behind = int(x.storage_offset()) * x.element_size()
        slot = self._slots.get(_storage(x))
        return Place(self._work, self._at[_storage(x)] + behind) if slot is None else Place(slot, behind)


def _meta(x: Tensor) -> Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


def _tensors(arguments: Sequence[Any]) -> list[Tensor]:
    """Return the tensors among arguments, those in tuples and of tensor maps included."""
    found: list[Tensor] = []
    for x in arguments:
        if isinstance(x, Tensor):
            found.append(x)
        elif isinstance(x, tuple):
            found += _tensors(x)
        elif hasattr(x, "block_shape"):
            found.append(x.base)
    return found


class Plans:
    """The plans of one pass, by what its launches depend on; at most ``MOST_PLANS``, the oldest is forgotten first.

    Tables that a CUDA graph reads are kept for good.
    """

    def __init__(self) -> None:
        self._plans: dict[Hashable, Plan | None] = {}
        self._seen: dict[Hashable, None] = {}
        self._read_by_graphs: dict[int, Tensor] = {}
        self._changing = threading.Lock()

    def run(
        self, key: Hashable, run: Pass, inputs: Sequence[Tensor | None], scale: float
    ) -> list[Tensor | None] | None:
        """Run a pass by its plan.

        Args:
            key: everything that the launches depend on beside the shapes, strides, dtypes and device of the inputs.
            run: the pass, as ``Plan`` takes it.
            inputs: its inputs, on one device, which is the current one.
            scale: factor on the queries.

        Returns:
            Its outputs; None if it has no plan, or no room for it: then the caller runs it.
        """
        device = next(x.device for x in inputs if x is not None)
        bits = 0
        for x in inputs:
            if x is not None:
                bits |= x.data_ptr()
        if bits & ALIGNED_INPUT:  # other kernels are compiled for such addresses
            return None
        name = (key, device, *[None if x is None else (x.shape, x.stride(), x.dtype) for x in inputs])
        try:
            plan = self._plans[name]
        except KeyError:
            plan = self._planned(name, run, inputs, device)
        if plan is None:
            return None
        if device.type == "cuda" and torch._C._cuda_isCurrentStreamCapturing():
            for table in plan.constants():
                self._read_by_graphs[id(table)] = table
        try:
            return plan.run(inputs, scale)
        except torch.OutOfMemoryError:  # what is not planned works in smaller parts
            return None

    def _planned(self, name: Hashable, run: Pass, inputs: Sequence[Tensor | None], device: torch.device) -> Plan | None:
        """Plan what comes the second time, unless a CUDA graph is captured: the tables would be the graph's."""
        if name not in self._seen:
            with self._changing:
                self._seen[name] = None
                if len(self._seen) > MOST_SEEN:
                    del self._seen[next(iter(self._seen))]
            return None
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return None
        plan = None
        with suppress(NotPlanned):
            plan = Plan(run, inputs, device)
        with self._changing:
            self._plans[name] = plan
            if len(self._plans) > MOST_PLANS:
                del self._plans[next(iter(self._plans))]
        return plan
