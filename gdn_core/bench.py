"""``python -m gdn_core.bench`` runs :mod:`gdn_core.ops.bench`."""

import sys

from gdn_core.ops.bench import main

if __name__ == "__main__":
    sys.exit(main())
