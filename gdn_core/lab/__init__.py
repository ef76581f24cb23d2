"""What the app and notebooks call: streams of tokens, what rules do to the memory on them, and what to measure there.

:mod:`~gdn_core.lab.scenarios` makes streams of presets, text, tables and arrays, :mod:`~gdn_core.lab.files` reads
uploads, :mod:`~gdn_core.lab.trajectory` runs rules and records every token, :mod:`~gdn_core.lab.metrics` measures the
record. ``gdn_core`` exports the functions.
"""
