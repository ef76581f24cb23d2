"""Make a scenario from a text: words in order, or pairs to be recalled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from gdn_core.lab.limits import LIMITS, check_text
from gdn_core.lab.scenarios.rows import SHUT, TokenRow, many
from gdn_core.lab.scenarios.scenario import Scenario, scenario_of
from gdn_core.lab.scenarios.settings import Settings
from gdn_core.lab.text import normal, split_words
from gdn_core.ops.checks import shown

LOOK_FOR_PAIRS = (
    "First the pairs are stored, then each key is asked for. The colour of a key's error says whether its newest value "
    "still stands: with more different keys than dk no rule can keep them all."
)


LOOK_FOR_WORDS = (
    "Each token stores a word under the word before it, and asks what has followed the word itself so far. Where a "
    "word comes again with another follower, additive rules answer a blend of both, delta rules the newer one."
)


def from_text(text: str, settings: Settings) -> Scenario:
    """Make a scenario from a text; a repeated word repeats its key and value.

    If at least half of the lines that are not empty read ``key = value`` (or with ``->`` or ``→``), each such line
    stores a pair, in order, and other lines are ignored. Then every key is queried once, in order. If there are lines
    ``key = ?``, only these query, each at its place.

    Any other text is read word by word: each token stores the word under the word before it, and queries the word
    itself, that is, what has followed it so far. :func:`gdn_core.lab.text.split_words` says what a word is, and
    :func:`gdn_core.lab.text.direction` which vector it has.

    Args:
        text: at most ``LIMITS.characters`` characters.
        settings: every field but T is used; a text longer than ``LIMITS.tokens`` tokens is cut there, with a note.

    Raises:
        TypeError: if it is no text.
        ValueError: if it is too long, or has fewer than two words and no pair.
    """
    check_text("text", text, LIMITS.characters)
    if not text.strip():
        raise ValueError("text: expected some words, or lines such as 'key = value', got an empty text")
    call = f"scenarios.from_text({text!r}, settings)"
    lines = [line for line in text.splitlines() if line.strip()]
    pairs = [pair for pair in map(_pair, lines) if pair]
    if 2 * len(pairs) >= len(lines):
        rows, notes = _rows_of_pairs(pairs, len(lines), LIMITS.tokens)
        title, look_for = "Pairs to be recalled", LOOK_FOR_PAIRS
    else:
        rows, notes = _rows_of_words(split_words(text), LIMITS.tokens)
        title, look_for = "Text: each word under the word before it", LOOK_FOR_WORDS
    return scenario_of(rows, settings, title=title, look_for=look_for, notes=notes, call=call)


def _pair(line: str) -> tuple[str, str | None] | None:
    """Split a line such as ``key = value``; the value of ``key = ?`` is None; None for any other line."""
    parts = re.split(r"=>|->|→|=", line, maxsplit=1)
    if len(parts) < 2:
        return None
    key, value = normal(parts[0]), normal(parts[1])
    return (key, None if value == "?" else value) if key and value else None


def _rows_of_pairs(pairs: Sequence[tuple[str, str | None]], lines: int, most: int) -> tuple[list[TokenRow], list[str]]:
    """Store pairs, then query every key once, unless the text has queries of its own."""
    if all(value is None for _, value in pairs):
        raise ValueError("text: expected a line 'key = value' before any 'key = ?', got questions only")
    notes = []
    if lines > len(pairs):
        notes.append(f"Left out: {many(lines - len(pairs), 'line')} without key = value.")
    asks = any(value is None for _, value in pairs)
    kept: list[tuple[str, str | None]] = []
    different: set[str] = set()
    for key, value in pairs:
        if len(kept) + 1 + (0 if asks else len(different | {key})) > most:
            break
        kept.append((key, value))
        different.add(key)
    if len(kept) < len(pairs):
        notes.append(f"Windowed: the first {len(kept):,} of {len(pairs):,} lines, with their questions.")
    rows = [replace(SHUT, query=key) if value is None else TokenRow(key=key, value=value) for key, value in kept]
    if asks:
        return rows, notes
    queries = [replace(SHUT, query=key) for key in dict.fromkeys(key for key, _ in kept)]
    notes.append(f"{many(len(rows), 'pair')}, then {many(len(queries), 'question')}.")
    return rows + queries, notes


def _rows_of_words(found: Sequence[str], most: int) -> tuple[list[TokenRow], list[str]]:
    """Store each word under the word before it, and query the word."""
    if len(found) < 2:
        got = f"one ({shown(found[0])})" if found else "none"
        raise ValueError(f"text: expected at least two words, since each is stored under the one before it, got {got}")
    notes = []
    if len(set(found)) == 1:
        notes.append("One word only: every token stores the same pair again.")
    if len(found) - 1 > most:
        notes.append(f"Windowed: the first {most + 1:,} of {len(found):,} words, which give {most} tokens.")
    pairs = list(pairwise(found))[:most]
    return [TokenRow(key=before, value=word, query=word) for before, word in pairs], notes
