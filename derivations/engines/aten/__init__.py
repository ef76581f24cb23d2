"""The PyTorch code on exact numbers: a program runs unchanged, and every entry of a tensor is an integer mod a prime.

PyTorch breaks a program into ATen operations: products, sums, views, writes into a part of a tensor. A dispatch mode
sees each of them below autograd, with in-place and ``out=`` variants, and the factories. ``numbers`` is the arithmetic
of entries. ``operations`` says what each ATen operation does to them. ``tensors`` is the tensor subclass, ``mode``
the dispatch mode.

An entry is one of six things, all in one int64, so that views, slices and writes are PyTorch's own:

- a value, an integer mod p, for everything but decays;
- a log decay, an integer, negative where the decay is below 1; its exponential is a power of an element of order q,
  with p = 2 q + 1, so that exp(a + b) = exp(a) exp(b) as on the reals;
- a log decay in base 2, which is one in nats times log2(e), as float64 or a shorter float has that number; of this one
  the power of 2 is taken, of the other the power of e, and a sum of both fails;
- zero, which is a value and a log decay;
- the logarithm of a decay of 0, -inf, whose exponential is 0;
- nothing, in memory that was allocated and never written.

What has no meaning on the reals, or would fail there, raises: the exponential of a value; the exponential of a positive
sum of decays, which overflows; a value beside a log decay in a sum; arithmetic on what was never written; an order of
values; a number that is read back by Python. An operation without a meaning here raises with its name. Floats are
binary fractions and so exact. Casts between float types are the identity; they are counted, and named beside a verdict,
because rounding is what this engine does not model.

The size of a log decay decides whether a sum of them is positive. It is at a random point, as all else is: a difference
of two decays may be negative there by chance, and is positive at others.
"""
