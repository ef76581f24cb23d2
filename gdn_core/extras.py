"""Optional packages: which extra installs each, and the error message when one is missing."""

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
    "fla": "fla",
}


def missing(package: str) -> str:
    """Say that a package is not installed, and which extra of this project brings it."""
    return f"{package} is not installed: pip install '{PROJECT}[{EXTRAS[package]}]' brings it"


def explained(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return an error with the message of :func:`missing` if an extra brings the module; else the error unchanged."""
    return ModuleNotFoundError(missing(error.name), name=error.name) if error.name in EXTRAS else error


def need(*packages: str) -> None:
    """Check that packages are installed, without importing them.

    Args:
        packages: names in :data:`EXTRAS`.

    Raises:
        ModuleNotFoundError: if one is not installed; the message says which extra brings it.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(missing(package), name=package)
