"""The alphabet of glyphs: drawn whole, and told apart."""

import itertools

import numpy as np

from gdn_core.lab.glyphs import GLYPHS, SIDE, glyph

CLOSEST = 8  # pixels in which any two glyphs of the alphabet differ at least


def test_every_glyph_is_drawn_whole_under_a_name_of_its_own() -> None:
    assert len(GLYPHS) == 40
    assert len({one.thing for one in GLYPHS}) == len(GLYPHS)
    for one in GLYPHS:
        assert [len(row) for row in one.rows] == [SIDE] * SIDE, one.thing
        assert set("".join(one.rows)) == {"#", "."}, one.thing


def test_any_two_glyphs_differ_in_many_pixels() -> None:
    for a, b in itertools.combinations(GLYPHS, 2):
        assert np.abs(a.pixels - b.pixels).sum() >= CLOSEST, (a.thing, b.thing)


def test_there_are_more_glyphs_than_a_window_has_values() -> None:
    assert len({glyph(n).rows for n in range(1600)}) == 1600
    assert glyph(41).thing == "sun over house"
    assert glyph(41).rows == GLYPHS[1].rows[:4] + GLYPHS[2].rows[4:]


def test_the_bits_of_a_glyph_are_its_pixels_row_by_row() -> None:
    for one in (GLYPHS[0], glyph(100)):
        assert f"{int(one.bits, 16):064b}" == "".join(f"{x:.0f}" for x in one.pixels.ravel())
