"""Triton kernels, one and its launcher a file. Nothing here is imported before it is launched."""
