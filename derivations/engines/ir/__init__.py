"""The compiled kernel on exact numbers: Triton's intermediate code, made without a GPU, run on integers mod a prime.

``front`` compiles a kernel for an explicit GPU and stops at TTIR or TTGIR, whose text ``text`` reads: the one module
that knows its format. ``evaluator`` runs all programs of a launch side by side; ``operations`` says what each operation
does, ``memory`` what is in the buffers, and ``carrier`` is the arithmetic of floats, which is that of
:mod:`derivations.engines.aten.numbers`: integers mod p, and log decays whose exponential is a power. ``letters`` is the
arithmetic of polynomials, for all inputs of a small size, and ``addresses`` one that computes integers only, at sizes
that no memory here could hold. ``chain`` runs the launches of a pass one after the other.

What a GPU leaves open is taken at its worst. Memory that was never written, and the lanes that a masked load is given
nothing for, may be NaN: they spread to all that is computed with them, and a result that depends on one is no result.
An access outside of a buffer fails, and so do two lanes of one store at one address, two programs that write different
numbers to one address or read what another one writes, an integer of 32 bits that overflows, a loop that does not end,
and the exponential of a positive sum of decays. An operation without a meaning here raises with its text.

Rounding is not modelled, and casts between floats are the identity; nor is what becomes of this code behind it, down to
machine code. Both are named beside a verdict.
"""
