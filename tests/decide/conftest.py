"""A trial whose decisions are known, for the tests of this room."""

from __future__ import annotations

import numpy as np
import pytest
from builders import assay, study_folder

import pdbiomarker as pb


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    """12 participants, a tripled density, 3 without a second biopsy, two baselines for 4; doses in order."""
    random = np.random.default_rng(5)
    rows, counts, areas, values, runs = [], {}, {}, {}, []
    for i in range(12):
        level = 400 * 2 ** random.normal()
        for visit, day, fold, copies in (("screening", -7, 1.0, 2 if i < 4 else 1), ("C2D1", 29, 3.0, 1)):
            if visit == "C2D1" and i >= 9:
                continue
            for c in range(copies):
                name = f"B{i:02d}{visit[0]}{c}"
                month = 1 + i
                date = f"2025-{month:02d}-{'03' if visit == 'screening' else '28'}"
                rows.append(f"P{i:02d},{name},{visit},{day},{date}")
                n = float(random.poisson(level * fold * 2 ** (0.3 * random.normal())))
                counts[name], areas[name], values[name] = [n], [2.0], [n / 2.0]
                runs.append("first" if visit == "screening" else "second")
    folder = study_folder(
        tmp_path_factory.mktemp("checks"),
        biopsies="participant_id,biopsy_id,visit,study_day,collection_date\n" + "\n".join(rows) + "\n",
        participants="participant_id,dose_mg,age\n"
        + "\n".join(f"P{i:02d},{10 * (1 + i // 3)},{50 + i}" for i in range(12))
        + "\n",
        plan='formula: "~ visit + (1|participant)"\ncontrasts: {on_treatment: C2D1 - screening}\n'
        "families: {primary: [ihc:CD8_density]}\n",
    )
    data = assay(values, ["CD8_density"], kind="density", numerator=counts, denominator=areas)
    data.obs["batch"] = runs
    study = pb.read_study(folder).with_assay("ihc", data)
    return pb.pd_change(study, pb.Plan.read(folder / "plan.yaml", study))
