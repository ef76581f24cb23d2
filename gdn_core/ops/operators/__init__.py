"""The chunk form, the recurrence and the rows of unit length as PyTorch operators, opaque to a compiler.

:mod:`~gdn_core.ops.operators.chunks`, :mod:`~gdn_core.ops.operators.recurrence` and
:mod:`~gdn_core.ops.operators.rows` have one operator each, with its shapes and gradients;
:mod:`~gdn_core.ops.operators.running` is what they share: the look at numbers, and how kernels are launched. What is
passed to them went through the door of :mod:`gdn_core.ops.api`.
"""
