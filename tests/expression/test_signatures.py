"""The cytolytic score: its definition, its source, and what it gives on real pairs."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from pdbiomarker import expression
from pdbiomarker.errors import AssayError
from pdbiomarker.expression.library_size import tmm_factors
from pdbiomarker.study import check_assay, read_study
from tests.riaz import build_riaz_study


def counts(symbols, ids=None, values=None):
    ids = ids or [str(k) for k in range(len(symbols))]
    values = np.array(values if values is not None else [[10, 40, 950], [0, 7, 2000]], dtype=float)
    var = pd.DataFrame({"kind": "count", "symbol": symbols}, index=pd.Index(ids, dtype=str))
    return ad.AnnData(values, obs=pd.DataFrame(index=pd.Index(["B1", "B2"], dtype=str)), var=var)


def test_definition_by_hand():
    scores = expression.signature_scores(counts(["GZMA", "PRF1", "ACTB"]))
    first = np.mean([np.log2(10.5 / 1001 * 1e6), np.log2(40.5 / 1001 * 1e6)])
    second = np.mean([np.log2(0.5 / 2008 * 1e6), np.log2(7.5 / 2008 * 1e6)])
    np.testing.assert_allclose(scores.X[:, 0], [first, second], rtol=1e-14)
    assert scores.obs_names.tolist() == ["B1", "B2"]
    assert scores.var_names.tolist() == ["CYT"]
    assert scores.var["kind"].tolist() == ["signature"]
    assert scores.var["unit"].tolist() == ["log2 CPM"]
    assert scores.var["expected_direction"].tolist() == [1]
    assert "25594174" in scores.uns["provenance"]["signature_CYT"]
    assert not list(check_assay(scores, "rna_signatures"))


def test_genes_are_found_by_symbol_then_by_id_and_repeats_are_summed():
    by_id = expression.signature_scores(counts(["", "", ""], ids=["GZMA", "PRF1", "X"]))
    np.testing.assert_array_equal(by_id.X, expression.signature_scores(counts(["GZMA", "PRF1", "ACTB"])).X)
    split = expression.signature_scores(
        counts(["GZMA", "PRF1", "GZMA", "ACTB"], values=[[4, 40, 6, 950], [0, 7, 0, 2000]])
    )
    np.testing.assert_array_equal(split.X, by_id.X)


def test_a_score_does_not_depend_on_the_other_biopsies():
    both = counts(["GZMA", "PRF1", "ACTB"])
    alone = expression.signature_scores(both[["B2"]].copy())
    assert alone.X[0, 0] == expression.signature_scores(both).X[1, 0]


def test_trap_19_missing_gene_is_told_and_nothing_is_scored():
    scores = expression.signature_scores(counts(["GZMA", "ACTB", "TP53"]))
    assert np.isnan(scores.X).all()
    (problem,) = expression.problems_of(scores)
    assert (problem.code, problem.severity, problem.value, problem.item) == (
        "E-COUNT-018",
        "warning",
        "PRF1",
        "CYT",
    )


def test_an_unmeasured_biopsy_has_no_score():
    adata = counts(["GZMA", "PRF1", "ACTB"])
    adata.X[1] = np.nan
    assert np.isnan(expression.signature_scores(adata).X[:, 0]).tolist() == [False, True]


def test_refusals():
    with pytest.raises(AssayError, match=r"E-FILE-001 .*no signature 'CYTO'.*Nearest: 'CYT'"):
        expression.signature_scores(counts(["GZMA", "PRF1", "ACTB"]), ["CYTO"])
    with pytest.raises(AssayError, match="E-FILE-001"):
        expression.read_signature("../panels/cd8")
    scored = expression.signature_scores(counts(["GZMA", "PRF1", "ACTB"]))
    with pytest.raises(AssayError, match="E-ASSAY-001"):
        expression.signature_scores(scored)


def test_every_signature_file_reads():
    for name in expression.available_signatures():
        signature = expression.read_signature(name)
        assert signature.name == name
        assert signature.pmid.isdecimal() or signature.doi.startswith("10.")
        assert signature.source
        assert signature.licence
    assert "CYT" in expression.available_signatures()


@pytest.mark.data
def test_genes_and_source_are_those_of_the_gene_set_collection(shared_data):
    """compass_concepts.gmt (immuno-compass 2.5.3, MIT) cites PMID 25594174 for CytoxAct_Rooney."""
    lines = shared_data("genesets/compass_concepts.gmt").read_text(encoding="utf-8").splitlines()
    (fields,) = [line.split("\t") for line in lines if line.startswith("CytoxAct_Rooney\t")]
    signature = expression.read_signature("CYT")
    assert fields[1] == f"PMID: {signature.pmid}"
    assert tuple(fields[2:]) == signature.genes


@pytest.mark.data
def test_riaz_paired_change(shared_data, tmp_path):
    """Median change of log2 CYT over 43 pairs +0.52, over the 42 with known response +0.50.

    Oracle: data/riaz2017/reference/README (offset .01 CPM, library size = all reads), two decimals; its
    input file to 1e-12. Offsets: the smallest count is 3 reads in some 38 million, so .01 CPM (.4 reads) and
    our half read differ by less than .001 in the medians. TMM factors would matter more: they move the
    medians to +0.72 and +0.70 while the mean stays (1.07 and 1.09). The mixed model's 1.18 is an estimate
    of the mean, on 103 libraries, and the changes are skewed to the right: their mean is twice the median.
    """
    study = read_study(build_riaz_study(shared_data, tmp_path / "riaz"))
    (spec,) = study.spec.assays
    adata = expression.read_counts(shared_data("riaz2017/counts.csv.gz"), study=study, spec=spec)
    assert adata.n_obs == 108

    ours = expression.signature_scores(adata)
    genes = adata.X[:, [adata.var_names.get_loc(g) for g in ("3001", "5551")]]  # Entrez: GZMA, PRF1
    per_million = genes / adata.X.sum(axis=1, keepdims=True) * 1e6
    published = np.log2(np.sqrt(np.prod(per_million + 0.01, axis=1)))
    size = adata.X.sum(axis=1) * tmm_factors(adata.X.T)
    with_tmm = np.log2((genes + 0.5) / (size[:, None] + 1) * 1e6).mean(axis=1)

    reference = pd.read_csv(shared_data("riaz2017/reference/cyt_lmm_input.csv"), index_col=0)
    single = adata.obs["n_libraries"] == 1
    by_library = dict(zip(adata.obs["libraries"][single], published[single], strict=True))
    shared = [i for i in reference.index if i in by_library]
    assert len(shared) >= 101
    np.testing.assert_allclose([by_library[i] for i in shared], reference.loc[shared, "cyt"], atol=1e-12)

    def medians(score):
        frame = study.biopsies.loc[adata.obs_names].assign(score=score)
        wide = frame.pivot_table(index="participant_id", columns="visit", values="score").dropna()
        change = wide["On"] - wide["Pre"]
        known = frame.groupby("participant_id")["response3"].agg(
            lambda v: v.notna().any() and (v != "").any()
        )
        known = known.reindex(change.index).astype(bool)
        return len(change), int(known.sum()), change.median(), change[known].median(), change.mean()

    for score, both, all_pairs, responders, mean in (
        (published, 42, 0.52, 0.50, 1.07),
        (ours.X[:, 0], 42, 0.52, 0.50, 1.07),
        (with_tmm, 42, 0.72, 0.70, 1.09),
    ):
        n, n_known, median, median_known, average = medians(score)
        assert (n, n_known) == (43, both)
        assert median == pytest.approx(all_pairs, abs=0.006)
        assert median_known == pytest.approx(responders, abs=0.006)
        assert average == pytest.approx(mean, abs=0.006)
