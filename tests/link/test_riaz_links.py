"""Riaz et al. 2017: change of CYT by best response, 42 of 43 pairs with an evaluable response."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from riaz import build_riaz_study
from scipy import stats

from pdbiomarker import PDResult, Plan, link, pd_change, read_study
from pdbiomarker.run.assays import count_assays

pytestmark = pytest.mark.data

PLAN = """\
formula: "~ visit + (1|participant)"
contrasts: {on_treatment: On - Pre}
families: {primary: [rna_signatures:CYT]}
"""
#: Documented: responders, others, share of pairs in order, area under the curve.
N_RESPONDERS, N_OTHERS, ORDER, AREA = 9, 33, 0.6274, 0.5758
COLUMNS = "columns: {clin_BOR: best_response, best_pct_change: best_size_change_pct}\n"


@pytest.fixture(scope="module")
def result(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> PDResult:
    folder = build_riaz_study(shared_data, tmp_path_factory.mktemp("riaz") / "study", plan=PLAN)
    with (folder / "study.yaml").open("a", encoding="utf-8") as sheet:
        sheet.write(COLUMNS)
    study = read_study(folder)
    study = study.with_assay("rna_signatures", count_assays(study, [])["rna_signatures"])
    return pd_change(study, Plan.read(folder / "plan.yaml", study))


def test_cyt_by_best_response(result: PDResult, shared_data: Callable[[str], Path]) -> None:
    """Oracle: the sheets read by pandas, pairs of participants counted one by one."""
    found = link.response_pd(result, "CYT")
    sheet = pd.read_csv(shared_data("riaz2017/participants.csv"), index_col="participant")["clin_BOR"]
    change = result.changes[result.changes["set"] == "strict"].set_index("participant_id")["change"]
    assert len(change) == 43
    reply = sheet[change.index]
    known = [
        (change[p], {"PD": 0, "SD": 1, "PR": 2, "CR": 3}[reply[p]]) for p in change.index if reply[p] != "NE"
    ]
    assert len(known) == 42
    pairs = [(a, b) for a, b in itertools.permutations(known, 2) if a[1] < b[1]]
    order = found.row("order across groups")
    assert order["estimate"] == pytest.approx(np.mean([b[0] > a[0] for a, b in pairs]), abs=1e-12)
    assert order["n"] == 42
    cases, others = [d for d, k in known if k >= 2], [d for d, k in known if k < 2]
    area = found.row("area under the curve, responders (CR, PR)")
    assert area["estimate"] == pytest.approx(np.mean([c > o for c in cases for o in others]), abs=1e-12)
    # Mann and Whitney's exact p against 20,000 permutations: Monte Carlo SD .0035.
    exact = stats.mannwhitneyu(cases, others, method="exact").pvalue
    assert area["p"] == pytest.approx(exact, abs=0.011)
    assert (len(cases), len(others)) == (N_RESPONDERS, N_OTHERS)
    assert order["estimate"] == pytest.approx(ORDER, abs=5e-4)
    assert area["estimate"] == pytest.approx(AREA, abs=5e-4)


def test_cyt_changes_are_those_of_the_counts(result: PDResult, shared_data: Callable[[str], Path]) -> None:
    """GZMA and PRF1 from the count table by hand, library size as it is (not TMM): same order, r > .98."""
    counts = pd.read_csv(shared_data("riaz2017/counts.csv.gz"), index_col=0)
    genes = pd.read_csv(shared_data("riaz2017/genes.csv"), dtype=str).set_index("gene_name")["entrez"]
    samples = pd.read_csv(shared_data("riaz2017/samples.csv"), index_col=0)
    own = np.log2((counts.loc[[int(genes["GZMA"]), int(genes["PRF1"])]] + 0.5) / counts.sum() * 1e6).mean()
    good = samples[samples["flag"].isna()]
    value = own[good.index].groupby([good["timepoint"], good["participant"]]).mean()
    hand = (value["On"] - value["Pre"]).dropna()
    change = result.changes[result.changes["set"] == "strict"].set_index("participant_id")["change"]
    both = change.index.intersection(hand.index)
    assert len(both) >= 42
    assert np.corrcoef(change[both], hand[both])[0, 1] > 0.98


def test_survival_needs_a_landmark_day_here(result: PDResult, shared_data: Callable[[str], Path]) -> None:
    """Only visit labels are known: no window, so no landmark by itself; the second biopsy is of week 4."""
    sheet = pd.read_csv(shared_data("riaz2017/participants.csv"), index_col="participant")
    event = (sheet["pfs_cnsr"] == 0).map({True: "yes", False: "no"}).where(sheet["pfs_cnsr"].notna())
    outcomes = pd.DataFrame({"pfs_days": (sheet["pfs_months"] * 30.4375).round(), "pfs_event": event})
    silent = link.response_pd(result, "CYT", outcomes)
    assert silent.row("hazard ratio per unit")["status"] == "not_asked"
    found = link.response_pd(result, "CYT", outcomes, landmark_day=42)
    change = result.changes[result.changes["set"] == "strict"].set_index("participant_id")["change"]
    own = outcomes.loc[change.index]
    row = found.row("hazard ratio per unit")
    assert row["n"] == (own["pfs_days"] > 42).sum()
    early = ((own["pfs_days"] <= 42) & (own["pfs_event"] == "yes")).sum()
    assert f"left out: {early} with an event" in row["note"]
    assert row["low"] < row["estimate"] < row["high"]
