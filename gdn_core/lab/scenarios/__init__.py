"""Scenarios: streams of tokens to run rules on, made of a preset, a text, a table or arrays."""

from gdn_core.lab.names import guesses
from gdn_core.lab.scenarios.arrays import from_arrays
from gdn_core.lab.scenarios.presets import PRESETS, Preset, about, from_preset
from gdn_core.lab.scenarios.reading import Reading
from gdn_core.lab.scenarios.rows import COLUMNS, TokenRow
from gdn_core.lab.scenarios.scenario import Scenario
from gdn_core.lab.scenarios.script import python_source
from gdn_core.lab.scenarios.settings import Settings
from gdn_core.lab.scenarios.tables import from_table, table_of
from gdn_core.lab.scenarios.texts import from_text

__all__ = [
    "COLUMNS",
    "PRESETS",
    "Preset",
    "Reading",
    "Scenario",
    "Settings",
    "TokenRow",
    "about",
    "from_arrays",
    "from_preset",
    "from_table",
    "from_text",
    "guesses",
    "python_source",
    "table_of",
]
