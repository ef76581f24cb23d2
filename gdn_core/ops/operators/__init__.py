"""The chunk form, the recurrence and the L2 norm as PyTorch operators, opaque to torch.compile.

:mod:`~gdn_core.ops.operators.chunks`, :mod:`~gdn_core.ops.operators.recurrence` and
:mod:`~gdn_core.ops.operators.rows` have one operator each, with its shapes and gradients.
:mod:`~gdn_core.ops.operators.running` has what they share: checks of values, and launching. Shapes, dtypes and devices
were checked by :mod:`gdn_core.ops.api`.
"""
