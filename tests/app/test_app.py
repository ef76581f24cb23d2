"""What belongs to no page of its own: the lineage, an error of ours, and what the server imports."""

import subprocess
import sys

from streamlit.testing.v1 import AppTest

from gdn_core.rules import LINEAGE, RULES
from tests.app.lab_page import ROOT, well


def test_the_lineage_shows_every_row() -> None:
    def page() -> None:
        from app.views import lessons

        lessons.page()

    at = AppTest.from_function(page, default_timeout=60)
    at.query_params["lesson"], at.query_params["step"] = "lineage", "map"
    at.session_state["Every rule and its equation-lineage-map"] = True
    well(at.run())
    said = " ".join(element.value for element in (*at.markdown, *at.caption))
    for row in LINEAGE:
        assert row.title in said
        assert row.summary in said
        assert row.source.place in said
        assert str(row.year) in said
    assert said.count(r"$\displaystyle ") >= 2 * len(RULES)


def test_an_error_of_ours_is_a_sentence_without_its_details() -> None:
    def page() -> None:
        from app.main import unexpected

        unexpected(RuntimeError("a secret of the server"))

    at = well(AppTest.from_function(page, default_timeout=60).run())
    assert len(at.error) == 1
    assert "secret" not in at.error[0].value


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_server_imports_neither_torch_nor_triton() -> None:
    code = "import sys; from app.views import lab; from app import compute, main; "
    code += "from app.choice import Choice; main.pages(); "
    code += "compute.picture(Choice()); print(sorted({'torch', 'triton', 'sympy'} & set(sys.modules)))"
    assert run(code).strip() == "[]"


def test_importing_the_entry_neither_runs_the_page_nor_starts_a_process() -> None:
    code = "import subprocess; subprocess.Popen = None; from app.views import lab; lab.page = None; "
    assert run(code + "from app import main; print(type(main.app).__name__)").strip() == "App"
