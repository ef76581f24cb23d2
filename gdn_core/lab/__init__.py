"""The lab, called by the app and by notebooks: make streams of tokens, run rules on them, measure the memory.

:mod:`~gdn_core.lab.scenarios` makes streams from presets, text, tables and arrays. :mod:`~gdn_core.lab.files` reads
uploads. :mod:`~gdn_core.lab.trajectory` runs rules and records every token. :mod:`~gdn_core.lab.metrics` measures the
record. :mod:`~gdn_core.lab.answers` writes what the memory answers as shares of the values that were written.
``gdn_core`` exports the functions.
"""
