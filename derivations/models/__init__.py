"""What several claims share, by subject: the letters of an induction, forms of the code, what is printed."""
