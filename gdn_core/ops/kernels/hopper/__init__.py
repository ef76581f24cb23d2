"""The chunk kernels for NVIDIA Hopper GPUs, in Gluon. Called by the launchers in :mod:`gdn_core.ops.kernels`."""
