"""The CDISC pilot's pharmacokinetic parameters, reconciled with ours from its concentrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.clinical.pk import nca
from pdbiomarker.clinical.reconcile import Tolerance, reconcile, reconciliation_summary

pytestmark = pytest.mark.data

NAMES = {
    "CMAX": "cmax",
    "TMAX": "tmax",
    "AUCLST": "auc_last",
    "AUCALL": "auc_all",
    "LAMZ": "lambda_z",
    "LAMZHL": "half_life",
    "LAMZNPT": "lambda_z_n",
}


@pytest.fixture(scope="module")
def tables(shared_data: Callable[[str], Path]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Ours, theirs, and the samples: plasma, nominal times (theirs are by nominal time)."""
    pc = pd.read_parquet(shared_data("cdisc_onco_pk/pharmaversesdtm__pc.parquet"))
    pp = pd.read_parquet(shared_data("cdisc_onco_pk/pharmaversesdtm__pp.parquet"))
    pc = pc[pc["PCSPEC"] == "PLASMA"]
    samples = pd.DataFrame(
        {
            "participant_id": pc["USUBJID"].astype(str),
            "time_h": pc["PCTPTNUM"].astype(float),
            "concentration": pc["PCSTRESC"].astype(str),
        }
    )
    theirs = pp.drop_duplicates(["USUBJID", "PPTESTCD"]).pivot_table(
        index="USUBJID", columns="PPTESTCD", values="PPSTRESN"
    )
    theirs = theirs.rename(columns=NAMES).rename_axis(index="participant_id", columns=None).reset_index()
    treated = samples[samples["participant_id"].isin(theirs["participant_id"])]
    doses = pd.DataFrame(
        {"participant_id": sorted(set(treated["participant_id"])), "time_h": 0.0, "amount": 54.0}
    )
    return nca(treated, doses, route="oral", method="linear"), theirs, treated


REASONS = {
    "auc_all": "theirs adds clast / lambda_z: it is an AUCinf under the name AUCALL",
    "lambda_z": "theirs takes Tmax into the slope",
    "half_life": "theirs takes Tmax into the slope",
    "lambda_z_n": "theirs counts Tmax",
}
AGREE = ["cmax", "tmax", "auc_last"]


def test_ours_and_theirs_reconciled(tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    """Linear rule, nominal times: Cmax, Tmax and AUClast to 1e-12, the rest by another rule."""
    ours, theirs, _ = tables
    table = reconcile(
        ours,
        theirs,
        keys=["participant_id"],
        values=list(NAMES.values()),
        tolerance=Tolerance(1e-12),
        reasons=REASONS,
    )
    summary = reconciliation_summary(table).set_index("parameter")
    assert summary["n"].tolist() == [168] * 7
    assert summary.loc[AGREE, "agree"].tolist() == [168] * 3
    assert summary.loc[list(REASONS), "differ"].tolist() == [168] * 4
    assert summary.loc[list(REASONS), "reason"].tolist() == list(REASONS.values())
    # How far apart the two rules are here: 0.3 % of AUC, 0.1 % of the slope.
    assert summary["largest_relative"]["auc_all"] < 0.003
    assert summary["largest_relative"]["lambda_z"] < 0.001


def test_the_reasons_are_the_reasons(tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    """With their rules (Tmax in the slope, AUCALL = AUClast + clast / lambda_z) their numbers come out."""
    ours, theirs, samples = tables
    mine = ours.set_index("participant_id")
    numbers = samples.assign(c=pd.to_numeric(samples["concentration"], errors="coerce")).dropna(subset=["c"])
    for row in theirs.itertuples():
        own = numbers[numbers["participant_id"] == row.participant_id].sort_values("time_h").tail(4)
        assert own["time_h"].iloc[0] == mine.loc[row.participant_id, "tmax"]
        slope = -np.polyfit(own["time_h"], np.log(own["c"]), 1)[0]
        assert row.lambda_z == pytest.approx(slope, rel=1e-9)
        area = mine.loc[row.participant_id, "auc_last"] + own["c"].iloc[-1] / row.lambda_z
        assert row.auc_all == pytest.approx(area, rel=1e-12)
        assert row.lambda_z_n == mine.loc[row.participant_id, "lambda_z_n"] + 1


def test_trap_23_the_pilot_spells_below_the_limit_in_two_ways(shared_data: Callable[[str], Path]) -> None:
    """PCSTRESC is <BLQ in every such row; PCSTRESN is 0 in some and missing in others."""
    pc = pd.read_parquet(shared_data("cdisc_onco_pk/pharmaversesdtm__pc.parquet"))
    below = pc[(pc["PCSPEC"] == "PLASMA") & (pc["PCSTRESC"] == "<BLQ")]
    assert 0 < below["PCSTRESN"].isna().sum() < len(below)
    assert (below["PCSTRESN"].dropna() == 0).all()
    person = pc[(pc["USUBJID"] == "01-701-1028") & (pc["PCSPEC"] == "PLASMA")]
    frame = pd.DataFrame({"participant_id": "01-701-1028", "time_h": person["PCTPTNUM"].astype(float)})
    dose = pd.DataFrame({"participant_id": ["01-701-1028"], "time_h": [0.0], "amount": [54.0]})
    by_text = nca(frame.assign(concentration=person["PCSTRESC"]), dose, route="oral")
    by_number = nca(frame.assign(concentration=person["PCSTRESN"]), dose, route="oral")
    pd.testing.assert_frame_equal(by_text, by_number)
