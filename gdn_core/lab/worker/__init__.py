"""The processes that launch kernels for the lab: a pool, the process itself, and the frames between them."""
