"""The compiled kernels: each as Triton compiled it for a GPU that need not be here, on exact numbers."""
