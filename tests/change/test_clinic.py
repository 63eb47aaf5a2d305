"""The trial beside each participant's change: which columns, of which biopsy, and what a model may have."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_study import small_study

import pdbiomarker as pb
from pdbiomarker.change import BEFORE_BIOPSY, JOINED_COLUMNS, change_columns
from pdbiomarker.errors import InputError

PLAN = pb.Plan(
    formula="~ visit + (1|participant)",
    contrasts={"on_treatment": "C2D1 - screening"},
    families={"primary": ("rna:GZMA", "rna:PRF1"), "genes": ("rna",)},
    baseline="screening",
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> pb.PDResult:
    folder = small_study(tmp_path_factory.mktemp("join") / "study", slides=False)
    study = pb.read_study(folder)
    counts = pb.expression.read_counts(folder / "counts.csv.gz", study=study)
    return pb.pd_change(study.with_assay("rna", counts), PLAN)


def tables() -> dict[str, pd.DataFrame]:
    """Two biopsies of P01 and one of P02, and what came of them."""
    exposure = pd.DataFrame(
        {
            "biopsy_id": ["P01-S", "P01-T", "P02-T"],
            "n_doses": pd.array([0, 2, 3], "Int64"),
            "auc_to_biopsy": [0.0, 120.5, 300.25],
            "concentration": [0.0, 1.5, np.nan],
        }
    )
    response = pd.DataFrame({"participant_id": ["P02", "P01"], "best_response": ["PR", "SD"]})
    ada = pd.DataFrame({"biopsy_id": ["P01-S", "P01-T"], "ada_last": ["none", "positive"]})
    return {"exposure": exposure, "response_by_participant": response, "ada_biopsies": ada}


def test_every_column_is_that_of_the_on_treatment_biopsy_or_the_participant(result: pb.PDResult) -> None:
    joined = pb.clinical_join(result, tables=tables()).set_index("participant_id")
    assert list(joined.columns) == [*list(JOINED_COLUMNS)[1:], "change_GZMA", "change_PRF1"]
    assert joined["on_biopsy"].tolist() == ["P01-T", "P02-T", "P03-T", "P04-T"]
    assert joined["on_biopsy_day"].tolist() == [29, 30, 31, 32]
    assert joined["auc_to_biopsy"].tolist()[:2] == [120.5, 300.25]
    assert joined["auc_to_biopsy"].isna().tolist() == [False, False, True, True]
    assert joined["n_doses"].tolist()[:2] == [2, 3]
    assert joined["best_response"].tolist() == ["SD", "PR", None, None]
    assert joined["ada_at_biopsy"].tolist() == ["positive", None, None, None]
    assert joined["dose_mg"].tolist() == [10.0, 20.0, 30.0, 40.0]
    changes = result.changes[(result.changes["set"] == "strict") & (result.changes["feature"] == "PRF1")]
    expected = changes.set_index("participant_id")["change"].to_dict()
    assert joined["change_PRF1"].to_dict() == expected


def test_without_clinical_tables_the_columns_are_there_and_empty(result: pb.PDResult) -> None:
    joined = pb.clinical_join(result)
    assert set(JOINED_COLUMNS) <= set(joined.columns)
    assert joined[[*BEFORE_BIOPSY, "best_response", "pfs_days"]].isna().all(axis=None)
    assert joined["change_GZMA"].notna().all()


def test_features_of_one_name_in_two_assays_are_told_apart(result: pb.PDResult) -> None:
    again = result.table.assign(assay="other")
    both = dataclasses.replace(result, table=pd.concat([result.table, again], ignore_index=True))
    assert change_columns(both, ["rna:GZMA", "other:GZMA", "other:PRF1"]) == {
        "change_rna_GZMA": ("rna", "GZMA"),
        "change_other_GZMA": ("other", "GZMA"),
        "change_PRF1": ("other", "PRF1"),
    }


def test_unknown_features_are_named_all_at_once_and_so_is_a_contrast(result: pb.PDResult) -> None:
    with pytest.raises(InputError) as caught:
        pb.clinical_join(result, features=["rna:GZMB", "CD8", "rna:GZMA"])
    assert [(p.code, p.value) for p in caught.value.problems] == [
        ("E-CLIN-043", "rna:GZMB"),
        ("E-CLIN-043", "CD8"),
    ]
    with pytest.raises(InputError, match="E-CLIN-043"):
        pb.clinical_join(result, contrast="later")


def test_what_came_after_the_biopsy_may_not_enter_its_model(result: pb.PDResult) -> None:
    joined = pb.clinical_join(result, tables=tables())
    with pytest.raises(InputError) as caught:
        pb.with_clinical_columns(result.study, joined, ["auc_to_biopsy", "best_response", "weight"])
    told = [(p.code, p.value) for p in caught.value.problems]
    assert told == [("E-CLIN-042", "best_response"), ("E-CLIN-042", "weight")]
    later = {"best_response", "responder", "best_size_change_pct", "pfs_days", "pfs_event", "dlt"}
    assert later.isdisjoint(BEFORE_BIOPSY)


def test_an_exposure_enters_a_formula(result: pb.PDResult) -> None:
    """With exposure in the model, its slope by visit is that of least squares on the changes."""
    given = tables()
    given["exposure"] = pd.DataFrame(
        {"biopsy_id": [f"P0{k}-T" for k in range(1, 5)], "auc_to_biopsy": [1.0, 2.0, 4.0, 8.0]}
    )
    joined = pb.clinical_join(result, tables=given)
    study = pb.with_clinical_columns(result.study, joined)
    assert study.participants["auc_to_biopsy"].tolist() == [1.0, 2.0, 4.0, 8.0]
    assert "n_doses" not in study.participants  # nobody has a value
    scores = pb.expression.signature_scores(study.assays["rna"])
    study = dataclasses.replace(study, assays={}).with_assay("scores", scores)
    plan = pb.Plan(
        formula="~ visit * auc_to_biopsy + (1|participant)",
        contrasts={
            "slope": "(C2D1 - screening at auc_to_biopsy = 1) - (C2D1 - screening at auc_to_biopsy = 0)"
        },
        families={"primary": ("scores:CYT",)},
        baseline="screening",
    )
    fitted = pb.pd_change(study, plan)
    y = pd.Series(np.asarray(scores[:, ["CYT"]].X).ravel(), index=scores.obs_names)
    change = [y[f"P0{k}-T"] - y[f"P0{k}-S"] for k in range(1, 5)]
    slope = np.polyfit([1.0, 2.0, 4.0, 8.0], change, 1)[0]
    row = fitted.table[fitted.table["set"] == "strict"].iloc[0]
    assert row["estimate"] == pytest.approx(slope, abs=1e-6)
