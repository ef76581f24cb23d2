"""The command: ``python -m derivations check``, ``list`` and ``show``."""

import os
import sys

# One thread a process: the matrices are small, and the processes already fill the cores. NumPy reads it at import.
for _library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

from gdn_core.extras import need  # noqa: E402 - after the settings that NumPy reads

if __name__ == "__main__":
    try:
        need("sympy")
    except ModuleNotFoundError as missing:
        sys.stderr.write(f"python -m derivations: {missing}\n")
        sys.exit(2)  # as for any wrong call

    from derivations.command import main

    sys.exit(main())
