"""Wrong variants of the code, which claims must refute."""
