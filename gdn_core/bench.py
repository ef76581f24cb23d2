"""``python -m gdn_core.bench`` runs :mod:`gdn_core.ops.bench`."""

import sys

try:
    from gdn_core.ops.bench import main
except ModuleNotFoundError as error:
    sys.exit(f"python -m gdn_core.bench: {error}")

if __name__ == "__main__":
    sys.exit(main())
