"""The chunk kernels for NVIDIA Hopper GPUs, written in Gluon. Called by the launchers in the folder above."""
