"""What engineers call: functions with flash-linear-attention's signatures, and all that computes them.

:mod:`~gdn_core.ops.api` has the functions, :mod:`~gdn_core.ops.operators` the PyTorch operators under them,
:mod:`~gdn_core.ops.backends` the choice of what runs; :mod:`~gdn_core.ops.torch` is plain PyTorch, and
:mod:`~gdn_core.ops.kernels` is Triton. ``gdn_core`` exports the functions.
"""
