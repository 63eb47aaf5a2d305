"""Riaz 2017 as limma sees it, beside our own road. Oracle: data/riaz2017/reference (limma 3.54.1, R 4.2)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from pdbiomarker import expression
from pdbiomarker.change import pd_change
from pdbiomarker.mixed.dupcor import duplicate_correlation, fit_correlated
from pdbiomarker.mixed.moderate import moderated_t, squeeze_variances
from pdbiomarker.normalize import filter_by_expr, tmm_factors, voom
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study
from tests.builders import study_folder

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def riaz(shared_data):
    """Counts of the 107 unflagged libraries (genes x libraries) and their sheet."""
    counts = pd.read_csv(shared_data("riaz2017/counts.csv.gz"), index_col=0)
    samples = pd.read_csv(shared_data("riaz2017/samples.csv"), index_col=0).loc[counts.columns]
    good = samples["flag"].isna().to_numpy()
    return counts.loc[:, good], samples[good]


def moderated(y, design, groups, rho, weights):
    """P and estimate of the last coefficient, moderated as limma does."""
    contrast = np.eye(design.shape[1])[[-1]]
    fit = fit_correlated(y, design, groups, rho=rho, weights=weights, contrasts=contrast)
    prior = squeeze_variances(fit.sigma2, fit.df_residual)
    tests = moderated_t(fit.estimate, fit.unscaled_sd, fit.df_residual, moderation=prior)
    return fit.estimate[:, 0], tests.p[:, 0]


@pytest.mark.slow
def test_voom_and_duplicate_correlation(riaz, shared_data):
    """16,287 genes, rho .6637, none at FDR .05, 525 at .2; log FC and p of every gene as in the file."""
    counts, samples = riaz
    visit = samples["timepoint"].tolist()
    kept = filter_by_expr(counts, visit)
    assert int(kept.sum()) == 16287
    y = counts.to_numpy(float)[kept]
    size = y.sum(axis=0) * tmm_factors(y)
    design = np.column_stack([np.ones(len(visit)), np.array(visit) == "On"]).astype(float)
    people = samples["participant"].to_numpy()
    same = people[:, None] == people
    first = voom(y, design, size)
    rho = duplicate_correlation(first.E, design, people, weights=first.weights).consensus
    second = voom(y, design, size, covariance=np.where(np.eye(len(people)) == 1, 1.0, rho * same))
    rho = duplicate_correlation(second.E, design, people, weights=second.weights).consensus
    assert rho == pytest.approx(0.6637, abs=5e-5)
    estimate, p = moderated(second.E, design, people, rho, second.weights)
    q = multipletests(p, method="fdr_bh")[1]
    assert (int((q < 0.05).sum()), int((q < 0.2).sum())) == (0, 525)
    expected = pd.read_csv(shared_data("riaz2017/reference/ref_voom_dupcor_all.csv.gz"), index_col=0)
    assert expected.index.tolist() == counts.index[kept].tolist()
    # limma ends its search for the correlation of a gene early: rho differs in the sixth digit
    np.testing.assert_allclose(estimate, expected["logFC"], atol=2e-6)
    np.testing.assert_allclose(np.log10(p), np.log10(expected["P.Value"]), atol=1e-4)


def test_paired_by_response(riaz, shared_data):
    """~ participant + visit, within each response: pairs, genes at FDR .05 (all up) and .2, p of each gene.

    CR/PR 9 pairs 0 / 0, SD 15 pairs 12 (all up) / 390, PD 18 pairs 0 / 0.
    """
    counts, samples = riaz
    both = samples.groupby("participant")["timepoint"].nunique() == 2
    for group, n_pairs, strict, loose in (("PRCR", 9, 0, 0), ("SD", 15, 12, 390), ("PD", 18, 0, 0)):
        chosen = samples["participant"].map(both) & (samples["response3"] == group)
        sheet = samples[chosen]
        assert sheet["participant"].nunique() == n_pairs
        kept = filter_by_expr(counts.loc[:, chosen], sheet["timepoint"].tolist())
        y = counts.loc[:, chosen].to_numpy(float)[kept]
        size = y.sum(axis=0) * tmm_factors(y)
        blocks = pd.get_dummies(sheet["participant"], dtype=float).to_numpy()
        design = np.column_stack([blocks, sheet["timepoint"] == "On"]).astype(float)
        fitted = voom(y, design, size)
        estimate, p = moderated(fitted.E, design, np.arange(len(sheet)), 0.0, fitted.weights)
        q = multipletests(p, method="fdr_bh")[1]
        assert (int((q < 0.05).sum()), int((q < 0.2).sum())) == (strict, loose)
        assert (estimate[q < 0.05] > 0).all()
        path = shared_data(f"riaz2017/reference/ref_paired_{group}.csv.gz")
        expected = pd.read_csv(path, index_col=0)
        assert expected.index.tolist() == counts.index[kept].tolist()
        np.testing.assert_allclose(estimate, expected["voom.logFC"], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(np.log10(p), np.log10(expected["voom.P.Value"]), atol=1e-6)


def test_checkpoint_genes_by_response(riaz):
    """Mean change of log2(CPM + 1), paired t: R (9 pairs) and all 27 with PD, as a third party printed them.

    All 27: PRF1 +.65 p .0488, PDCD1 +.55 p .0492, LAG3 +.57 p .0639; R: CD8A +1.18, PRF1 +1.38, GZMB +.82,
    IFNG +.70, PDCD1 +1.40 (p .0295), LAG3 +1.06; NR: at most +.32. Entrez ids; two decimals.
    """
    counts, samples = riaz
    genes = {"CD8A": 925, "PRF1": 5551, "GZMB": 3002, "IFNG": 3458, "PDCD1": 5133, "LAG3": 3902}
    y = np.log2(counts / counts.sum() * 1e6 + 1).loc[list(genes.values())].T
    frame = y.assign(
        participant=samples["participant"], visit=samples["timepoint"], group=samples["response3"]
    )
    wide = frame.pivot_table(index="participant", columns="visit", values=list(genes.values()))
    group = frame.groupby("participant")["group"].first()

    def change(names, groups):
        rows = group.index[group.isin(groups)]
        out = {}
        for name in names:
            pairs = wide.loc[rows, genes[name]].dropna()
            delta = pairs["On"] - pairs["Pre"]
            out[name] = (len(delta), round(delta.mean(), 2), round(stats.ttest_1samp(delta, 0).pvalue, 4))
        return out

    assert change(["PRF1", "PDCD1", "LAG3"], ["PRCR", "PD"]) == {
        "PRF1": (27, 0.65, 0.0488),
        "PDCD1": (27, 0.55, 0.0492),
        "LAG3": (27, 0.57, 0.0639),
    }
    found = change(list(genes), ["PRCR"])
    assert [v[1] for v in found.values()] == [1.18, 1.38, 0.82, 0.70, 1.40, 1.06]
    assert found["PDCD1"][2] == 0.0295
    assert max(v[1] for v in change(list(genes), ["PD"]).values()) == 0.32


@pytest.mark.slow
def test_our_own_road_beside_limma(riaz, shared_data, tmp_path):
    """The mixed model (REML, Kenward-Roger, moderated) on the same 16,287 genes, beside limma's numbers.

    Both use voom weights; ours lets each gene have its own correlation within participants, limma one for
    all. Estimates agree (r above .995), the order of the genes too (Spearman of p above .97); neither calls
    a gene at .05. docs/methods/expression.md gives the figures.
    """
    counts, samples = riaz
    sheet = pd.DataFrame(
        {
            "participant_id": samples["participant"],
            "biopsy_id": samples.index,
            "visit": samples["timepoint"],
        }
    )
    yaml = "id: R\nvisits: {Pre: {}, On: {}}\nassays: {rna: {kind: count, file: counts.csv}}\n"
    plan = "contrasts: {on_treatment: On - Pre}\n"
    root = study_folder(tmp_path / "r", biopsies=sheet.to_csv(index=False), study=yaml, plan=plan)
    counts.to_csv(root / "counts.csv", index_label="gene")
    study = read_study(root)
    study = study.with_assay("rna", expression.read_assay(study, study.spec.assays[0]))
    table = pd_change(study, Plan.read(root / "plan.yaml", study)).table.set_index("feature")
    ours = table[table["p"].notna()]
    ours.index = ours.index.astype(int)
    path = shared_data("riaz2017/reference/ref_voom_dupcor_all.csv.gz")
    limma = pd.read_csv(path, index_col=0).loc[ours.index]
    assert len(ours) == 16287
    assert np.corrcoef(ours["estimate"], limma["logFC"])[0, 1] > 0.995
    assert ours["p"].corr(limma["P.Value"], method="spearman") > 0.97
    assert (ours["q"] < 0.05).sum() == 0
    assert 350 < (ours["q"] < 0.2).sum() < 525
