"""Run the code of a kernel: all programs of a launch side by side, in groups where their branches differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from derivations.engines.ir import shared  # noqa: F401  # which says what its operations mean
from derivations.engines.ir.carrier import Carrier, NotModelled, Unsound
from derivations.engines.ir.hopper import take_turns
from derivations.engines.ir.memory import Memory
from derivations.engines.ir.operations import MEANINGS, Machine, Value
from derivations.engines.ir.text import Block, Function, Operation, Region

Values = list[Value]
_MOST_ROUNDS = 1 << 20  # of a loop


class Frame:
    """The values of a group of programs.

    Args:
        programs: their numbers.
        parent: the group that they are part of.
        chosen: their places in that group.
    """

    def __init__(self, programs: np.ndarray, parent: Frame | None = None, chosen: np.ndarray | None = None) -> None:
        self.programs, self._parent, self._chosen = programs, parent, chosen
        self.values: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self.values:
            if self._parent is None:
                raise NotModelled(f"the value {name}, which nothing makes")
            self.values[name] = taken(self._parent[name], self._chosen)
        return self.values[name]

    def part(self, chosen: np.ndarray) -> Frame:
        """Return the frame of some of its programs."""
        return Frame(self.programs[chosen], self, chosen)


def taken(value: Value, chosen: Any) -> Value:
    """Return a value for some of the programs."""
    return value[chosen] if isinstance(value, np.ndarray) and value.shape[0] > 1 else value


def _merged(parts: Sequence[tuple[np.ndarray, Values]], count: int) -> Values:
    """Return the values of all programs from those of groups of them."""
    merged = []
    for of in zip(*(values for _, values in parts), strict=True):
        if not isinstance(of[0], np.ndarray):
            if any(value is not of[0] for value in of):
                raise NotModelled("a value that is no number and differs between programs")
            merged.append(of[0])
            continue
        whole = np.empty((count, *of[0].shape[1:]), of[0].dtype)
        for (chosen, _), value in zip(parts, of, strict=True):
            whole[chosen] = value
        merged.append(whole)
    return merged


class Launch:
    """A launch of a kernel.

    Args:
        function: the kernel.
        machine: its arithmetic, memory and grid.
        programs: the numbers of those that run, each with few rounds of a long loop; None for all, with all.
    """

    def __init__(self, function: Function, machine: Machine, programs: np.ndarray | None = None) -> None:
        self._function, self._machine, self._programs = function, machine, programs
        self._blocks = {block.label: block for block in function.body}
        self.operations, self._failed = 0, False

    def run(self, arguments: Mapping[str, Value]) -> None:
        """Run all programs.

        Args:
            arguments: by the names of the parameters in the text.
        """
        x, y, z = self._machine.grid
        frame = Frame(np.arange(x * y * z) if self._programs is None else self._programs)
        frame.values.update(arguments)
        if len(frame.programs):
            self._run_from(self._function.body[0], frame)

    def _run_from(self, block: Block, frame: Frame) -> None:
        while True:
            last = self._run_block(block, frame)
            if last.name == "tt.return":
                return
            targets = _targets(last)
            if last.name == "cf.br":
                taken_to = targets[0]
            elif last.name == "cf.cond_br":
                condition = frame[last.operands[0]]
                if not _agree(condition):
                    for wanted, target in zip((True, False), targets, strict=True):
                        part = frame.part(np.flatnonzero(condition == wanted))
                        self._run_from(self._entered(target, part), part)
                    return
                taken_to = targets[0 if condition.flat[0] else 1]
            else:
                raise NotModelled(f"the end of a block: {last.text}")
            block = self._entered(taken_to, frame)

    def _entered(self, target: tuple[str, tuple[str, ...]], frame: Frame) -> Block:
        block = self._blocks[target[0]]
        values = [frame[name] for name in target[1]]
        frame.values.update(zip(block.parameters, values, strict=True))
        return block

    def _run_block(self, block: Block, frame: Frame) -> Operation:
        """Run operations up to the one that ends the block, and return that."""
        for operation in block.operations:
            if operation.name in _ENDS:
                return operation
            self.operations += 1
            try:
                self._run_one(operation, frame)
            except (Unsound, NotModelled) as error:
                if not self._failed:
                    self._failed = True
                    error.args = (f"{error}, at {operation.text[:200]}",)
                raise
        return _YIELD

    def _run_one(self, operation: Operation, frame: Frame) -> None:
        control = _CONTROL.get(operation.name)
        if control is not None:
            made: Any = control(self, operation, frame)
        else:
            meaning = MEANINGS.get(operation.name)
            if meaning is None:
                raise NotModelled(f"the operation {operation.name}")
            made = meaning(self._machine, frame.programs, operation, [frame[name] for name in operation.operands])
            if not isinstance(made, list):
                made = [made] if operation.results else []
        frame.values.update(zip(operation.results, made, strict=True))

    def _region(self, region: Region, frame: Frame, given: Values) -> tuple[Operation, Values]:
        """Run a region of one block; return its last operation, and the values that it hands out."""
        (block,) = region
        frame.values.update(zip(block.parameters, given, strict=True))
        last = self._run_block(block, frame)
        return last, [frame[name] for name in last.operands]

    def _specialize(self, operation: Operation, frame: Frame) -> Values:
        """Run partitions side by side."""
        given = [frame[name] for name in operation.operands]

        def body(region: Region, of: Frame) -> Callable[[], None]:
            def run() -> None:
                (block,) = region
                of.values.update(zip(block.parameters, given, strict=False))
                self._run_block(block, of)

            return run

        default, *rest = operation.regions
        take_turns(self._machine, [body(default, frame), *(body(region, Frame(frame.programs)) for region in rest)])
        return []

    def _if(self, operation: Operation, frame: Frame) -> Values:
        condition = frame[operation.operands[0]]
        if _agree(condition):
            if condition.flat[0]:
                return self._region(operation.regions[0], frame, [])[1]
            return self._region(operation.regions[1], frame, [])[1] if len(operation.regions) > 1 else []
        parts = []
        for wanted, region in zip((True, False), operation.regions, strict=False):
            chosen = np.flatnonzero(condition == wanted)
            parts.append((chosen, self._region(region, frame.part(chosen), [])[1]))
        return _merged(parts, len(frame.programs)) if operation.results else []

    def _for(self, operation: Operation, frame: Frame) -> Values:
        variable, first, stop, step, *pairs = operation.operands
        carried = [frame[name] for name in pairs[1::2]]
        start, end, by = (frame[name] for name in (first, stop, step))
        if (by <= 0).any():
            raise Unsound("a loop whose step is not positive")
        rounds = np.maximum(-(-(end - start) // by), 0)
        done, steps = 0, [0 for _ in carried]
        for n in self._looked_at(rounds):
            if n > done:  # rounds between are taken to change what is carried by as much as the second one
                carried = [_moved(x, (n - done) * step, rounds > n) for x, step in zip(carried, steps, strict=True)]
            before, done = carried, n + 1
            given = [start + n * by]
            chosen = None if _agree(rounds) else np.flatnonzero(np.broadcast_to(rounds > n, len(frame.programs)))
            body = operation.regions[0]
            names = (variable, *pairs[::2])
            carried = self._round(body, names, frame, chosen, given, carried)
            if n == 1 and self._programs is not None:
                steps = [x - y if _counts(x) else 0 for x, y in zip(carried, before, strict=True)]
        return carried

    def _looked_at(self, rounds: np.ndarray) -> Iterable[int]:
        """Return the rounds of a loop that run: all, or the first two and the last of each program."""
        if self._programs is None:
            return range(int(rounds.max()))
        return sorted({n for last in {*(rounds.ravel() - 1).tolist()} for n in (0, 1, last) if 0 <= n <= last})

    def _round(
        self,
        body: Region,
        names: Sequence[str],
        frame: Frame,
        chosen: np.ndarray | None,
        given: Values,
        carried: Values,
    ) -> Values:
        """Run a loop's body once, for some of the programs, and return what is carried on for all."""
        (block,) = body
        count = len(frame.programs)
        if chosen is None or len(chosen) == count:
            frame.values.update(zip(names, (*given, *carried), strict=True))
            return [frame[name] for name in self._run_block(block, frame).operands]
        part = frame.part(chosen)
        values = [taken(value, chosen) for value in (*given, *carried)]
        part.values.update(zip(names, values, strict=True))
        made = [part[name] for name in self._run_block(block, part).operands]
        rest = np.setdiff1d(np.arange(count), chosen)
        return _merged([(chosen, made), (rest, [taken(value, rest) for value in carried])], count)

    def _while(self, operation: Operation, frame: Frame) -> Values:
        before, after = operation.regions
        carried = [frame[name] for name in operation.operands[1::2]]
        count = len(frame.programs)
        running, done = np.arange(count), []
        for _ in range(_MOST_ROUNDS):
            part = frame.part(running)
            part.values.update(zip(operation.operands[::2], carried, strict=True))
            (block,) = before
            last = self._run_block(block, part)
            condition, *values = (part[name] for name in last.operands)
            goes_on = np.broadcast_to(condition, (len(running),))
            if not goes_on.all():
                stays = np.flatnonzero(~goes_on)
                done.append((running[stays], [taken(value, stays) for value in values]))
            if not goes_on.any():
                return _merged(done, count)
            chosen = np.flatnonzero(goes_on)
            running = running[chosen]
            _, carried = self._region(after, frame.part(running), [taken(value, chosen) for value in values])
        raise Unsound(f"a loop that has not ended after {_MOST_ROUNDS} rounds")

    def _reduce(self, operation: Operation, frame: Frame) -> Values:
        values, axis = [frame[name] for name in operation.operands], operation.number("axis") + 1
        if plain := _plain(operation):
            fast = _REDUCED.get(plain)
            if fast is not None:
                return [fast(self._machine.carrier, values[0], axis)]
        slices = [[np.take(value, i, axis) for value in values] for i in range(values[0].shape[axis])]
        total = slices[0]
        for each in slices[1:]:
            _, total = self._region(operation.regions[0], frame, [*total, *each])
        return total

    def _scan(self, operation: Operation, frame: Frame) -> Values:
        values, axis = [frame[name] for name in operation.operands], operation.number("axis") + 1
        if operation.flag("reverse"):
            values = [np.flip(value, axis) for value in values]
        if _plain(operation) == "arith.addf":
            found = [self._machine.carrier.cumulated(values[0], axis)]
        else:
            slices = [[np.take(value, i, axis) for value in values] for i in range(values[0].shape[axis])]
            totals = slices[:1]
            for each in slices[1:]:
                totals.append(self._region(operation.regions[0], frame, [*totals[-1], *each])[1])
            found = [np.stack(of, axis) for of in zip(*totals, strict=True)]
        return [np.flip(x, axis) for x in found] if operation.flag("reverse") else found


def _counts(x: Value) -> bool:
    return isinstance(x, np.ndarray) and x.dtype != bool


def _moved(x: Value, by: Any, running: np.ndarray) -> Value:
    return x + np.where(running.reshape(-1, *(1,) * (x.ndim - 1)), by, 0) if _counts(x) else x


def _agree(x: np.ndarray) -> bool:
    """Tell whether all programs have the same."""
    return x.shape[0] == 1 or bool((x == x[0]).all())


def _plain(operation: Operation) -> str:
    """Return the one operation that a region of a reduction or scan is made of; "" if it is another region."""
    (block,) = operation.regions[0]
    if len(block.operations) != 2 or len(block.parameters) != 2:
        return ""
    first, last = block.operations
    if set(first.operands) != set(block.parameters) or last.operands != first.results:
        return ""
    return first.name


_REDUCED: dict[str, Callable[[Carrier, np.ndarray, int], Any]] = {
    "arith.addf": lambda carrier, x, axis: carrier.total(x, axis),
    "arith.addi": lambda carrier, x, axis: x.sum(axis),
    "arith.maxsi": lambda carrier, x, axis: x.max(axis),
    "arith.minsi": lambda carrier, x, axis: x.min(axis),
    "arith.ori": lambda carrier, x, axis: x.any(axis) if x.dtype == bool else np.bitwise_or.reduce(x, axis),
    "arith.andi": lambda carrier, x, axis: x.all(axis) if x.dtype == bool else np.bitwise_and.reduce(x, axis),
}


def _targets(operation: Operation) -> list[tuple[str, tuple[str, ...]]]:
    """Return the blocks that a branch goes to, each with the values that it hands over."""
    return [
        (label, tuple(re.findall(r"%[\w#$.-]+", given.partition(":")[0])))
        for label, given in re.findall(r"(\^\w+)(?:\(([^)]*)\))?", operation.text)
    ]


_YIELD = Operation("scf.yield", (), (), "", (), (), [], "")  # which is not printed where nothing is handed out
_ENDS = frozenset((
    "tt.return", "cf.br", "cf.cond_br", "scf.yield", "scf.condition", "tt.reduce.return", "tt.scan.return",
    "ttg.warp_yield", "ttg.warp_return",
))  # fmt: skip
_CONTROL: dict[str, Callable[[Launch, Operation, Frame], Values]] = {
    "ttg.warp_specialize": Launch._specialize,
    "scf.if": Launch._if,
    "scf.for": Launch._for,
    "scf.while": Launch._while,
    "tt.reduce": Launch._reduce,
    "tt.scan": Launch._scan,
}


def launch(
    function: Function, arguments: Mapping[str, Value], machine: Machine, programs: np.ndarray | None = None
) -> int:  # fmt: skip
    """Run a kernel.

    Args:
        function: the kernel, as it was read.
        arguments: by the names of the parameters in the text.
        machine: the arithmetic, memory and grid.
        programs: as of ``Launch``.

    Returns:
        How many operations ran.
    """
    machine.memory.launched()
    run = Launch(function, machine, programs)
    run.run(arguments)
    return run.operations


__all__ = ["Frame", "Launch", "Machine", "Memory", "launch"]
