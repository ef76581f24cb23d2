"""Triton kernels, each with its launcher in a file of its own. A module is imported when its kernel is launched."""
