"""Our values against theirs: every record and value has a verdict."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.clinical.reconcile import VERDICTS, Tolerance, reconcile, reconciliation_summary
from pdbiomarker.errors import InputError

OURS = pd.DataFrame(
    {
        "participant_id": ["007", "P2", "P3", "P4"],
        "cmax": [10.0, 20.0, np.nan, 5.0],
        "best": ["PR", "SD", "PD", None],
    }
)
THEIRS = pd.DataFrame(
    {
        "participant_id": ["P2", "007", "P3", "P5"],
        "cmax": [20.000001, 11.0, 7.0, 1.0],
        "best": ["SD", "CR", "PD", "NE"],
    }
)


def table(**options: object) -> pd.DataFrame:
    return reconcile(OURS, THEIRS, keys=["participant_id"], values=["cmax", "best"], **options)  # type: ignore[arg-type]


def test_every_value_of_both_sides_has_a_verdict() -> None:
    found = table()
    assert found.groupby("participant_id").size().to_dict() == {"007": 2, "P2": 2, "P3": 2, "P4": 2, "P5": 2}
    verdicts = {(r.participant_id, r.parameter): r.verdict for r in found.itertuples()}
    assert verdicts == {
        ("007", "cmax"): "differ",
        ("007", "best"): "differ",
        ("P2", "cmax"): "agree",
        ("P2", "best"): "agree",
        ("P3", "cmax"): "only theirs",
        ("P3", "best"): "agree",
        ("P4", "cmax"): "only ours",
        ("P4", "best"): "both missing",
        ("P5", "cmax"): "only theirs",
        ("P5", "best"): "only theirs",
    }
    row = found[(found["participant_id"] == "007") & (found["parameter"] == "cmax")].iloc[0]
    assert row["difference"] == -1.0
    assert row["relative"] == pytest.approx(-1 / 11, rel=1e-15)
    assert found.loc[found["participant_id"] == "P5", "reason"].unique().tolist() == [
        "The record is not in ours."
    ]


def test_tolerance_is_by_parameter_and_its_larger_allowance_decides() -> None:
    assert Tolerance(relative=0.1).allows(10.0, 11.0)
    assert not Tolerance(relative=0.09).allows(10.0, 11.0)
    assert Tolerance(relative=0, absolute=1.0).allows(10.0, 11.0)
    found = table(tolerance={"cmax": Tolerance(0.1)}, reasons={"best": "another reader"})
    by = found.set_index(["participant_id", "parameter"])
    assert by.loc[("007", "cmax"), "verdict"] == "agree"
    assert by.loc[("007", "best"), "reason"] == "another reader"


def test_the_order_of_rows_does_not_matter() -> None:
    shuffled = reconcile(
        OURS.iloc[::-1], THEIRS.iloc[[2, 0, 3, 1]], keys=["participant_id"], values=["cmax", "best"]
    )
    pd.testing.assert_frame_equal(shuffled, table())


def test_the_summary_counts_every_row() -> None:
    summary = reconciliation_summary(table())
    names = [verdict.replace(" ", "_") for verdict in VERDICTS]
    assert summary[names].sum(axis=1).tolist() == summary["n"].tolist() == [5, 5]
    assert summary["largest_relative"].iloc[0] == pytest.approx(1 / 11)


def test_missing_columns_and_repeated_records_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        reconcile(
            pd.concat([OURS, OURS.head(1)]),
            THEIRS.rename(columns={"cmax": "Cmax"}),
            keys=["participant_id"],
            values=["cmax"],
        )
    assert [p.code for p in caught.value.problems] == ["E-CLIN-021", "E-CLIN-020"]
    assert "'Cmax'" in caught.value.problems[1].remedy
