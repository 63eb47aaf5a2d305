"""`check` tells before any work which primary features the data leave without an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from builders import assay, study_folder

from pdbiomarker.run.primary import primary_problems
from pdbiomarker.study import Study, read_study

VISITS = ("Pre", "On")


def study(folder: Path) -> Study:
    letters = {"a": "Pre", "b": "On", "c": "Late"}
    rows = [f"P{i},P{i}{letter},{visit}" for i in range(3) for letter, visit in letters.items()]
    text = "participant_id,biopsy_id,visit\n" + "\n".join(rows) + "\n"
    return read_study(
        study_folder(folder, biopsies=text, study="id: T\nvisits: {Pre: {}, On: {}, Late: {}}\n")
    )


def test_only_what_is_primary_compared_and_measured_is_told(tmp_path: Path) -> None:
    known = study(tmp_path)
    rows = {"a": [1.0, np.nan, np.nan, 1.0, 1.0], "b": [1.0, np.nan, np.nan, np.nan, 1.0]}
    rows["c"] = [1.0, np.nan, np.nan, 1.0, np.nan]  # at a visit that no contrast touches
    values = {str(b): rows[str(b)[-1]] for b in known.biopsies.index}
    data = assay(values, ["sound", "none", "other", "one_visit", "late"], kind="score")
    empty = data[:0].copy()  # slides that were not measured yet
    features = [("flow", str(f)) for f in data.var_names if f != "other"] + [("ihc", "none")]
    found = list(primary_problems(known, features, {"flow": data, "ihc": empty}, VISITS))
    assert [(p.code, p.severity, p.value) for p in found] == [
        ("E-PLAN-290", "warning", "flow:none"),
        ("E-PLAN-290", "warning", "flow:one_visit"),
    ]
    assert found[0].message == "Primary features of 'flow' have no value: none."
    assert found[1].message == "Primary features of 'flow' have no value at On: one_visit."


def test_many_features_are_told_once(tmp_path: Path) -> None:
    known = study(tmp_path)
    names = [f"f{k}" for k in range(9)]
    data = assay({str(b): [np.nan] * 9 for b in known.biopsies.index}, names, kind="score")
    (told,) = primary_problems(known, [("flow", f) for f in names], {"flow": data}, VISITS)
    assert "have no value: f0, f1, f2, f3, f4 and 4 more." in told.message
