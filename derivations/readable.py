"""Statements as text for a terminal: the TeX that this project prints, in Unicode, with stacked fractions.

A formula is a box of lines with a base line. Boxes stand beside each other on their base lines; a fraction is one box
over a rule over another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest

WORDS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "Gamma": "Γ", "delta": "δ", "Delta": "Δ", "epsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "kappa": "κ", "lambda": "λ", "Lambda": "Λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π",
    "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Omega": "Ω",
    "varepsilon": "ε", "ell": "ℓ", "top": "ᵀ", "cdot": "·", "cdots": "⋯", "ldots": "…", "dots": "…", "odot": "⊙",
    "circ": "∘", "times": "×", "otimes": "⊗", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠",
    "approx": "≈", "equiv": "≡", "in": "∈", "to": "→", "rightarrow": "→", "mapsto": "↦", "Rightarrow": "⇒", "iff": "⇔",
    "Longrightarrow": "⇒", "Longleftrightarrow": "⇔", "sup": "sup",
    "implies": "⇒", "Leftrightarrow": "⇔", "infty": "∞", "sum": "∑", "prod": "∏", "int": "∫",
    "nabla": "∇", "partial": "∂", "langle": "⟨", "rangle": "⟩", "lVert": "‖", "rVert": "‖", "pm": "±", "quad": "   ",
    "qquad": "      ", "max": "max", "min": "min", "log": "log", "exp": "exp", "det": "det", "lim": "lim", "ln": "ln",
    "Re": "Re", "forall": "∀", "exists": "∃", "cup": "∪", "cap": "∩", "perp": "⊥", "mid": "|", "lt": "<", "gt": ">",
}  # fmt: skip
SKIPPED = ("left", "right", "bigl", "bigr", "Bigl", "Bigr", "big", "Big", "displaystyle", "limits", "middle")
SPACES = {",": " ", ";": " ", ":": " ", "!": "", " ": " ", "\\": "\n", "{": "{", "}": "}", "|": "‖", "%": "%", "_": "_"}
ACCENTS = {
    "bar": "\u0304", "tilde": "\u0303", "widetilde": "\u0303", "hat": "\u0302", "widehat": "\u0302", "dot": "\u0307",
    "overleftarrow": "\u20d6", "overrightarrow": "\u20d7", "vec": "\u20d7", "overline": "\u0305", "underline": "\u0332",
}  # fmt: skip
UPRIGHT = ("operatorname", "mathrm", "text", "mathbf", "mathcal", "mathit", "textbf", "boldsymbol", "operatorname*")
BLACKBOARD = {"R": "ℝ", "C": "ℂ", "N": "ℕ", "Z": "ℤ", "F": "𝔽", "E": "𝔼"}
SUPERSCRIPTS = dict(zip("0123456789+-=()nijkTt", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱʲᵏᵀᵗ", strict=True)) | {"ᵀ": "ᵀ", "′": "′", " ": ""}
SUBSCRIPTS = dict(zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True)) | {" ": ""}
_TOKENS = re.compile(r"\\[A-Za-z]+\*?|\\.|[{}^_&]|[^\\{}^_&]", re.DOTALL)


@dataclass(frozen=True)
class Box:
    """Lines of one width, and the number of the line that stands on the base line of the text."""

    lines: tuple[str, ...]
    base: int = 0

    @property
    def flat(self) -> str:
        """The text of a box of one line."""
        return self.lines[0] if len(self.lines) == 1 else ""

    def beside(self, other: Box) -> Box:
        """Put a box to the right."""
        base = max(self.base, other.base)
        below = max(len(self.lines) - self.base, len(other.lines) - other.base)
        left, right = (box.padded(base, base + below) for box in (self, other))
        return Box(tuple(one + two for one, two in zip(left, right, strict=True)), base)

    def padded(self, base: int, height: int) -> tuple[str, ...]:
        """Return the lines with empty ones above and below."""
        blank = " " * width(self.lines[0])
        above = [blank] * (base - self.base)
        return (*above, *self.lines, *[blank] * (height - len(above) - len(self.lines)))


def width(text: str) -> int:
    """Count the columns of a line: a combining mark has none."""
    return sum(not ("\u0300" <= c <= "\u036f" or "\u20d0" <= c <= "\u20ff") for c in text)


def _centred(line: str, columns: int) -> str:
    left = (columns - width(line)) // 2
    return " " * left + line + " " * (columns - width(line) - left)


def _over(above: Box, below: Box) -> Box:
    columns = max(width(above.lines[0]), width(below.lines[0]))
    lines = [_centred(line, columns) for line in above.lines]
    return Box((*lines, "─" * columns, *(_centred(line, columns) for line in below.lines)), len(lines))


class _Reader:
    """Reads TeX from left to right."""

    def __init__(self, tex: str) -> None:
        self.tokens = _TOKENS.findall(tex)
        self.at = 0

    def next(self) -> str:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def group(self) -> str:
        """Return the TeX of the next group or token."""
        while self.at < len(self.tokens) and self.tokens[self.at] == " ":
            self.at += 1
        token = self.next()
        if token != "{":
            return token
        depth, start = 1, self.at
        while depth:
            depth += {"{": 1, "}": -1}.get(self.next(), 0)
        return "".join(self.tokens[start : self.at - 1])

    def environment(self) -> tuple[str, str]:
        """Return the name and the TeX of an environment whose begin was read."""
        name = self.group()
        depth, start = 1, self.at
        while depth:
            token = self.next()
            depth += {"\\begin": 1, "\\end": -1}.get(token, 0)
        inner = "".join(self.tokens[start : self.at - 1])
        self.group()
        return name, inner


def box(tex: str) -> Box:
    """Lay a formula out."""
    reader, made = _Reader(tex), Box(("",))
    while reader.at < len(reader.tokens):
        made = _next(reader, made)
    return made


def _next(reader: _Reader, made: Box) -> Box:
    token = reader.next()
    name = token[1:]
    if token in ("^", "_"):
        return made.beside(_script(box(reader.group()), raised=token == "^"))
    if token == "{":
        reader.at -= 1
        return made.beside(box(reader.group()))
    if not token.startswith("\\"):
        text = {"&": " ", "-": "−", "'": "′", "\n": " ", "*": "*"}.get(token, token)
        return made.beside(Box((text,)))
    if name in ("frac", "tfrac", "dfrac"):
        above, below = box(reader.group()), box(reader.group())
        if name == "tfrac" and above.flat.isalnum() and below.flat.isalnum():
            return made.beside(Box((f"{above.flat}/{below.flat}",)))
        return made.beside(_over(above, below))
    if name == "begin":
        return made.beside(_environment(*reader.environment()))
    if name in UPRIGHT:
        text = reader.group()
        words = re.sub(r"[\\{}]", "", text)
        return made.beside(Box((words,)) if name == "text" else box(text))
    if name in ("mathbb", "mathbb*"):
        letter = reader.group()
        return made.beside(Box((BLACKBOARD.get(letter, letter),)))
    if name in ACCENTS:
        inner = box(reader.group()).flat
        return made.beside(Box((inner[:1] + ACCENTS[name] + inner[1:],)))
    if name in ("xrightarrow", "xleftarrow"):
        return made.beside(Box((f" ─{box(reader.group()).flat}→ ",)))
    if name == "sqrt":
        return made.beside(Box((f"√({box(reader.group()).flat})",)))
    if name in SKIPPED:
        return made
    return made.beside(Box((WORDS.get(name, SPACES.get(name, name)),)))


def _script(inner: Box, *, raised: bool) -> Box:
    """Raise or lower a script: by Unicode's letters where it has them all, else with a mark and parentheses."""
    letters = SUPERSCRIPTS if raised else SUBSCRIPTS
    text = inner.flat.strip().replace("−", "-")
    if text and all(letter in letters for letter in text):
        return Box(("".join(letters[letter] for letter in text),))
    mark = "^" if raised else "_"
    if text.isalnum():
        return Box((mark + text,))
    return Box((f"{mark}(",)).beside(inner).beside(Box((")",)))


def _environment(name: str, inner: str) -> Box:
    rows = [[box(cell.strip()) for cell in row.split("&")] for row in re.split(r"\\\\", inner) if row.strip()]
    columns = [
        max(width(cell.lines[0]) for cell in column if cell) for column in zip_longest(*rows, fillvalue=Box(("",)))
    ]
    lines: list[str] = []
    for row in rows:
        made = Box(("",))
        for cell, columns_ in zip(row, columns, strict=False):
            fill = " " * (columns_ - width(cell.lines[0]) + 2)
            made = made.beside(cell).beside(Box((fill,)))
        lines += made.lines
    if "matrix" in name:
        widest = max(map(width, lines))
        lines = [f"[ {line.rstrip()}{' ' * (widest - 2 - width(line.rstrip()))} ]" for line in lines]
    widest = max(map(width, lines))
    return Box(tuple(line + " " * (widest - width(line)) for line in lines), len(lines) // 2)


def inline(text: str) -> str:
    """Print a sentence with TeX between dollars as text; a fraction that needs lines of its own stays TeX."""
    return re.sub(r"\$([^$]+)\$", lambda found: box(found[1]).flat or found[1], text)


def _parts(tex: str) -> list[str]:
    """Cut a statement at wide spaces and ends of rows that stand in no group and no environment."""
    parts, depth = [""], 0
    for token in _TOKENS.findall(tex):
        depth += {"{": 1, "}": -1, "\\begin": 1, "\\end": -1}.get(token, 0)
        if not depth and token in ("\\quad", "\\qquad", "\\\\"):
            parts.append("")
        else:
            parts[-1] += token
    return parts


def readable(tex: str) -> str:
    """Print a statement as text: a line for each of its formulas and rows."""
    parts = _parts(re.sub(r"&|\\(begin|end)\{aligned\}", "", tex) if "aligned" in tex else tex)
    found = []
    for part in parts:
        if part.strip():
            found += [line.rstrip() for line in box(part.strip()).lines]
    return "\n".join(found)
