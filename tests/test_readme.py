"""The README's Jupyter lines run as they stand and give the numbers of `pdbiomarker run`."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import pdbiomarker as pb
from pdbiomarker.simulate import TrialDesign

README = Path(__file__).parents[1] / "README.md"


def test_links_lead_somewhere() -> None:
    text = README.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    assert targets
    assert [t for t in targets if not (README.parent / t).exists()] == []


@pytest.mark.slow
def test_the_jupyter_lines_equal_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(mpl.rcParams, "backend", "Agg")
    design = TrialDesign(missing=0, inadequate=0, out_of_window=0, repeated=0)
    pb.simulate_study(tmp_path / "demo" / "study", seed=2, n_participants=3, genes=300, design=design)
    names: dict[str, object] = {}
    exec(compile(block, str(README), "exec"), names)  # noqa: S102 -- our own README
    outcome = pb.run_study(tmp_path / "demo" / "study", tmp_path / "demo" / "results", progress=False)
    assert outcome.exit_code == 0
    theirs = pd.read_csv(tmp_path / "demo" / "results" / "results" / "pd_change.csv", dtype={"note": str})
    ours = names["result"].table  # type: ignore[attr-defined]
    keys = ["assay", "feature", "contrast", "set"]
    columns = ["estimate", "se", "df", "p", "q"]
    theirs = theirs.set_index(keys).sort_index()[columns]
    ours = ours.set_index(keys).sort_index()[columns]
    assert ours.index.equals(theirs.index)
    np.testing.assert_allclose(ours.to_numpy(float), theirs.to_numpy(float), rtol=1e-9)
    assert (tmp_path / "review.html").exists()
