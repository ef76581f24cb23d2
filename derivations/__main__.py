"""The command: ``python -m derivations check``, ``list`` and ``show``."""

import os

# One thread a process: the matrices are small, and the processes already fill the cores. NumPy reads it at import.
for _library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

from derivations.command import main  # noqa: E402 - behind the settings that NumPy reads

if __name__ == "__main__":
    raise SystemExit(main())
