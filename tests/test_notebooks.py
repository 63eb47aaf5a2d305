"""Every notebook runs from top to bottom; outputs are saved where said, and hold nothing of the machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
#: Reads third-party data, where they are at hand.
RIAZ = FOLDER / "03b_riaz.ipynb"
#: Committed with their outputs; the others without.
WITH_OUTPUTS = {"03_expression", "03b_riaz"}


def _run(path: Path, folder: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert any("image/png" in o.get("data", {}) for o in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p != RIAZ], ids=lambda p: p.stem)
# The kernel's message queue warns about event loops and sockets of its own.
@pytest.mark.filterwarnings("ignore")
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    _run(path, tmp_path)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_on_real_data_runs(
    shared_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDBIOMARKER_SHARED", str(shared_data("riaz2017/samples.csv").parents[2]))
    _run(RIAZ, tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_committed_without_traces_of_a_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert code
    if path.stem not in WITH_OUTPUTS:
        assert not any(c.outputs or c.execution_count for c in code)
        return
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert not any(o.output_type in {"error", "stream"} for c in code for o in c.outputs)
    texts = [str(o.get("data", {}).get("text/plain", "")) for c in code for o in c.outputs]
    assert not [t for t in texts if re.search(r"(/(tmp|home|root|work|Users)/|[A-Z]:\\)", t)]
