"""Settings shared by all tests."""

import os

from hypothesis import settings

# Shared machines stall; a slow example is no bug. CI runs the same examples each time, so that red means changed.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
