"""Map words to unit vectors, so that a text becomes the same keys and values on every machine.

A name is normalised (NFC, case folded, invisible characters dropped) and hashed with the seed and its role by BLAKE2b.
The hash is the key of a Philox generator, whose raw 64-bit numbers become Gaussians by the Box-Muller transform. The
vector divided by its length is uniform on the unit sphere. Only raw numbers of the generator are used, since NumPy
keeps those the same in every version: one name, role, seed and size give one vector, up to the last bits of ``log`` and
``cos``.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

import numpy as np


def gaussians(seed: int, role: str, name: str, count: int) -> np.ndarray:
    """Draw standard normal numbers, [count], that depend on the seed, the role and the name alone.

    A smaller count gives the first numbers of a larger one.
    """
    digest = hashlib.blake2b(f"{seed}\0{role}\0{name}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    philox = np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64))
    raw = philox.random_raw(2 * count).reshape(count, 2)
    uniform = ((raw >> np.uint64(11)) + 0.5) * 2.0**-53  # in (0, 1), never 0 or 1
    return np.sqrt(-2 * np.log(uniform[:, 0])) * np.cos(2 * np.pi * uniform[:, 1])


@lru_cache(maxsize=4096)
def direction(seed: int, role: str, name: str, size: int) -> np.ndarray:
    """Return the unit vector, [size], of a name in its role ("key" or "value"); the array is read-only."""
    x = gaussians(seed, role, _hashed(name), size)
    x /= np.sqrt((x * x).sum())
    x.flags.writeable = False
    return x


def of_token(role: str, token: int) -> str:
    """Name the key or the value of a token, tokens being counted from 0.

    >>> of_token("value", 31)
    'value₃₁'
    """
    return role + str(token).translate(str.maketrans("0123456789", _BELOW))


def _hashed(name: str) -> str:
    """Return what is hashed for a name. Links were shared when presets counted keys and values from 1."""
    if counted := _OF_TOKEN.fullmatch(name):
        return f"{counted[1]} {int(counted[2].translate(str.maketrans(_BELOW, '0123456789'))) + 1}"
    return name


def normal(text: str) -> str:
    """Normalise a text so that equal names compare equal: :func:`visible`, case folded, NFC."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", visible(text)).casefold())
    return " ".join(folded.split())


def visible(text: str) -> str:
    """Return a text without control characters and marks of direction, with one space between parts.

    At most 30 marks on one letter are kept, since the time to sort them grows with the square of their number.
    Source: Unicode Standard Annex 15, Stream-Safe Text Format.
    """
    kept, marks = [], 0
    for c in text:
        shown, mark = _shown(c)
        if mark:
            marks += 1
        elif shown:
            marks = 0
        if marks <= 30:
            kept.append(shown)
    return " ".join("".join(kept).split())


def split_words(text: str) -> list[str]:
    """Split a text into its words, each in normal form.

    A word is a run of letters, marks, digits and connectors such as ``_``, with an apostrophe or a point inside it; or
    one emoji or other pictorial symbol with all its parts (skin tone, joined emoji, flag, keycap). Han and Hiragana,
    which put no space between words, give one word a character; scripts such as Thai, which do not either, give one
    word a run. Everything else separates.
    """
    text = normal(text)
    classes = "".join(map(_class, text))
    return [text[match.start() : match.end()] for match in _WORD.finditer(classes)]


@lru_cache(maxsize=4096)
def _shown(c: str) -> tuple[str, bool]:
    """Return the text that stands for a character, "" if it is dropped, and whether it is a combining mark.

    Characters that only format (soft hyphen, mark of direction, variant) are dropped. Joiners and tags are part of the
    spelling and are kept.
    """
    category = unicodedata.category(c)
    if category in ("Cc", "Cs"):
        return " ", False
    if (category == "Cf" and c not in _JOINERS and ord(c) not in _TAGS) or 0xFE00 <= ord(c) <= 0xFE0F:
        return "", False
    return c, unicodedata.combining(c) > 0


@lru_cache(maxsize=4096)
def _class(c: str) -> str:
    """Return the letter that :data:`_WORD` knows a character by."""
    o, category = ord(c), unicodedata.category(c)
    if c in _INSIDE:
        return "I"
    if c in _JOINERS:
        return "J"
    if category[0] == "M" or o in _SKIN_TONES or o in _TAGS:
        return "E"
    if o in _FLAG_LETTERS:
        return "F"
    if category == "So" or 0x1F000 <= o <= 0x1FAFF:
        return "P"
    if any(o in block for block in _UNSPACED):
        return "H"
    return "L" if category[0] in "LN" or category == "Pc" else " "


_BELOW = "₀₁₂₃₄₅₆₇₈₉"
_OF_TOKEN = re.compile(f"(key|value)([{_BELOW}]{{1,9}})")
_JOINERS = "\u200c\u200d"
_TAGS = range(0xE0020, 0xE0080)  # spell the flags of regions
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
_UNSPACED = (  # Han and Hiragana
    range(0x3005, 0x3008),
    range(0x3041, 0x30A0),
    range(0x3400, 0xA000),
    range(0xF900, 0xFB00),
    range(0x20000, 0x40000),
)
_INSIDE = "'.\u00b7\u2019"
_WORD = re.compile(
    "FF"  # a flag
    "|[PF]E*(?:J[PF]E*)*"  # an emoji: its skin tone and tags, and the emoji joined to it
    "|HE*"  # an ideograph
    "|L(?:[LE]|[IJ](?=L))*"  # a word, with marks, and with an apostrophe, point or joiner inside it
)
