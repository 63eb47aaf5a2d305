"""Every notebook runs from top to bottom; committed outputs hold no error, no path and no clock."""

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
def test_what_is_committed_of_a_notebook(path: Path) -> None:
    """Without outputs, or with those of one run from top to bottom; none names a place of that machine."""
    notebook = nbformat.read(path, as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert code
    assert [c.execution_count for c in code] in ([None] * len(code), list(range(1, len(code) + 1)))
    outputs = [o for c in code for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert not [c for c in notebook.cells if "execution" in c.metadata]
    kept = [c for c in code if "rows-of-participants" in c.metadata.get("tags", [])]
    assert not [c for c in kept if c.outputs]
    texts = [o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in outputs]
    assert not [
        t for t in texts if re.search(r"(?<![\w.])/(tmp|home|root|Users|var|private)/|[A-Z]:\\\\| at 0x", t)
    ]


def test_no_participant_of_a_published_cohort_is_committed() -> None:
    """Their rows are third-party data: outputs of the notebook on them name nobody."""
    notebook = nbformat.read(RIAZ, as_version=4)
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    shown = [
        o.get("text", "") + str({k: v for k, v in o.get("data", {}).items() if k != "image/png"})
        for o in outputs
    ]
    assert outputs
    assert not [o for o in outputs if "image/png" in o.get("data", {})]  # points carry names
    assert not [text for text in shown if re.search(r"\bPt\d+", text)]
