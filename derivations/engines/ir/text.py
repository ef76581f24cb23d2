"""The text of Triton's intermediate code, TTIR and TTGIR, as operations: the one module that knows its format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from derivations.engines.aten.numbers import NotModelled

TESTED = ("3.6", "3.7")  # the versions of Triton whose text was read, by their first two numbers
_NAME = re.compile(r"%[\w$.-]+(?:#\d+)?")
_OPENING, _CLOSING = "([{<", ")]}>"


@dataclass(frozen=True)
class Type:
    """A type: the shape of a tensor, () of a scalar, and the type of an entry, such as ``f32`` or ``!tt.ptr<bf16>``."""

    shape: tuple[int, ...]
    element: str

    @cached_property
    def bits(self) -> int:
        """The bits of an integer; 0 of any other entry."""
        return int(self.element[1:]) if re.fullmatch(r"i\d+", self.element) else 64 if self.element == "index" else 0

    @cached_property
    def floating(self) -> bool:
        """Whether entries are floats."""
        return re.fullmatch(r"b?f\d+", self.element) is not None


@dataclass
class Operation:
    """One operation.

    Args:
        name: such as ``arith.addf``.
        results: the names of what it makes.
        operands: the names of what it uses, in order.
        head: what stands between its name and its types: operands, predicates and attributes.
        takes: the types before an arrow.
        makes: the types behind an arrow, or those before it where there is none.
        regions: the code inside it.
        text: its line.
    """

    name: str
    results: tuple[str, ...]
    operands: tuple[str, ...]
    head: str
    takes: tuple[Type, ...]
    makes: tuple[Type, ...]
    regions: list[Region]
    text: str

    def number(self, attribute: str) -> int:
        """Return an attribute that is an integer."""
        found = _attribute(self.head, attribute)
        if found is None:
            raise NotModelled(f"an operation without {attribute}: {self.text}")
        return found

    def flag(self, attribute: str) -> bool:
        """Return an attribute that is a truth value; False if it is not there."""
        return re.search(rf"\b{attribute} = true", self.head) is not None


@lru_cache(maxsize=4096)
def _attribute(head: str, name: str) -> int | None:
    found = re.search(rf"\b{name} = (-?\d+)", head)
    return None if found is None else int(found[1])


@dataclass
class Block:
    """Operations that run one after the other, and the names of the values that they are given."""

    label: str
    parameters: tuple[str, ...]
    operations: list[Operation] = field(default_factory=list)


Region = list[Block]


@dataclass
class Function:
    """A kernel: its name, its parameters with their types, and its code."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    body: Region


def check_version(version: str) -> None:
    """Refuse the text of a Triton that was not read before.

    Raises:
        NotModelled: if it is another version than those of ``TESTED``.
    """
    if ".".join(version.split(".")[:2]) not in TESTED:
        raise NotModelled(
            f"the text of Triton {version}: expected {' or '.join(TESTED)}, which were tested; insist to read it anyway"
        )


def parse(text: str) -> Function:
    """Read the one kernel of a module.

    Raises:
        NotModelled: if a line is not of the format, or there is another number of functions than one.
    """
    lines = iter(_lines(text))
    functions = [_function(line, lines) for line in lines if line.startswith("tt.func")]
    if len(functions) != 1:
        raise NotModelled(f"a module of {len(functions)} functions: those that a kernel calls are not inlined")
    return functions[0]


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        line = re.sub(r"\s*(//.*)?$", "", re.sub(r"\s*loc\(.*?\)+$", "", line.strip()))
        if line and not line.startswith("#"):
            yield line


def _function(line: str, lines: Iterator[str]) -> Function:
    name = re.search(r"@([\w$.]+)", line)
    if name is None or not line.endswith("{"):
        raise NotModelled(f"a function without a name or a body: {line}")
    start = line.index("(")
    stop = _closing(line, start)
    parameters = []
    for parameter in _split(line[start + 1 : stop]):
        given, _, kind = parameter.partition(": ")
        parameters.append((given, kind.partition(" {")[0].strip()))
    body, _ = _region(lines)
    return Function(name[1], tuple(parameters), body)


def _region(lines: Iterator[str]) -> tuple[Region, str]:
    """Read blocks up to the line that closes them; return that line, too."""
    region = [Block("", ())]
    for line in lines:
        if line.startswith("}"):
            return ([block for block in region if block.operations or block.label] or region), line
        if line.startswith("^"):
            label, _, given = line.rstrip(":").partition("(")
            parameters = tuple(part.partition(":")[0].strip() for part in _split(given.rstrip("):"))) if given else ()
            region.append(Block(label, parameters))
        else:
            region[-1].operations.append(_operation(line, lines))
    raise NotModelled("a region without an end")


def _operation(line: str, lines: Iterator[str]) -> Operation:
    text = line
    regions: list[Region] = []
    if line.startswith("ttg.warp_specialize("):
        line = line.partition(" attributes ")[0]
        regions, of = _partitions(lines)
        return Operation("ttg.warp_specialize", (), tuple(_NAME.findall(line)), line, of, (), regions, text)
    if line.endswith("{"):
        rest = line[:-1].rstrip()
        while True:
            region, closing = _region(lines)
            regions.append(region)
            if not closing.endswith("{"):
                break
        generic = rest.endswith("(")  # "tt.reduce"(%x) <{...}> ({ ... }) : types
        line = rest[:-1].rstrip() + closing.removeprefix("})") if generic else rest
    results: tuple[str, ...] = ()
    if found := re.match(r"(%[\w$.-]+(?:, %[\w$.-]+)*)(?::(\d+))? = ", line):
        results = tuple(f"{found[1]}#{i}" for i in range(int(found[2]))) if found[2] else tuple(found[1].split(", "))
        line = line[found.end() :]
    named = re.match(r'"?([a-z_]+\.[\w.]+)"?', line)
    if named is None:
        raise NotModelled(f"a line that is no operation: {text}")
    head, takes, makes = _typed(line[named.end() :])
    if named[1] == "arith.constant" and not makes:  # a truth value is printed without its type
        makes = (Type((), "i1"),)
    operands = tuple(_NAME.findall(re.sub(r'"[^"]*"', "", head)))
    return Operation(named[1], results, operands, head.strip(), takes, makes, regions, text)


def _partitions(lines: Iterator[str]) -> tuple[list[Region], tuple[Type, ...]]:
    """Read what each partition runs, the default one first, with the names that it has for what it is given."""
    regions: list[Region] = []
    closing = "}"
    while closing == "}":
        head = next(lines)
        region, closing = _region(lines)
        start = head.find("(")
        given = _split(head[start + 1 : _closing(head, start)]) if head.startswith("partition") else []
        region[0].parameters = tuple(part.partition(":")[0].strip() for part in given)
        regions.append(region)
    return regions, ()


def _typed(line: str) -> tuple[str, tuple[Type, ...], tuple[Type, ...]]:
    """Split what stands behind an operation's name: operands and attributes, the types it takes, those it makes."""
    depth, colon, arrow = 0, -1, -1
    for i, letter in enumerate(line):
        if not depth and (line[i : i + 2] == "->" or (colon >= 0 and line[i : i + 4] == " to ")):
            arrow = i
        elif letter in _OPENING:
            depth += 1
        elif letter in _CLOSING and line[i - 1 : i + 1] != "->":
            depth -= 1
        elif not depth and line[i : i + 3] == " : ":
            colon = i
    if arrow >= 0 and colon > arrow:  # scf.for ... -> (types) : i32
        return line, _types(line[colon + 3 :]), _types(_behind(line, arrow, colon))
    end = colon if colon >= 0 else arrow if arrow >= 0 else len(line)
    takes = _types(line[colon + 3 : arrow if arrow >= 0 else len(line)]) if colon >= 0 else ()
    return line[:end], takes, _types(_behind(line, arrow)) if arrow >= 0 else takes


def _behind(line: str, arrow: int, stop: int | None = None) -> str:
    """Return what stands behind an arrow, which is printed as a word where a type is converted."""
    return line[arrow + (2 if line[arrow] == "-" else 4) : stop]


@lru_cache(maxsize=4096)
def _types(text: str) -> tuple[Type, ...]:
    text = text.strip()
    if text.startswith("(") and _closing(text, 0) == len(text) - 1:
        text = text[1:-1]
    return tuple(parsed_type(part) for of in _split(text) for part in of.split(" * "))


def parsed_type(text: str) -> Type:
    """Read a type."""
    inside = re.fullmatch(r"tensor<(.*)>", text.strip())
    if inside is None:
        return Type((), text.strip())
    *sizes, last = re.findall(r"(\d+)x|(.+)", _split(inside[1])[0])
    return Type(tuple(int(size) for size, _ in sizes), last[1])


def _closing(text: str, start: int) -> int:
    """Return where the bracket that opens at a place closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] in _OPENING) - (text[i] in _CLOSING and text[i - 1 : i + 1] != "->")
        if not depth:
            return i
    raise NotModelled(f"a bracket that does not close: {text}")


def _split(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in _OPENING) - (letter in _CLOSING and text[i - 1 : i + 1] != "->")
        if letter == "," and not depth:
            parts.append(text[start:i].strip())
            start = i + 1
    return [*parts, text[start:].strip()] if text.strip() else []
