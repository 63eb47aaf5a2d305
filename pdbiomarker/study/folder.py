"""Reading a study folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pdbiomarker.errors import Problems, StudyError
from pdbiomarker.study.model import Study
from pdbiomarker.study.spec import read_spec
from pdbiomarker.tables import read_table, to_typed


def read_study(path: str | Path) -> Study:
    """Read a study folder and check everything in it at once."""
    folder = Path(path)
    problems = Problems()
    spec = read_spec(folder / "study.yaml", problems)
    participants = read_table(folder / "participants.csv", problems=problems)
    biopsies = read_table(folder / "biopsies.csv", problems=problems)
    problems.raise_if_any(StudyError)
    if spec is None or participants is None or biopsies is None:
        raise StudyError(problems)
    columns = dict(spec.columns)
    participants = participants.rename(columns=columns).set_index("participant_id").apply(to_typed)
    biopsies = biopsies.rename(columns=columns)
    biopsies["line"] = biopsies.index
    biopsies = biopsies.set_index("biopsy_id").apply(to_typed)
    if "study_day" not in biopsies:
        biopsies["study_day"] = pd.Series(pd.NA, index=biopsies.index, dtype="Int64")
    libraries = pd.DataFrame({"biopsy_id": biopsies.index, "source": "biopsy_id"}, index=biopsies.index)
    slides = pd.DataFrame({"biopsy_id": pd.Series(dtype=object)}, index=pd.Index([], dtype=object))
    return Study(spec, participants, biopsies, libraries, slides, problems=tuple(problems), path=folder)
