"""Machine-checked claims about the write rules, each with its scope and the wrong variants it must refute."""
