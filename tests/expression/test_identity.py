"""Whose sample is it: sex, likeness, swaps, replicates; on simulated persons and on real ones."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from pdbiomarker import expression
from pdbiomarker.errors import AssayError
from pdbiomarker.expression.identity import (
    IDENTITY_COLUMNS,
    _sex_check,
    _within_visits,
    identity,
    identity_genes,
    sex_of,
)
from pdbiomarker.simulate.counts import draw_counts, draw_genes
from pdbiomarker.simulate.design import TrialDesign
from pdbiomarker.simulate.trial import draw_trial
from pdbiomarker.study import read_study
from tests.riaz import build_riaz_study

GENES = ["RPS4Y1", "DDX3Y", "KDM5D", "UTY", "EIF1AY", "XIST"]
DOUBTFUL = "Pt68_On_AD635729-6"


def libraries(n=12, *, seed=0, genes=1500, own=1.0, tissue=0.0, lost_y=()):
    """Two libraries (S, T) of each of `n` persons; odd ones are male.

    Each gene has a level of the person (standard deviation `own`, log2), one of the biopsy (.5), and, with
    `tissue`, a block of genes that is up in a tenth of the biopsies whoever gave them.
    """
    draw = np.random.default_rng(seed)
    person = draw.normal(0, own, (n, genes)) * (draw.random(genes) < 0.5)
    level = draw.normal(5, 2, genes)
    block = (draw.random(genes) < 0.1) * tissue
    rows, obs = [], []
    for p in range(n):
        for visit in "ST":
            x = level + person[p] + draw.normal(0, 0.5, genes) + block * (draw.random() < 0.1)
            sex = np.array([6.0] * 5 + [-9.0]) if p % 2 else np.array([-9.0] * 5 + [6.0])
            if p in lost_y:
                sex[:5] = -9.0
            size = draw.uniform(0.7, 1.3) * 2e6 / genes
            mean = np.r_[2.0**sex, 2.0**x] * size / 30
            rows.append(draw.poisson(draw.gamma(10, mean / 10)))
            obs.append((f"P{p:02d}", f"P{p:02d}-{visit}", visit, "FM"[p % 2]))
    names = [*GENES, *(f"G{k:04d}" for k in range(genes))]
    frame = pd.DataFrame(obs, columns=["participant_id", "biopsy_id", "visit", "sex"])
    frame.index = pd.Index(frame["biopsy_id"].tolist(), dtype=str)
    var = pd.DataFrame({"kind": "count", "symbol": names}, index=pd.Index(names, dtype=str))
    return ad.AnnData(np.array(rows, dtype=float), obs=frame, var=var)


def swap(adata, a, b):
    """The counts of two libraries change places."""
    out = adata.copy()
    i, j = out.obs_names.get_loc(a), out.obs_names.get_loc(b)
    out.X[[i, j]] = out.X[[j, i]]
    return out


def test_everyone_is_recognised():
    found = identity(libraries())
    assert tuple(found.table) == IDENTITY_COLUMNS
    assert (found.table["verdict"] == "consistent").all()
    assert (found.table["sex_check"] == "agrees").all()
    assert found.suspects.empty
    assert (found.pairs["relation"] == "one participant: confirmed").all()
    assert len(found.pairs) == 12
    assert 20 <= len(found.genes) <= 100
    assert not set(found.genes) & set(GENES)


@pytest.mark.parametrize(("a", "b"), [("P01-T", "P03-T"), ("P00-S", "P04-T"), ("P00-T", "P01-T")])
def test_trap_13_a_swap_is_found_with_its_owner(a, b):
    """Of the four libraries concerned each is a suspect, and each is given to the other person."""
    found = identity(swap(libraries(), a, b))
    suspects = found.suspects.set_index("library_id")
    people = {a[:3], b[:3]}
    assert set(suspects["participant_id"]) == people
    assert len(suspects) == 4
    assert all(suspects["likely_owner"] != suspects["participant_id"])
    assert set(suspects["likely_owner"]) == people
    assert suspects.loc[a, "likely_owner"] == b[:3]
    if a[1:3] == "00" and b[1:3] == "01":  # female and male
        assert suspects.loc[a, "sex_check"] == suspects.loc[b, "sex_check"] == "contradicts"


def test_labels_can_be_tried():
    adata = libraries()
    tried = identity(swap(adata, "P01-T", "P03-T"), labels={"P01-T": "P03", "P03-T": "P01"})
    assert tried.suspects.empty
    with pytest.raises(AssayError, match="no such library"):
        identity(adata, labels={"P99": "P01"})


def test_one_rna_under_two_biopsies():
    adata = libraries()
    draw = np.random.default_rng(5)
    k, j = (adata.obs_names.get_loc(i) for i in ("P03-T", "P05-S"))
    adata.X[k] = draw.binomial(adata.X[j].astype(int), 0.8)
    found = identity(adata)
    row = found.table.set_index("library_id").loc["P03-T"]
    assert row["verdict"] == "suspect"
    assert row["likely_owner"] == "P05"
    assert "nearly the same as P05-S of P05" in row["evidence"]
    pair = found.pairs[(found.pairs["library_a"] == "P03-T") & (found.pairs["library_b"] == "P05-S")]
    assert pair["relation"].tolist() == ["nearly the same library under two biopsies"]


def test_libraries_of_one_biopsy_are_replicates_and_no_copies():
    adata = libraries()
    extra = adata[["P03-T"]].copy()
    extra.X[0] = np.random.default_rng(5).binomial(adata["P03-T"].X[0].astype(int), 0.9)
    extra.obs_names = ["P03-T2"]
    found = identity(ad.concat([adata, extra], merge="same"))
    assert found.suspects.empty
    replicate = found.pairs[found.pairs["same_biopsy"]]
    assert replicate["relation"].tolist() == ["libraries of one biopsy: one person"]


def test_loss_of_y_makes_nobody_female():
    """A male whose tumour lost Y has neither Y transcripts nor XIST: undecided, never a suspect."""
    found = identity(libraries(lost_y={3, 5})).table
    lost = found[found["participant_id"].isin(["P03", "P05"])]
    assert lost["sex_rna"].tolist() == ["silent"] * 4
    assert lost["sex_check"].tolist() == ["undecided"] * 4
    assert (lost["verdict"] == "consistent").all()
    assert (found.loc[~found["participant_id"].isin(["P03", "P05"]), "sex_check"] == "agrees").all()


@pytest.mark.parametrize(
    ("y", "xist", "call"),
    [
        (5.0, -6.0, "M"),
        (5.0, 7.0, "M"),  # an extra X, or XIST in a male tumour
        (0.0, -6.0, "M"),
        (0.0, 3.0, "both"),
        (0.0, 5.0, "F"),  # strays
        (1.5, -6.0, "M"),
        (-6.0, 5.0, "F"),
        (-6.0, -6.0, "silent"),
        (-6.0, None, "F"),
        (None, 5.0, ""),
    ],
)
def test_trap_13_calls_of_sex(y, xist, call):
    symbols = ["A"] + ([] if y is None else GENES[:5]) + ([] if xist is None else ["XIST"])
    levels = [*([] if y is None else [y] * 5), *([] if xist is None else [xist])]
    reads = np.round(40 * 2.0 ** np.array(levels))  # of 40 million
    assert sex_of(np.r_[40e6 - reads.sum(), reads][:, None], symbols)["sex_rna"].tolist() == [call]


def test_a_shallow_library_is_not_called_by_the_half_count():
    """10,000 reads: the half count alone is 5.6 log2 CPM. One Y read and no XIST say nothing."""
    symbols = ["A", *GENES]
    silent = np.array([[9999.0, 1, 0, 0, 0, 0, 0]]).T
    assert sex_of(silent, symbols)["sex_rna"].tolist() == ["silent"]
    assert sex_of(np.array([[9980.0, 5, 5, 5, 5, 0, 0]]).T, symbols)["sex_rna"].tolist() == ["M"]
    assert sex_of(np.array([[9993.0, 1, 0, 0, 0, 0, 6]]).T, symbols)["sex_rna"].tolist() == ["F"]


@pytest.mark.parametrize(
    ("recorded", "kept", "check"),
    [
        ("F", "MX", "contradicts"),
        ("male", "MX", "agrees"),
        ("M", "F", "not measured"),  # a panel without XIST: cannot tell
        ("M", "FX", "contradicts"),
        ("", "MX", "not recorded"),
        ("U", "MX", "not recorded"),
        ("F", "", "not measured"),
    ],
)
def test_trap_13_sex_against_the_record(recorded, kept, check):
    """The second person is male, the first female; the matrix has Y genes, XIST (X), or neither."""
    adata = libraries(8)
    person = "P01" if "M" in kept else "P00"
    adata.obs.loc[adata.obs["participant_id"] == person, "sex"] = recorded
    lacking = GENES if not kept else [] if "X" in kept else ["XIST"]
    table = identity(adata[:, ~adata.var_names.isin(lacking)].copy()).table
    assert set(table.loc[table["participant_id"] == person, "sex_check"]) == {check}
    suspects = table.loc[table["verdict"] == "suspect", "participant_id"]
    assert set(suspects) == ({person} if check == "contradicts" else set())
    if check == "not measured":
        told = f"cannot tell the sex: {5 if kept else 0} of 6 marker genes measured"
        assert set(table.loc[table["participant_id"] == person, "evidence"]) == {told}


def test_a_transcriptome_without_xist_leaves_a_silent_male_undecided():
    """Of 10,000 genes and more: silent Y genes alone contradict nobody."""
    counts = np.r_[40e6, np.zeros(5)][:, None]
    (call,) = sex_of(counts, ["A", *GENES[:5]])["sex_rna"]
    assert call == "F"
    assert _sex_check("M", call, np.nan, 5)[0] == "undecided"


@pytest.mark.parametrize(("n_genes", "call"), [(20_000, "M"), (10_000, "M"), (300, "F")])
def test_stray_reads_of_y_weigh_less_in_a_panel(n_genes, call):
    """8 CPM of Y beside 2,000 of XIST: a male's of a transcriptome; strays of 300 genes, by 10,000 / 300."""
    reads = np.array([*[320.0] * 5, 80e3])  # of 40 million
    counts = np.r_[40e6 - reads.sum(), reads][:, None]
    assert sex_of(counts, ["A", *GENES], n_genes=n_genes)["sex_rna"].tolist() == [call]


def test_what_a_visit_has_in_common_is_no_likeness():
    """Oracle: means by pandas. Visits of fewer than four libraries are one group."""
    x = np.random.default_rng(1).normal(5, 1, (3, 11))
    visits = ["S"] * 5 + ["T"] * 4 + ["U", "V"]
    own = _within_visits(x, visits)
    frame = pd.DataFrame(x.T)
    means = frame.groupby(visits).transform("mean")
    want = frame - means + frame.mean()
    np.testing.assert_allclose(own[:, :9], want.to_numpy().T[:, :9], rtol=1e-12)
    np.testing.assert_array_equal(own[:, 9:], x[:, 9:])  # two libraries of visits of their own stay


def simulated(genes, n, seed):
    """The libraries of a simulated trial whose drug moves a tenth of the genes."""
    of_trial, of_genes, of_counts = np.random.SeedSequence(seed).spawn(3)
    trial = draw_trial(TrialDesign(), n, of_trial)
    counts = draw_counts(trial, draw_genes(TrialDesign(), genes, of_genes), of_counts)
    biopsies = trial.biopsies[trial.biopsies["collected"]].explode("library_ids").set_index("library_ids")
    obs = biopsies.loc[counts.columns, ["participant_id", "biopsy_id", "visit"]]
    obs["sex"] = obs["participant_id"].map(trial.participants.set_index("participant_id")["sex"])
    var = pd.DataFrame({"kind": "count", "symbol": list(counts.index)}, index=counts.index)
    obs.index = pd.Index(counts.columns, dtype=str)
    return ad.AnnData(counts.T.to_numpy(float), obs=obs, var=var)


@pytest.mark.parametrize(("genes", "n"), [(100, 12), (300, 8), (1500, 8), (6000, 8)])
def test_nobody_is_accused_whatever_the_number_of_genes(genes, n):
    """Right labels in trials of 8 or 12: none contradicted, from 300 genes on all confirmed.

    Before the means of visits were taken off, and the levels of panels brought down, 60 of 184 libraries
    of 300 genes were contradicted, and 56 of 60 with 6,000 genes were not confirmed.
    """
    table = pd.concat([identity(simulated(genes, n, seed)).table for seed in range(2)])
    assert set(table["sex_check"]) == {"agrees"}
    assert (table["verdict"] != "suspect").all()
    unconfirmed = table[table["verdict"] == "unconfirmed"]
    if genes >= 300:
        assert unconfirmed.empty
    else:
        assert unconfirmed["evidence"].str.contains(r"cannot tell, with \d+ of 100 genes").all()
        assert 0 < len(unconfirmed) < len(table) / 4


@pytest.mark.parametrize("genes", [300, 6000])
def test_a_swap_is_found_in_a_trial_whose_drug_moves_many_genes(genes):
    adata = simulated(genes, 8, 3)
    both = adata.obs.groupby(["sex", "participant_id"])["biopsy_id"].nunique()
    (_, p), (_, q) = [key for key, n in both.items() if n > 1 and key[0] == "F"][:2]
    a, b = (adata.obs_names[adata.obs["participant_id"] == person][-1] for person in (p, q))
    suspects = identity(adata, labels={a: q, b: p}).suspects
    assert {a, b} <= set(suspects["library_id"])
    assert set(suspects["participant_id"]) == {p, q}


@pytest.mark.parametrize("ids", ["ensembl", "entrez"])
def test_sex_genes_are_known_by_id(ids):
    adata = libraries(6)
    names = {
        "ensembl": ["ENSG00000129824.16", "ENSG00000067048", "ENSG00000012817", "ENSG00000183878"],
        "entrez": ["6192", "8653", "8284", "7404"],
    }[ids]
    names += {"ensembl": ["ENSG00000198692", "ENSG00000229807.13"], "entrez": ["9086", "7503"]}[ids]
    rest = [f"ENSG9{k:010d}" if ids == "ensembl" else str(10**6 + k) for k in range(adata.n_vars - 6)]
    adata.var_names = [*names, *rest]
    adata.var["symbol"] = ""
    assert (identity(adata).table["sex_check"] == "agrees").all()


def test_identity_genes_do_not_go_together():
    """Oracle: all pairs by brute force; a block of 300 genes in step gives one gene."""
    draw = np.random.default_rng(3)
    x = draw.normal(6, 1.5, (600, 120))
    x[:300] = 1.2 * x[0] + draw.normal(0, 0.1, (300, 120))
    rows = identity_genes(x, [f"g{k}" for k in range(600)])
    assert 20 < rows.size <= 100
    assert (rows < 300).sum() == 1
    together = np.corrcoef(x[rows])
    assert np.abs(together[np.triu_indices(rows.size, 1)]).max() < 0.4
    shuffled = draw.permutation(120)
    np.testing.assert_array_equal(identity_genes(x[:, shuffled], [f"g{k}" for k in range(600)]), rows)


def test_few_libraries_or_genes_are_not_judged():
    adata = libraries(12)[:4].copy()
    table = identity(adata).table
    assert set(table["verdict"]) == {"not evaluable"}
    assert (table["sex_check"] == "agrees").all()
    few = identity(libraries(8)[:, :20].copy()).table
    assert set(few["verdict"]) == {"not evaluable"}


def test_what_is_refused():
    adata = libraries(3)
    del adata.obs["participant_id"]
    with pytest.raises(AssayError, match="E-ASSAY-001"):
        identity(adata)


@pytest.mark.slow
def test_false_alarms():
    """No swap; two tumours without Y.

    With a block of genes that tells a tissue and is up eightfold in a tenth of the biopsies, 12 persons: 1 of
    480 libraries is a suspect; 40 persons: none of 240; without the block: none of 480.
    """

    def suspects(n, tissue, seeds):
        made = (libraries(n, seed=s, genes=800, own=0.8, tissue=tissue, lost_y={1, 5}) for s in seeds)
        return sum(len(identity(one).suspects) for one in made)

    assert suspects(12, 3.0, range(100, 120)) <= 1
    assert suspects(12, 0.0, range(200, 220)) == 0
    assert suspects(40, 3.0, range(300, 303)) == 0


# --- real persons --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def riaz(shared_data, tmp_path_factory):
    study = read_study(build_riaz_study(shared_data, tmp_path_factory.mktemp("riaz") / "study"))
    return study, expression.library_counts(study, study.spec.assays[0])


@pytest.mark.data
def test_riaz_as_it_is(riaz):
    """109 of 109 sexes agree with the clinic; no library is a suspect; Pt109_On has two of one person."""
    study, adata = riaz
    found = identity(study)
    assert (found.table["sex_check"] == "agrees").sum() == len(found.table) == adata.n_obs == 109
    assert found.suspects.empty
    replicate = found.pairs[found.pairs["same_biopsy"]]
    assert replicate[["library_a", "library_b"]].to_numpy().tolist() == [
        ["Pt109_On_AE527955-5", "Pt109_On_AE527955-6"]
    ]
    assert replicate["relation"].tolist() == ["libraries of one biopsy: one person"]
    assert replicate["similarity"].item() > 0.9
    assert (
        found.similarity.loc["Pt109_On_AE527955-5"].drop("Pt109_On_AE527955-5").idxmax().startswith("Pt109")
    )
    different = found.table["other_similarity"].max()
    assert different < 0.72
    assert 0.4 < found.alike < 0.45


@pytest.mark.data
def test_riaz_third_label_is_refuted(riaz):
    """AD635729-6: the authors' PatientID column says Pt72, who is a woman; its RNA has a Y chromosome."""
    study, _ = riaz
    table = identity(study, labels={DOUBTFUL: "Pt72"}).table.set_index("library_id")
    row = table.loc[DOUBTFUL]
    assert (row["sex"], row["sex_rna"], row["sex_check"]) == ("F", "M", "contradicts")
    assert row["verdict"] == "suspect"
    assert row["own_similarity"] < 0.2
    assert "Y transcripts in a participant recorded as female" in row["evidence"]
    assert (table["verdict"] == "suspect").sum() == 1


@pytest.mark.data
def test_riaz_a_planted_swap_is_found(riaz):
    """Two women's on-treatment libraries change labels: found by likeness alone, and nobody else.

    Three of the four libraries are suspects; the fourth is more like its true owner by .28 than like any
    third participant, just short of .3, and is told through its partner.
    """
    _, adata = riaz
    a, b = "Pt17_On_E9261162-5", "Pt26_On_AD467915-5"
    found = identity(adata, labels={a: "Pt26", b: "Pt17"}).suspects.set_index("library_id")
    assert set(found["participant_id"]) == {"Pt17", "Pt26"}
    assert len(found) == 3
    assert found.loc["Pt17_Pre_E9047563-6", "likely_owner"] == "Pt26"  # as Pt17_On is labelled
    assert a in found.loc["Pt17_Pre_E9047563-6", "evidence"]
    assert found.loc[b, "likely_owner"] == "Pt26"
    assert (found["sex_check"] == "agrees").all()
