"""Packages that the base does not install: which extra brings each, and the sentence for one that is missing."""

from __future__ import annotations

import importlib.util

PROJECT = "gated-deltanet-first-principles"
#: The smallest extra that brings a package, as pyproject.toml declares it.
EXTRAS = {
    "sympy": "derivations",
    "torch": "ops",
    "triton": "ops",
    "streamlit": "app",
    "plotly": "app",
    "safetensors": "app",
    "transformers": "transformers",
}


def missing(package: str) -> str:
    """Say that a package is not installed, and which extra of this project brings it."""
    return f"{package} is not installed: pip install '{PROJECT}[{EXTRAS[package]}]' brings it"


def explained(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return the error with the sentence of :func:`missing` where an extra brings the module, or else as it is."""
    return ModuleNotFoundError(missing(error.name), name=error.name) if error.name in EXTRAS else error


def need(*packages: str) -> None:
    """Look for packages, and import none of them.

    Args:
        packages: names in :data:`EXTRAS`.

    Raises:
        ModuleNotFoundError: if one is not installed; the message says which extra brings it.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(missing(package), name=package)
