"""The derivations import NumPy, SymPy and the core's NumPy part, and nothing else that has to be installed."""

import subprocess
import sys

import pytest

from derivations.command import HOLDS, WRONG_CALL
from tests.derivations.conftest import ROOT

BLOCKED = ("torch", "triton", "streamlit", "plotly", "safetensors", "transformers")
# A site that every process of the run reads at its start, the workers too.
SITE = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))  # None: an import raises
"""


@pytest.mark.parametrize("arguments", [["check", "-k", "zoh"], ["list"]])
def test_claims_are_checked_where_nothing_else_is_installed(tmp_path, arguments):
    (tmp_path / "sitecustomize.py").write_text(SITE)
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "derivations", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (HOLDS, "")


def test_claims_about_pytorch_are_left_out_by_name_where_it_is_not_installed(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SITE)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "derivations", "check", *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    left = run("-k", "torch_forward or torch_backward or torch_exponents or torch_channels")
    assert left.returncode == HOLDS
    assert "not checked: torch_chunk_equals_recurrence, " in left.stdout
    assert "torch is not installed" in left.stdout
    assert "1 of 1 claims hold" in left.stdout
    asked = run("torch_chunk_equals_recurrence")
    assert (asked.returncode, asked.stdout) == (WRONG_CALL, "")
    assert "torch is not installed" in asked.stderr


def test_what_is_blocked_cannot_be_imported(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SITE)
    done = subprocess.run(
        [sys.executable, "-c", "import torch"],
        env={"PYTHONPATH": f"{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "ModuleNotFoundError" in done.stderr
