"""Words of any script, and the vector that each of them has."""

import hashlib
import math
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdn_core.lab.text import direction, gaussians, normal, split_words, visible


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't panic, it's 3.14! snake_case", ["don't", "panic", "it's", "3.14", "snake_case"]),
        ("e.g. this... and that.", ["e.g", "this", "and", "that"]),
        ("l\u2019eau col\u00b7lecció 'quoted'", ["l\u2019eau", "col\u00b7lecció", "quoted"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("cafe\u0301 CAFÉ", ["café", "café"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("שלום, עולם!", ["שלום", "עולם"]),
        ("مرحبا \u202eبالعالم\u202c می\u200cخواهم", ["مرحبا", "بالعالم", "می\u200cخواهم"]),
        ("我喜欢你。カタカナ と 한국어", ["我", "喜", "欢", "你", "カタカナ", "と", "한국어"]),
        ("👍🏽👍 👩\u200d👩\u200d👧🇩🇪🇫🇷", ["👍🏽", "👍", "👩\u200d👩\u200d👧", "🇩🇪", "🇫🇷"]),
        ("❤️ ❤ 1️⃣ 🏳️\u200d🌈", ["❤", "❤", "1\u20e3", "🏳\u200d🌈"]),
        ("soft\u00adhyphen zero\u200bwidth a\u200d b", ["softhyphen", "zerowidth", "a", "b"]),
        ("a\ud800b\0c\td", ["a", "b", "c", "d"]),
        ("x² = √2 € $5", ["x²", "2", "5"]),
        ("... !? \u200d \u202e", []),
    ],
)
def test_words_of_any_script_are_found(text, found):
    assert split_words(text) == [unicodedata.normalize("NFC", word) for word in found]


@given(st.text(st.characters()))
def test_any_text_has_words_and_they_are_normal(text):
    assert normal(normal(text)) == normal(text)
    for word in split_words(text):
        assert word
        assert word == normal(word)
        assert abs(np.linalg.norm(direction(0, "key", word, 3)) - 1) < 1e-12


def test_no_letter_keeps_marks_without_end():
    """To bring 180,000 marks into order would take minutes, so all but 30 go before that."""
    text = visible("a" + "\u0301\u0316\u202e" * 60_000 + " b")
    assert text == "a" + "\u0301\u0316" * 15 + " b"


def test_a_word_has_one_vector_on_every_machine():
    """Computed another way too: BLAKE2b, Philox 4x64 and Box and Muller in plain Python, below."""
    wanted = _direction_in_plain_python(7, "value", "straße", 5)
    np.testing.assert_allclose(direction(7, "value", "straße", 5), wanted, rtol=0, atol=1e-15)
    assert wanted == pytest.approx(GOLDEN, abs=1e-12)


def test_seed_role_and_name_all_count():
    base = direction(0, "key", "a", 8)
    for other in (direction(1, "key", "a", 8), direction(0, "value", "a", 8), direction(0, "key", "b", 8)):
        assert not np.allclose(base, other)


def test_directions_are_spread_evenly():
    x = np.stack([direction(0, "key", f"word {i}", 16) for i in range(4000)])
    assert np.abs(x.mean(axis=0)).max() < 5 / math.sqrt(16 * 4000)
    np.testing.assert_allclose(x.T @ x / 4000, np.eye(16) / 16, atol=0.006)
    y = gaussians(0, "a", "b", 100_000)
    assert abs(y.mean()) < 0.02
    assert y.std() == pytest.approx(1, abs=0.01)
    assert (y**4).mean() == pytest.approx(3, abs=0.15)


GOLDEN = [0.327815265727525, 0.166927457162786, -0.115295658729986, -0.560759454102318, -0.732753793107922]


def _direction_in_plain_python(seed: int, role: str, name: str, size: int) -> list[float]:
    """An oracle that shares no line with the module: Philox 4x64-10 as Random123 defines it, key from BLAKE2b."""
    digest = hashlib.blake2b(f"{seed}\0{role}\0{name}".encode(), digest_size=16).digest()
    key = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")]
    mask, raw, counter = 2**64 - 1, [], 0
    while len(raw) < 2 * size:
        counter += 1  # NumPy counts before it draws
        c, (k0, k1) = [counter, 0, 0, 0], key
        for _ in range(10):
            p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
            c = [(p1 >> 64) ^ c[1] ^ k0, p1 & mask, (p0 >> 64) ^ c[3] ^ k1, p0 & mask]
            k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
        raw += c
    x = []
    for a, b in zip(raw[0 : 2 * size : 2], raw[1 : 2 * size : 2], strict=True):
        u, angle = ((a >> 11) + 0.5) / 2**53, 2 * math.pi * ((b >> 11) + 0.5) / 2**53
        x.append(math.sqrt(-2 * math.log(u)) * math.cos(angle))
    length = math.sqrt(sum(n * n for n in x))
    return [n / length for n in x]
