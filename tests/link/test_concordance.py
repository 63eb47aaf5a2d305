"""Two assays of the same biopsies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from linked import PLAN, changes_of, trial
from scipy import stats

from pdbiomarker import PDResult, link
from pdbiomarker.errors import PlanError


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> PDResult:
    return trial(tmp_path_factory.mktemp("concordance") / "study", swap=True)


def test_levels_and_changes_are_those_of_the_assays(result: PDResult) -> None:
    found = link.concordance(result, "ihc:CD8_density", "rna:CD8A")
    ihc, rna = result.study.assays["ihc"], result.study.assays["rna"]
    y = {b: (float(ihc[b].layers["y"][0, 0]), float(rna[b].layers["y"][0, 0])) for b in ihc.obs_names}
    first = np.array([v for b, v in y.items() if b.endswith("-S")])
    row = found.row("Spearman correlation", "screening")
    assert row["estimate"] == pytest.approx(stats.spearmanr(first[:, 0], first[:, 1]).statistic, abs=1e-12)
    assert row["n"] == 24
    a, b = changes_of(result, "CD8_density"), changes_of(result, "CD8A")
    within = found.row("correlation within participants, centred by visit")
    assert found.row("Spearman correlation", "C2D1")["n"] == 23
    assert found.row("Spearman correlation of changes", "C2D1 - screening")["estimate"] == pytest.approx(
        stats.spearmanr(a, b[a.index]).statistic, abs=1e-12
    )
    # Everybody with two visits has both: the correlation of the changes.
    assert within["estimate"] == pytest.approx(stats.pearsonr(a, b[a.index]).statistic, abs=1e-10)


def test_the_planted_discordant_participant_is_flagged_and_nobody_else(result: PDResult) -> None:
    """P05's transcript was raised 64-fold; the limits are the 99 % prediction limits from all others."""
    found = link.concordance(result, "ihc:CD8_density", "rna:CD8A")
    flagged = found.points[found.points["discordant"]]
    assert flagged[["participant_id", "visit"]].to_numpy().tolist() == [["P05", "C2D1"]]
    row = found.row("limits of agreement, standardised", "C2D1")
    assert "P05 (swapped samples, tumour content or another core?)" in row["note"]
    assert "99 % limits" in row["note"]
    own = found.points[found.points["used"] & (found.points["visit"] == "C2D1")]
    others = own.loc[own["participant_id"] != "P05", "difference"]
    n = len(others)
    half = stats.t.ppf(0.995, n - 1) * others.std() * np.sqrt(1 + 1 / n)
    limit = own.loc[own["participant_id"] == "P05", "limit_low"].iloc[0]
    assert limit == pytest.approx(others.mean() - half, rel=1e-9)


def test_limits_of_agreement_are_those_of_bland_and_altman(result: PDResult) -> None:
    found = link.concordance(result, "ihc:CD8_density", "rna:CD8A")
    used = found.points[found.points["used"]]
    z = [(used[c] - used[c].mean()) / used[c].std() for c in ("a", "b")]
    d = (z[0] - z[1])[used["visit"] == "screening"]
    half = stats.t.ppf(0.975, len(d) - 1) * d.std() * np.sqrt(1 + 1 / len(d))
    row = found.row("limits of agreement, standardised", "screening")
    assert [row["estimate"], row["low"], row["high"]] == pytest.approx(
        [d.mean(), d.mean() - half, d.mean() + half], abs=1e-10
    )


def test_flags_are_as_rare_as_stated(tmp_path: Path) -> None:
    """Without a swap: 1 % of biopsies by definition; 47 biopsies, at most 3 by chance (Poisson .002)."""
    found = link.concordance(trial(tmp_path / "s", blood=False), "ihc:CD8_density", "rna:CD8A")
    assert found.points["discordant"].sum() <= 3


def test_values_of_one_assay_alone_keep_their_row(result: PDResult) -> None:
    found = link.concordance(result, "ihc:CD8_density", "serum:IL15")
    assert (found.points["same_biopsies"] == False).all()  # noqa: E712 - a column
    lost = found.points[~found.points["used"]]
    assert lost[["participant_id", "why"]].to_numpy().tolist() == [["P01", "no value of the first"]]
    assert "different biopsies" in found.note


def test_stained_markers_meet_their_transcripts(result: PDResult) -> None:
    assert link.concordance_pairs(result) == [("ihc:CD8_density", "rna:CD8A")]


def test_the_plan_names_pairs(tmp_path: Path) -> None:
    plan = PLAN + "concordance: [[ihc:CD8_density, serum:IL15], [ihc:CD8_density, rna:MKI67]]\n"
    result = trial(tmp_path / "a", plan=plan)
    assert link.concordance_pairs(result) == [
        ("ihc:CD8_density", "serum:IL15"),
        ("ihc:CD8_density", "rna:MKI67"),
    ]
    links = link.link_study(result)
    assert [x.other for x in links.concordance] == ["serum:IL15"]
    assert "rna:MKI67: the result does not have both" in links.note
    with pytest.raises(PlanError) as told:
        trial(tmp_path / "b", plan=PLAN + "concordance: [[ihc:CD8_density], [ihc:CD8_density, dna:X]]\n")
    assert [p.code for p in told.value.problems] == ["E-LINK-004", "E-LINK-004"]
    assert told.value.problems[0].row is not None


def test_a_plan_without_pairs_keeps_its_hash(tmp_path: Path) -> None:
    """The hash of such a plan before the key existed."""
    result = trial(tmp_path / "s", n=6, plan=PLAN + "concordance: []\n")
    assert result.plan.hash == trial(tmp_path / "t", n=6).plan.hash
