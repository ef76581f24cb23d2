"""What each operation of the code does to values: arrays whose first axis is that of the programs, of size 1 where all
programs have the same."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from derivations.engines.ir.carrier import EMPTY, INFINITE, Carrier, NotModelled, Unsound
from derivations.engines.ir.memory import Descriptor, Memory
from derivations.engines.ir.order import Order
from derivations.engines.ir.text import Operation, Type

Value = Any  # an array, a Descriptor, or an Absolute
Operands = list[Value]


@dataclass(frozen=True)
class Absolute:
    """The absolute value of numbers. Values have no order: only whether one is infinite can be asked."""

    of: np.ndarray


class Machine:
    """What operations need besides their operands.

    Args:
        carrier: the arithmetic of floats.
        memory: the buffers.
        grid: the programs of the launch, along three axes.
        rng: draws integers that nobody knows.
    """

    def __init__(self, carrier: Carrier, memory: Memory, grid: tuple[int, int, int], rng: np.random.Generator) -> None:
        self.carrier, self.memory, self.grid, self.rng = carrier, memory, grid, rng
        self.casts: set[str] = set()
        self.constants: dict[str, float] = {}  # of floats, by the name of the value
        self.copies: list[Any] = []  # asynchronous copies that are of no group yet
        self.groups: list[Any] = []  # of copies, which have not been waited for
        self.turn = 0  # the partition that runs
        self.order: Order | None = None  # of accesses to shared memory, if partitions and copies are kept in one
        self.barriers: dict[int, Any] = {}  # by the buffer that they are in
        self.kept: list[Any] = []
        self.stores: dict[int, list[Any]] = {}  # copies out of shared memory that a partition has not waited for
        self.products: dict[int, list[Any]] = {}  # and products
        self.switch: Callable[[Callable[[], bool] | None], None] = _alone


def _alone(passed: Callable[[], bool] | None) -> None:
    """Go on if a condition holds: there is nobody to wait for."""
    if passed is not None and not passed():
        raise Unsound("waits at a barrier for a phase that does not end")


Meaning = Callable[[Machine, np.ndarray, Operation, Operands], Value]  # of the programs that run, [programs]
MEANINGS: dict[str, Meaning] = {}


def _means(*names: str) -> Callable[[Meaning], Meaning]:
    def add(run: Meaning) -> Meaning:
        MEANINGS.update(dict.fromkeys(names, run))
        return run

    return add


# Integers, i1 as truth values, others as int64, whatever their width.


def _in_range(x: np.ndarray, kind: Type, operation: Operation) -> np.ndarray:
    """Return integers that have been computed without a limit.

    Raises:
        Unsound: if one does not fit into the width of its type.
    """
    if kind.bits not in (0, 1, 64) and x.size:
        limit = 1 << (kind.bits - 1)
        if int(x.max()) >= limit or int(x.min()) < -limit:
            raise Unsound(f"an integer of {kind.bits} bits overflows")
    return x


def _integers(run: Callable[[Any, Any], Any]) -> Meaning:
    def meaning(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
        return _in_range(run(*operands), operation.makes[0], operation)

    return meaning


def _unsigned(run: Callable[[Any, Any], Any]) -> Meaning:
    def meaning(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
        if any(x.dtype != bool and x.size and x.min() < 0 for x in operands):
            raise NotModelled(f"a negative number as one without a sign: {operation.text}")
        return _in_range(run(*operands), operation.makes[0], operation)

    return meaning


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if (b == 0).any():
        raise Unsound("divides by 0")
    return np.where((a < 0) != (b < 0), -(np.abs(a) // np.abs(b)), np.abs(a) // np.abs(b))


def _shifted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a << b


MEANINGS.update({
    "arith.addi": _integers(lambda a, b: a ^ b if a.dtype == bool else a + b),
    "arith.subi": _integers(lambda a, b: a - b),
    "arith.muli": _integers(lambda a, b: a & b if a.dtype == bool else a * b),
    "arith.divsi": _integers(_quotient),
    "arith.remsi": _integers(lambda a, b: a - _quotient(a, b) * b),
    "arith.floordivsi": _integers(lambda a, b: a // b),
    "arith.ceildivsi": _integers(lambda a, b: -(-a // b)),
    "arith.divui": _unsigned(_quotient),
    "arith.remui": _unsigned(lambda a, b: a - _quotient(a, b) * b),
    "arith.maxsi": _integers(np.maximum),
    "arith.minsi": _integers(np.minimum),
    "arith.maxui": _unsigned(np.maximum),
    "arith.minui": _unsigned(np.minimum),
    "arith.andi": _integers(lambda a, b: a & b),
    "arith.ori": _integers(lambda a, b: a | b),
    "arith.xori": _integers(lambda a, b: a ^ b),
    "arith.shli": _integers(_shifted),
    "arith.shrsi": _integers(lambda a, b: a >> b),
    "arith.shrui": _unsigned(lambda a, b: a >> b),
})  # fmt: skip

_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip


@_means("arith.cmpi")
def _compare_integers(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    predicate = operation.head.partition(",")[0].strip()
    run = _COMPARED[predicate.lstrip("su") if len(predicate) == 3 else predicate]
    if predicate.startswith("u"):
        return _unsigned(run)(machine, programs, operation, operands)
    return run(*operands)


@_means("arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast")
def _convert_integers(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    (x,), (to,) = operands, operation.makes
    if to.bits == 1:
        return x if x.dtype == bool else (x & 1).astype(bool)
    if x.dtype == bool:
        return x.astype(np.int64) if operation.name == "arith.extui" else -x.astype(np.int64)
    if operation.name == "arith.extui" and x.size and x.min() < 0:
        raise NotModelled(f"a negative number as one without a sign: {operation.text}")
    return _in_range(x, to, operation)


# Floats.


@_means("arith.constant")
def _constant(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    (kind,) = operation.makes
    entry = constant(operation)
    if kind.floating:
        machine.constants[operation.results[0]] = entry
        entry = machine.carrier.constant(entry)
    return np.full((1, *kind.shape), entry, bool if kind.bits == 1 else np.int64)


def constant(operation: Operation) -> Any:
    """Return the number of a constant, all of whose entries are equal.

    Raises:
        NotModelled: if they are not.
    """
    (kind,) = operation.makes
    text = re.sub(r"^(<?\{.*?\}>?)?\s*", "", operation.head)
    text = text[6:-1] if text.startswith("dense<") else text
    if text in ("true", "false"):
        return text == "true"
    if not kind.floating:
        return int(text, 0) if re.fullmatch(r"-?\w+", text) else _unknown_constant(operation)
    if text.startswith("0x"):
        bits = int(kind.element.lstrip("bf"))
        if kind.element == "bf16":
            return struct.unpack(">f", bytes.fromhex(f"{text[2:]:0>4}0000"))[0]
        return struct.unpack({16: ">e", 32: ">f", 64: ">d"}[bits], bytes.fromhex(f"{text[2:]:0>{bits // 4}}"))[0]
    try:
        number = float(text)
    except ValueError:
        return _unknown_constant(operation)
    return float(np.float32(number)) if kind.element == "f32" else number


def _unknown_constant(operation: Operation) -> Any:
    raise NotModelled(f"a constant whose entries differ: {operation.text}")


def _floats(run: Callable[..., Any]) -> Meaning:
    def meaning(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
        carrier = machine.carrier
        return run(carrier, *(carrier.magnitude(x.of) if isinstance(x, Absolute) else x for x in operands))

    return meaning


def _of_carrier(name: str) -> Callable[..., Any]:
    return lambda carrier, *operands: getattr(carrier, name)(*operands)


MEANINGS.update({
    "arith.addf": _floats(_of_carrier("add")),
    "arith.subf": _floats(_of_carrier("subtract")),
    "arith.mulf": _floats(_of_carrier("multiply")),
    "arith.divf": _floats(_of_carrier("divide")),
    "arith.negf": _floats(lambda carrier, x: carrier.subtract(np.zeros_like(x), x)),
    "math.fma": _floats(lambda carrier, a, b, c: carrier.add(carrier.multiply(a, b), c)),
    "math.exp": _floats(_of_carrier("exponential")),
    "math.exp2": _floats(_of_carrier("exponential_2")),
    "math.sqrt": _floats(_of_carrier("root")),
    "tt.precise_sqrt": _floats(_of_carrier("root")),
    "tt.precise_divf": _floats(_of_carrier("divide")),
    "math.rsqrt": _floats(_of_carrier("inverse_root")),
    "math.absf": _floats(lambda carrier, x: Absolute(x)),
})  # fmt: skip


@_means("arith.extf", "arith.truncf", "tt.fp_to_fp")
def _cast(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    machine.casts.add(f"the cast of {operation.takes[0].element} to {operation.makes[0].element}")
    return operands[0]


@_means("arith.sitofp", "arith.uitofp")
def _to_float(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    x = operands[0]
    if x.dtype == bool:
        x = x.astype(np.int64) if operation.name == "arith.uitofp" else -x.astype(np.int64)
    return machine.carrier.lifted(x)


@_means("arith.cmpf")
def _compare_floats(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    carrier = machine.carrier
    predicate = operation.head.partition(",")[0].strip()
    a, b = operands
    if isinstance(a, Absolute):
        if predicate in ("olt", "one", "une") and bool((b == INFINITE).all()):
            return carrier.finite(a.of)
        raise NotModelled(f"the absolute value of a number, which has no order here: {operation.text}")
    if predicate in ("uno", "ord") or operation.operands[0] == operation.operands[1]:
        machine.carrier.finite(a)  # which refuses what was never written; nothing is NaN here
        found = _COMPARED[predicate[1:]](0, 0) if predicate not in ("uno", "ord") else predicate == "ord"
        return np.full(np.broadcast_shapes(a.shape, b.shape), found)
    if predicate[1:] in ("eq", "ne"):
        return carrier.same(a, b) == (predicate[1:] == "eq")
    fixed = [machine.constants.get(name) for name in operation.operands]
    left, right = (carrier.nats(x) if number is None else number for x, number in zip(operands, fixed, strict=True))
    return _COMPARED[predicate[1:]](left, right)


# Shapes.


def _shaped(x: np.ndarray, rank: int) -> np.ndarray:
    """Return a value with axes of size 1 behind the others, so that a scalar meets a tensor of a rank."""
    return x.reshape(*x.shape, *(1,) * (rank + 1 - x.ndim))


@_means("arith.select")
def _select(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    chosen, a, b = operands
    if isinstance(a, Descriptor):
        raise NotModelled(f"a tensor map that depends on a number: {operation.text}")
    return np.where(_shaped(chosen, a.ndim - 1), a, b)


@_means("tt.splat")
def _splat(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    shape = operation.makes[0].shape
    return np.broadcast_to(_shaped(operands[0].reshape(-1), len(shape)), (operands[0].shape[0], *shape))


@_means("tt.unsplat")
def _unsplat(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return operands[0].reshape(operands[0].shape[0])


@_means("tt.broadcast")
def _broadcast(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return np.broadcast_to(operands[0], (operands[0].shape[0], *operation.makes[0].shape))


@_means("tt.expand_dims", "tt.reshape")
def _reshape(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    if "allow_reorder" in operation.head:
        raise NotModelled(f"an order of entries that the compiler may choose: {operation.text}")
    return operands[0].reshape(operands[0].shape[0], *operation.makes[0].shape)


@_means("tt.trans")
def _transpose(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    order = re.search(r"order = array<i32: ([\d, ]+)>", operation.head)
    if order is None:
        raise NotModelled(f"an operation without order: {operation.text}")
    return operands[0].transpose(0, *(1 + int(axis) for axis in order[1].split(",")))


@_means("tt.join")
def _join(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return np.stack(np.broadcast_arrays(*operands), -1)


@_means("tt.split")
def _split(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return [operands[0][..., 0], operands[0][..., 1]]


@_means("tt.make_range")
def _range(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return np.arange(operation.number("start"), operation.number("end"), dtype=np.int64)[None]


@_means("tt.get_program_id")
def _program(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    x, y, _ = machine.grid
    axis = operation.head.strip()
    return {"x": programs % x, "y": programs // x % y, "z": programs // (x * y)}[axis]


@_means("tt.get_num_programs")
def _programs(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return np.array([machine.grid["xyz".index(operation.head.strip())]])


@_means("tt.dot")
def _dot(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return machine.carrier.matrices(*operands)


# Memory.


@_means("tt.addptr")
def _offset(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return operands[0] + operands[1]


def _lanes(addresses: np.ndarray, mask: np.ndarray | None, shape: tuple[int, ...]) -> Any:
    """Return the flat addresses of the lanes under a mask, and the mask; None where all are."""
    addresses = np.broadcast_to(addresses, shape)
    if mask is None or mask.all():
        return addresses.ravel(), None
    mask = np.broadcast_to(mask, shape)
    return addresses[mask], mask


def _of(programs: np.ndarray, mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Return the programs of lanes, flat."""
    of = np.broadcast_to(_shaped(programs if shape[0] > 1 else programs[:1], len(shape) - 1), shape)
    return of.ravel() if mask is None else of[mask]


@_means("tt.load")
def _load(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    addresses, *rest = operands
    mask, other = (*rest, None, None)[:2]
    return gathered(machine, programs, operation.takes[0], addresses, mask, other)


def gathered(
    machine: Machine, programs: np.ndarray, pointers: Type, addresses: np.ndarray, mask: Any, other: Any
) -> np.ndarray:  # fmt: skip
    """Read entries through pointers, under a mask and with what stands in the other lanes, if there are any."""
    kind = _pointed(pointers)
    shape = np.broadcast_shapes(addresses.shape, mask.shape) if mask is not None else addresses.shape
    flat, mask = _lanes(addresses, mask, shape)
    return _loaded(machine, kind, flat, programs, mask, shape, other)


def _loaded(machine: Machine, kind: Type, flat: Any, programs: Any, mask: Any, shape: Any, other: Any) -> np.ndarray:
    found = np.empty(0, np.int64)
    if len(flat):
        found = machine.memory.load(flat, lambda: _of(programs, mask, shape), kind.element)
    if mask is None:
        return _as_truth(found.reshape(shape), kind)
    if other is not None:
        whole = np.broadcast_to(other, shape).astype(np.int64)
    elif kind.floating:
        whole = np.full(shape, EMPTY)
    else:
        whole = machine.rng.integers(-(1 << (kind.bits - 1)), 1 << (kind.bits - 1), shape)
    whole[mask] = found
    return _as_truth(whole, kind)


def _as_truth(x: np.ndarray, kind: Type) -> np.ndarray:
    return x.astype(bool) if kind.bits == 1 else x


def _pointed(kind: Type) -> Type:
    """Return the type of the entries that pointers of a type point to."""
    return Type(kind.shape, _behind(kind.element))


@cache
def _behind(pointer: str) -> str:
    inside = re.match(r"!tt\.ptr<(.+?)(?:, \d+)?>$", pointer)
    if inside is None:
        raise NotModelled(f"a pointer of the type {pointer}")
    return inside[1]


@_means("tt.store")
def _store(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    addresses, values, *rest = operands
    mask = rest[0] if rest else None
    shape = np.broadcast_shapes(addresses.shape, values.shape, () if mask is None else mask.shape,
                                (len(programs),) + (1,) * (addresses.ndim - 1))  # fmt: skip
    flat, mask = _lanes(addresses, mask, shape)
    whole = np.broadcast_to(values, shape)
    if len(flat):
        found = (whole if mask is None else whole[mask]).astype(np.int64).ravel()
        machine.memory.store(flat, found, _of(programs, mask, shape), _pointed(operation.takes[0]).element)
    return None


def read_tile(machine: Machine, programs: np.ndarray, kind: Type, descriptor: Descriptor, starts: Operands) -> Any:
    """Read tiles of a tensor map."""
    addresses, inside = descriptor.addresses(_starts(starts, programs))
    flat, mask = _lanes(addresses, inside, addresses.shape)
    zeros = np.zeros(addresses.shape, np.int64)
    return _loaded(machine, _of_map(kind), flat, programs, mask, addresses.shape, zeros)


def write_tile(
    machine: Machine, programs: np.ndarray, kind: Type, descriptor: Descriptor, starts: Operands, values: Any
) -> None:  # fmt: skip
    """Write tiles of a tensor map."""
    addresses, inside = descriptor.addresses(_starts(starts, programs))
    flat, mask = _lanes(addresses, inside, addresses.shape)
    whole = np.broadcast_to(values.reshape(-1, *descriptor.tile), addresses.shape)
    if len(flat):
        found = (whole if mask is None else whole[mask]).ravel()
        machine.memory.store(flat, found, _of(programs, mask, addresses.shape), _of_map(kind).element)


@cache
def _of_map(kind: Type) -> Type:
    """Return the type of the entries of a tensor map, or of a tensor."""
    inside = re.match(r"!tt\.tensordesc<(?:tensor<)?(?:\d+x)*(\w+)", kind.element)
    return kind if inside is None else Type((), inside[1])


@_means("tt.descriptor_load")
def _tile(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    kind = operation.makes[0]
    return read_tile(machine, programs, kind, operands[0], operands[1:]).reshape(-1, *kind.shape)


@_means("tt.descriptor_store")
def _store_tile(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    descriptor, *starts, values = operands
    write_tile(machine, programs, operation.takes[-1], descriptor, starts, values)
    return None


def _starts(starts: Operands, programs: np.ndarray) -> list[np.ndarray]:
    return [np.broadcast_to(start, (len(programs),)) for start in starts]


_SPLITS = tuple(
    r'"{\0A    ' + r"\0A    ".join(lines) + r'\0A}"' for lines in (
        (".reg .b32 h, a, b;", ".reg .f32 x, y;", "cvt.rn.bf16x2.f32 h, $3, $2;", "shl.b32 a, h, 16;",
         "and.b32 b, h, 0xffff0000;", "mov.b32 x, a;", "mov.b32 y, b;", "sub.f32 x, $2, x;", "sub.f32 y, $3, y;",
         "cvt.rn.bf16x2.f32 $1, y, x;", "mov.b32 $0, h;"),
        (".reg .b32 h;", ".reg .b16 a, b;", ".reg .f32 x, y;", "cvt.rn.f16x2.f32 h, $3, $2;", "mov.b32 {a, b}, h;",
         "cvt.f32.f16 x, a;", "cvt.f32.f16 y, b;", "sub.f32 x, $2, x;", "sub.f32 y, $3, y;",
         "cvt.rn.f16x2.f32 $1, y, x;", "mov.b32 $0, h;"),
    )
)  # fmt: skip


@_means("tt.elementwise_inline_asm")
def _assembly(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    if operation.head.lstrip().startswith('"cvt.rna.tf32.f32 $0, $1;"'):
        machine.casts.add("the cast of f32 to tf32")
        return operands[0]
    if operation.head.lstrip().startswith('"ex2.approx.ftz.f32 $0, $1;"'):
        return machine.carrier.overflowing_2(operands[0])
    if operation.head.lstrip().startswith(('"cvt.rn.bf16x2.f32 $0, $2, $1;"', '"cvt.rn.f16x2.f32 $0, $2, $1;"')):
        machine.casts.add("the cast of two f32 to two bytes each")
        return operands[0]
    if operation.head.lstrip().startswith(_SPLITS):
        machine.casts.add("the half of a number that its rounding leaves")
        return [operands[0], np.zeros_like(operands[0])]
    if "griddepcontrol" not in operation.head:
        raise NotModelled(f"assembly: {operation.text}")
    return np.zeros(1, np.int64)  # an order of launches, which follow each other here


@_means("tt.assert", "tt.print", "gpu.barrier", "ttg.barrier")
def _nothing(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return None
