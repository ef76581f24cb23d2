"""Models that several claims share, by subject: the letters of an induction, forms of the code, printed formulas."""
