"""Sheets and truth: days, fates, and the planted effect found again at large n."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from pdbiomarker.errors import InputError
from pdbiomarker.simulate.counts import CD8_GENES, SEX_GENES, draw_counts, draw_genes
from pdbiomarker.simulate.design import FAULTS, TrialDesign
from pdbiomarker.simulate.trial import Trial, draw_trial, study_date
from pdbiomarker.simulate.truth import biopsy_truth, cell_summary, feature_truth, participant_truth

LARGE = 200


@pytest.fixture(scope="module")
def design() -> TrialDesign:
    return TrialDesign()


@pytest.fixture(scope="module")
def large(design: TrialDesign) -> Trial:
    return draw_trial(design, LARGE, np.random.SeedSequence(5))


def test_study_days_have_no_day_zero() -> None:
    first = dt.date(2024, 3, 1)
    assert study_date(first, -1) == dt.date(2024, 2, 29)
    assert study_date(first, 1) == first
    assert study_date(first, 29) == dt.date(2024, 3, 29)


def test_dates_days_and_visits_agree(large: Trial) -> None:
    first = {
        p: dt.datetime.fromisoformat(moment)
        for p, moment in zip(
            large.participants["participant_id"], large.participants["first_dose_datetime"], strict=True
        )
    }
    for row in large.biopsies.itertuples():
        start = first[row.participant_id]
        collected = dt.datetime.fromisoformat(row.collection_date)
        apart = (collected.date() - start.date()).days
        assert row.study_day == (apart + 1 if apart >= 0 else apart)
        assert row.study_day != 0
        if row.visit == "screening":
            assert -28 <= row.study_day <= -1 or (row.study_day == 1 and collected < start)
        else:
            assert (22 <= row.study_day <= 36) == row.in_window
        assert collected.date() <= dt.date(2025, 6, 30)


def test_every_fate_is_there_and_exclusive() -> None:
    trial = draw_trial(TrialDesign(), 12, np.random.SeedSequence(1))
    rows = trial.biopsies
    assert (~rows["collected"]).sum() == 2
    assert rows.loc[~rows["collected"], "missing_reason"].ne("").all()
    assert (~rows["adequate"]).sum() == 1
    assert (~rows["in_window"]).sum() == 1
    assert rows.groupby("participant_id").size().max() == 3
    assert (rows["study_day"] == 1).sum() == 1
    assert (rows["n_libraries"] == 0).sum() == 1
    assert (rows["n_libraries"] == 2).sum() == 1
    trouble = (~rows["collected"]).astype(int) + ~rows["adequate"] + ~rows["in_window"]
    assert trouble.groupby(rows["participant_id"]).sum().max() == 1
    assert rows["biopsy_id"].is_unique
    assert rows.loc[rows["collected"], "slide_id"].is_unique
    assert (rows["adequate"] == (rows["viable_tumor_cells"] >= 100)).all()


def test_no_fates_when_none_are_asked_for() -> None:
    design = TrialDesign(missing=0, inadequate=0, out_of_window=0, repeated=0)
    rows = draw_trial(design, 12, np.random.SeedSequence(1)).biopsies
    assert len(rows) == 24
    assert rows["collected"].all()
    assert rows["adequate"].all()
    assert rows["in_window"].all()


def test_visit_and_run_can_be_told_apart(large: Trial) -> None:
    for run in ("batch", "stain_run"):
        share = large.biopsies.groupby(run)["visit"].agg(lambda v: (v == "C2D1").mean())
        assert ((share > 0.35) & (share < 0.65)).all()


def test_planted_gmr_is_recovered_at_large_n(large: Trial, design: TrialDesign) -> None:
    """Mean log2 change of the planted counts within 3 standard errors of log2(2.2), by the model's text."""
    truth = biopsy_truth(large, cell_summary(large))
    genes = draw_genes(design, 100, np.random.SeedSequence(2))
    features = feature_truth(large, design, genes, truth).set_index("feature")
    effect = np.log2(design.gmr)
    assert features.loc["CD8_density_tissue", "true"] == pytest.approx(effect)
    pairs = truth[truth["collected"]].drop_duplicates(["participant_id", "visit"])
    wide = pairs.assign(y=np.log2((pairs["n_positive"] + 0.5).astype(float) / pairs["area_mm2"])).pivot(
        index="participant_id", columns="visit", values="y"
    )
    change = (wide["C2D1"] - wide["screening"]).dropna()
    error = change.std() / np.sqrt(len(change))
    assert abs(change.mean() - effect) < 3 * error
    # Its spread is what the design says: heterogeneity, two biopsies, and counting (some 5-15 %).
    planned = np.sqrt(design.heterogeneity**2 + 2 * design.biopsy_sd**2)
    assert planned * 0.9 < change.std() < planned * 1.35
    people = participant_truth(large)
    spread = people["true_change_log2"].std() / np.sqrt(LARGE)
    assert abs(people["true_change_log2"].mean() - effect) < 3 * spread
    assert (people["responder"] == (people["true_ratio"] >= 2)).all()
    for feature, scale in (
        ("CD8_density_tissue", 1.0),
        ("CD8_density_nest", 1.0),
        ("CD8_density_stroma", 1.0),
        ("CD8_pct_tissue", np.log(2)),
    ):
        row = features.loc[feature]
        assert row["true"] == pytest.approx(scale * effect)
        assert abs(row["planted"] - row["true"]) < 3.5 * scale * error, feature
        assert row["true_ratio"] == pytest.approx(2.2)


def test_dose_adds_to_the_change() -> None:
    design = TrialDesign(heterogeneity=0.0, dose_slope=0.5)
    people = draw_trial(design, 12, np.random.SeedSequence(1)).participants
    by_dose = people.groupby("dose_mg")["true_change_log2"].first()
    assert by_dose[100.0] - by_dose[10.0] == pytest.approx(0.5)
    assert people["true_change_log2"].mean() == pytest.approx(np.log2(design.gmr))


def test_gene_truth_is_recovered_at_large_n(large: Trial, design: TrialDesign) -> None:
    """Fold changes of log2 CPM, by plain means within participants, within 4.5 SE of the truth."""
    genes = draw_genes(design, 300, np.random.SeedSequence(2))
    counts = draw_counts(large, genes, np.random.SeedSequence(3))
    assert counts.to_numpy().min() >= 0
    rows = large.biopsies[large.biopsies["collected"] & (large.biopsies["n_libraries"] == 1)]
    rows = rows.drop_duplicates(["participant_id", "visit"])
    stable = genes["feature"].isin(counts.index) & genes["true_estimate"].eq(0) & genes["alpha"].gt(6)
    data = counts.to_numpy(dtype=float)
    scale = data[stable.to_numpy()].sum(axis=0)
    y = np.log2((data + 0.5) / scale)
    column = {library: k for k, library in enumerate(counts.columns)}
    wide = rows.assign(column=[column[i[0]] for i in rows["library_ids"]]).pivot(
        index="participant_id", columns="visit", values="column"
    )
    wide = wide.dropna().astype(int)
    change = y[:, wide["C2D1"]] - y[:, wide["screening"]]
    error = change.std(axis=1, ddof=1) / np.sqrt(change.shape[1])
    used = (data.mean(axis=1) > 50) & genes["sex"].eq("").to_numpy()
    away = (change.mean(axis=1) - genes["true_estimate"].to_numpy()) / error
    assert used.sum() > 200
    assert np.abs(away[used]).max() < 4.5
    assert np.mean(np.abs(away[used]) < 1.96) > 0.85
    assert set(CD8_GENES) <= set(genes.loc[genes["true_estimate"] > 0, "feature"])


def test_cyt_truth_is_that_of_counts_per_million(large: Trial, design: TrialDesign) -> None:
    """The mean change of log2 CPM of GZMA and PRF1, over all reads, within 3 SE of the truth."""
    genes = draw_genes(design, 300, np.random.SeedSequence(2))
    counts = draw_counts(large, genes, np.random.SeedSequence(3))
    truth = feature_truth(large, design, genes, biopsy_truth(large, cell_summary(large)))
    row = truth.set_index("feature").loc["CYT"]
    assert 0.5 < row["true"] < genes.set_index("feature")["true_estimate"][["GZMA", "PRF1"]].mean()
    score = np.log2(counts.loc[["GZMA", "PRF1"]] / counts.sum() * 1e6).mean()
    rows = large.biopsies[large.biopsies["collected"] & (large.biopsies["n_libraries"] == 1)]
    rows = rows.drop_duplicates(["participant_id", "visit"])
    wide = rows.assign(score=[score[i[0]] for i in rows["library_ids"]]).pivot(
        index="participant_id", columns="visit", values="score"
    )
    change = (wide["C2D1"] - wide["screening"]).dropna()
    assert abs(change.mean() - row["true"]) < 3 * change.std() / np.sqrt(len(change))


def test_sex_genes_follow_sex(large: Trial, design: TrialDesign) -> None:
    genes = draw_genes(design, 100, np.random.SeedSequence(2))
    counts = draw_counts(large, genes, np.random.SeedSequence(3))
    sex = large.participants.set_index("participant_id")["sex"]
    for row in large.biopsies[large.biopsies["collected"]].itertuples():
        for library in row.library_ids:
            for gene, where in SEX_GENES.items():
                low = sex[row.participant_id] != where
                cpm = counts.loc[gene, library] / counts[library].sum() * 1e6
                assert (cpm < 300) == low, (gene, library)


def test_wrong_options_are_all_told_at_once() -> None:
    with pytest.raises(InputError) as told:
        TrialDesign(gmr=0.0, biopsy_sd=-1.0, missing=2.0, workers=0, faults=frozenset({"gremlins"}))
    text = str(told.value)
    for name in ("gmr", "biopsy_sd", "missing", "workers", "gremlins", *FAULTS):
        assert name in text
