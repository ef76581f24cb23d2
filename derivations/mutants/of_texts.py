"""Edits of the text of compiled kernels: one small change each, of the kind that a compiler or a person might make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PREDICATES = {"slt": "sle", "sle": "slt", "sgt": "sge", "sge": "sgt", "eq": "ne", "ne": "eq", "olt": "oge"}
_DROPPED = r"(?:arith\.(?:add|sub|mul|and|or|min|max)\w+|tt\.addptr|math\.exp|arith\.select)"
_SWAPPED = r"arith\.(?:subi|subf|divsi|remsi|divf)"


@dataclass(frozen=True)
class Edit:
    """One change of a text.

    Args:
        line: the number of its line, from 0.
        before: the line.
        after: what stands there instead, or the value that is used in the place of its result.
        text: the changed text.
    """

    line: int
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"{self.before[:110]}  ->  {self.after[:110]}"


def edits(text: str) -> Iterator[Edit]:
    """Yield every edit: constants, predicates, the order of operands, masks, directions, and operations left out."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        for after in _lines(line.strip()):
            changed = [*lines[:number], after, *lines[number + 1 :]]
            yield Edit(number, line.strip(), after, "\n".join(changed))
        if found := re.match(rf"\s*(%[\w$.-]+) = {_DROPPED} (%.*) :", line):
            operands = re.findall(r"%[\w$.#-]+", found[2])
            for operand in operands[-2:] if "select" in line else operands[:1]:
                yield Edit(number, line.strip(), operand, _without(lines, number, found[1], operand))


def _lines(line: str) -> Iterator[str]:
    """Yield the changed forms of a line."""
    if found := re.match(r"(%\S+ = arith\.constant (?:dense<)?)(-?[\d.e+-]+)(>?.*)", line):
        number, floating = found[2], "e" in found[2] or "." in found[2]
        if floating:
            yield f"{found[1]}{float(number) * 1.0009765625 if float(number) else 1.0:e}{found[3]}"
        else:
            yield f"{found[1]}{int(number) + 1}{found[3]}"
    if (found := re.match(r"(%\S+ = arith\.cmp[if] )(\w+)(,.*)", line)) and found[2] in _PREDICATES:
        yield f"{found[1]}{_PREDICATES[found[2]]}{found[3]}"
    if found := re.match(rf"(%\S+ = {_SWAPPED} )(%\S+), (%\S+)( :.*)", line):
        yield f"{found[1]}{found[3]}, {found[2]}{found[4]}"
    found = re.match(r"(%\S+ = tt\.dot )(%\S+), (%\S+), (.* : )(\S+) \* (\S+)( -> .*)", line)
    if found and found[5] == found[6]:
        yield f"{found[1]}{found[3]}, {found[2]}, {found[4]}{found[5]} * {found[6]}{found[7]}"
    if found := re.match(r"(%\S+ = tt\.load %\S+), %\S+(?:, %\S+)?( :.*)", line):
        yield f"{found[1]}{found[2]}"
    if found := re.match(r"(tt\.store %\S+, %\S+), %\S+( :.*)", line):
        yield f"{found[1]}{found[2]}"
    if "tt.scan" in line and "reverse = " in line:
        yield line.replace("true", "?").replace("false", "true").replace("?", "false")


def _without(lines: list[str], number: int, result: str, operand: str) -> str:
    """Return the text without an operation: where its result was used, one of its operands is."""
    name = re.compile(rf"{re.escape(result)}(?![\w$.#-])")
    kept, known = [], True
    for line in lines[number + 1 :]:
        known = known and not line.strip().startswith(f"{result} = ")
        kept.append(name.sub(operand, line) if known else line)
    return "\n".join([*lines[:number], *kept])


_SPANS = "the spans of segments are not read"
#: Edits that change no result, with the reason, by kernel, line from 0, and what stands there instead.
UNNOTICED: dict[tuple[str, int, str], str] = {
    ("recurrent_kernel", 7, "%cst_1 = arith.constant dense<1.000000e+00> : tensor<64x32xf32>"):
        "fills channels of the memory that are masked wherever they are read",
    ("cut_kernel", 107, "%24"): "a chunk behind the last one is empty wherever it starts",
    ("cut_kernel", 163, "%40"): "other programs write the same numbers",
    ("cut_kernel", 192, "%arg14"): _SPANS,
    ("cut_kernel", 216, "%18"): _SPANS,
    ("cut_kernel", 230, "%35"): _SPANS,
    ("chunk_prepare_kernel", 276, "%202 = tt.dot %201, %192, %193, inputPrecision = tf32 : tensor<4x16x16xbf16> * "
     "tensor<4x16x16xbf16> -> tensor<4x16x16xf32>"): "without rounding there is nothing left to refine",
    ("chunk_prepare_kernel", 299, "%arg11"): "the other term is 0",
    ("chunk_query_gradients_kernel", 201, "%171"): "the diagonal cancels between the two sums",
}  # fmt: skip


def reason(kernel: str, edit: Edit) -> str:
    """Return why an edit changes no result; "" if that is not known."""
    return UNNOTICED.get((kernel, edit.line, edit.after), "")
