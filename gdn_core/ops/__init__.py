"""The public functions, with flash-linear-attention's signatures, and their implementations. Called by engineers.

:mod:`~gdn_core.ops.api` has the functions, and imports those with a decay for each key channel from
:mod:`~gdn_core.ops.channels`; :mod:`~gdn_core.ops.operators` has the PyTorch operators that they call,
:mod:`~gdn_core.ops.backends` the choice of a backend, :mod:`~gdn_core.ops.torch` the plain PyTorch code, and
:mod:`~gdn_core.ops.kernels` the Triton kernels. ``gdn_core`` exports the functions.
"""
