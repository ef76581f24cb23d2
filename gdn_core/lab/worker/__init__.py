"""Worker processes that launch kernels for the lab: the pool, the program of a worker, and the frames between."""
