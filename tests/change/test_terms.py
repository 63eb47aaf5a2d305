"""Random terms of a plan: several biopsies of a visit, nested and crossed groups, slopes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from builders import assay, study_folder
from dense_mixed import DenseModel, Group
from hgsoc import build_hgsoc_study

from pdbiomarker.change import pd_change
from pdbiomarker.errors import FormulaError, PlanError
from pdbiomarker.expression import read_counts
from pdbiomarker.mixed import RandomSlopes, fit
from pdbiomarker.mixed.glmm import fit_counts
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study

WITHIN = "~ visit + (1|participant) + (1|participant:visit)"
STUDY = "id: T\nvisits: {Pre: {}, On: {}}\n"


def replicated(tmp_path, *, people=9, per_visit=3, seed=1, features=3, columns=()):
    """Up to `per_visit` biopsies of a visit; some have fewer, one participant a single visit."""
    rng = np.random.default_rng(seed)
    rows, values = [f"participant_id,biopsy_id,visit{''.join(',' + c for c in columns)}"], {}
    for i in range(people):
        person = rng.normal(size=features)
        for visit in ("Pre", "On"):
            if i == 0 and visit == "On":
                continue
            shared = 0.8 * rng.normal(size=features)
            for k in range(1 + (i + (visit == "On")) % per_visit):
                name = f"P{i}{visit}{k}"
                extra = {
                    "batch": f"R{(i + k) % 3}",
                    "lesion_id": f"L{k % 2}",
                    "purity": f"{rng.uniform():.3f}",
                }
                rows.append(f"P{i},{name},{visit}" + "".join("," + extra[c] for c in columns))
                noise = 0.6 * rng.normal(size=features)
                values[name] = list(person + shared + noise + 0.5 * (visit == "On"))
    folder = study_folder(
        tmp_path, biopsies="\n".join(rows) + "\n", study=STUDY, plan="contrasts: {on: On - Pre}\n"
    )
    study = read_study(folder)
    return study.with_assay("ihc", assay(values, [f"f{j}" for j in range(features)]))


def plan_of(study, formula, *, replicates="all", **changes):
    plan = Plan.default(study)
    return dataclasses.replace(
        plan, formula=formula, replicates=replicates, contrasts={"on": "On - Pre"}, **changes
    )


def strict(result):
    return result.table[result.table["set"] == "strict"].reset_index(drop=True)


def dense_inputs(study):
    table = study.biopsies.loc[sorted(study.assays["ihc"].obs_names)]
    y = study.assays["ihc"][table.index.to_numpy()].X.T
    X = np.column_stack([np.ones(len(table)), table["visit"] == "On"]).astype(float)
    return table, np.asarray(y), X


@pytest.mark.parametrize("ddf", ["kenward-roger", "satterthwaite"])
def test_all_biopsies_of_a_visit_equal_the_dense_model(tmp_path, ddf):
    study = replicated(tmp_path)
    table, y, X = dense_inputs(study)
    found = strict(pd_change(study, plan_of(study, WITHIN, ddf=ddf)))
    visit = list(zip(table["participant_id"], table["visit"], strict=True))
    for j, row in found.iterrows():
        expected = DenseModel(y[j], X, [Group(table["participant_id"].tolist()), Group(visit)]).fit(
            np.array([[0.0, 1.0]]), ddf
        )
        assert row["estimate"] == pytest.approx(expected.estimate[0], rel=1e-7)
        assert row["se"] == pytest.approx(expected.se[0], rel=1e-6)
        assert row["df"] == pytest.approx(expected.df[0], rel=1e-5)
        assert row["var_participant"] == pytest.approx(expected.variance[0], rel=1e-5, abs=1e-9)
        name, value = row["var_other"].split(" ")
        assert name == "participant:visit"
        assert float(value) == pytest.approx(expected.variance[1], rel=1e-5)
        assert row["var_residual"] == pytest.approx(expected.sigma2, rel=1e-6)
    assert (found["model"] == "linear mixed").all()
    assert (found["n_biopsies"] == len(table)).all()
    assert (found["n_pairs"] == 8).all()
    assert (found["note"] == "all biopsies of each visit").all()


def test_changes_and_pairs_of_replicates_are_of_means(tmp_path):
    study = replicated(tmp_path)
    result = pd_change(study, plan_of(study, WITHIN))
    one = result.changes.query("participant_id == 'P1' and feature == 'f0' and set == 'strict'").iloc[0]
    table, y, _ = dense_inputs(study)
    own = (table["participant_id"] == "P1").to_numpy()
    pre, on = (y[0, own & (table["visit"] == v).to_numpy()] for v in ("Pre", "On"))
    assert one["baseline_biopsy"].split(";") == [b for b in table.index[own] if "Pre" in b]
    assert one["change"] == pytest.approx(on.mean() - pre.mean(), rel=1e-12)
    pair = result.pairs.query("participant_id == 'P1'").iloc[0]
    assert pair["on_biopsy"] == one["on_biopsy"]
    last = result.accountability.query("set == 'strict' and step == 'evaluable pair'").iloc[0]
    assert (last["n_participants"], last["n_biopsies"]) == (8, len(table) - 1)


@pytest.mark.parametrize(
    ("random", "groups"),
    [
        ("(1|participant/lesion_id)", ["participant", "participant:lesion_id"]),
        ("(1|participant) + (1|batch)", ["participant", "batch"]),
        (
            "(1|batch) + (1|participant) + (1|participant:visit)",
            ["participant", "participant:visit", "batch"],
        ),
    ],
)
def test_nested_and_crossed_terms_are_those_of_the_array_layer(tmp_path, random, groups):
    study = replicated(tmp_path, columns=("batch", "lesion_id"))
    table, y, X = dense_inputs(study)
    formula = f"~ visit + {random}"
    plan = plan_of(study, formula if "visit)" in random else f"{formula} + (1|participant:visit)")
    found = strict(pd_change(study, plan))
    names = groups if "participant:visit" in groups else [groups[0], "participant:visit", *groups[1:]]
    labels = table.rename(columns={"participant_id": "participant"})
    terms = {
        name: ["\t".join(row) for row in labels[name.split(":")].itertuples(index=False)] for name in names
    }
    expected = fit(y, X, terms, contrasts=[[0.0, 1.0]])
    np.testing.assert_allclose(found["estimate"], expected.estimate[:, 0], rtol=1e-8)
    np.testing.assert_allclose(found["p"], expected.p[:, 0], rtol=1e-6)
    told = [text.split("; ") for text in found["var_other"]]
    assert [part.split(" ")[0] for part in told[0]] == names[1:]


@pytest.mark.parametrize("correlated", [True, False])
def test_random_slopes_are_those_of_the_array_layer(tmp_path, correlated):
    study = replicated(tmp_path, people=14, columns=("purity",))
    table, y, X = dense_inputs(study)
    slope = "(purity|participant)" if correlated else "(1|participant) + (0 + purity|participant)"
    plan = plan_of(study, f"~ visit + purity + {slope} + (1|participant:visit)")
    found = strict(pd_change(study, plan))
    purity = table["purity"].to_numpy(dtype=float)
    visit = [f"{p}:{v}" for p, v in zip(table["participant_id"], table["visit"], strict=True)]
    expected = fit(
        y,
        np.column_stack([X, purity]),
        {"participant": table["participant_id"].tolist(), "participant:visit": visit},
        slopes={"participant": RandomSlopes(purity[:, None], correlated)},
        contrasts=[[0.0, 1.0, 0.0]],
    )
    np.testing.assert_allclose(found["estimate"], expected.estimate[:, 0], rtol=1e-7)
    np.testing.assert_allclose(found["se"], expected.se[:, 0], rtol=1e-6)
    assert found["status"].tolist() == expected.status.tolist()


REFUSED = [
    ("~ visit + (1|participant)", "all", PlanError, r"E-PLAN-004 .*\(1\|participant:visit\)"),
    ("~ visit + (1|participant) + (1|batch)", "all", PlanError, "E-PLAN-004"),
    ("~ visit + (1|participant/biopsy)", "all", PlanError, "A row is one biopsy"),
    (WITHIN, "select", FormulaError, "One biopsy of each participant and visit is kept"),
    ("~ visit + (visit|participant)", "select", FormulaError, "as many effects as biopsies"),
    ("~ visit + (0 + age|participant)", "select", FormulaError, "needs the random term"),
    ("~ visit + (1|participant) + (0 + age|batch)", "select", FormulaError, "without an intercept"),
    ("~ visit + (1|batch)", "select", FormulaError, "needs the random term"),
]


@pytest.mark.parametrize(("formula", "replicates", "error", "message"), REFUSED)
def test_terms_that_no_biopsies_could_tell_are_refused(tmp_path, formula, replicates, error, message):
    study = replicated(tmp_path, columns=("batch",))
    with pytest.raises(error, match=message):
        pd_change(study, plan_of(study, formula, replicates=replicates))
    path = tmp_path / "p.yaml"
    path.write_text(f"formula: '{formula}'\nreplicates: {replicates}\n", encoding="utf-8")
    with pytest.raises(PlanError, match=message):
        Plan.read(path)


def test_terms_that_these_biopsies_do_not_tell_are_left_out_and_told(tmp_path):
    """One batch, and a lesion for every participant: the model without them is the same."""
    study = replicated(tmp_path, per_visit=1, columns=("batch",))
    one = study.biopsies.assign(run="R1", lesion=study.biopsies["participant_id"])
    study = dataclasses.replace(study, biopsies=one)
    formula = "~ visit + (1|participant) + (1|run) + (1|participant:lesion) + (1|participant:visit)"
    found = strict(pd_change(study, plan_of(study, formula)))
    expected = strict(pd_change(study, plan_of(study, "~ visit + (1|participant)", replicates="select")))
    np.testing.assert_array_equal(found["p"], expected["p"])
    for said in (
        "(1|participant:visit) is left out: no participant has several biopsies at a visit",
        "(1|run) is left out: all biopsies are in one group",
        "(1|participant:lesion) is left out: its groups are those of (1|participant)",
    ):
        assert found["note"].str.contains(said, regex=False).all()


def test_aliased_columns_are_named(tmp_path):
    study = replicated(tmp_path, per_visit=1, people=8)
    twin = study.biopsies.assign(on=(study.biopsies["visit"] == "On").astype(float))
    study = dataclasses.replace(study, biopsies=twin)
    lost = strict(pd_change(study, plan_of(study, "~ on + visit + (1|participant)", replicates="select")))
    assert (lost["status"] == "not_estimable").all()
    assert lost["estimate"].isna().all()
    assert lost["note"].str.contains("aliased with the terms before: visitOn").all()


def test_counts_of_all_biopsies_have_the_visit_as_second_term(tmp_path):
    rng = np.random.default_rng(9)
    study = replicated(tmp_path, features=1)
    ids = list(study.assays["ihc"].obs_names)
    cells = {b: [float(rng.poisson(5))] for b in ids}
    area = {b: [2.0] for b in ids}
    density = {b: [cells[b][0] / 2.0] for b in ids}
    study = study.with_assay(
        "ihc", assay(density, ["CD8_density"], kind="density", numerator=cells, denominator=area)
    )
    row = strict(pd_change(study, plan_of(study, WITHIN))).iloc[0]
    table = study.biopsies.loc[sorted(ids)]
    groups = {
        "participant": table["participant_id"].tolist(),
        "visit": [f"{p}:{v}" for p, v in zip(table["participant_id"], table["visit"], strict=True)],
    }
    X = np.column_stack([np.ones(len(table)), table["visit"] == "On"]).astype(float)
    counts = np.array([cells[b][0] for b in table.index])
    expected = fit_counts(counts, X, groups, offset=np.log(np.full(len(table), 2.0)), contrasts=[[0.0, 1.0]])
    assert row["model"] == "negative binomial mixed"
    assert row["estimate"] == pytest.approx(expected.estimate[0, 0] / np.log(2), rel=1e-6)
    assert row["p"] == pytest.approx(expected.p[0, 0], rel=1e-5)
    crossed = plan_of(study, WITHIN + " + (1|author)")
    study = dataclasses.replace(
        study, biopsies=study.biopsies.assign(author=[f"A{k % 4}" for k in range(len(study.biopsies))])
    )
    linear = strict(pd_change(study, crossed)).iloc[0]
    assert linear["model"] == "linear mixed"
    assert "the count model has no such terms or visits; this row is linear" in linear["note"]


@pytest.mark.data
def test_a_real_cohort_equals_lmer(tmp_path, shared_data, golden):
    """log2 CPM of eight markers, 80 biopsies: lme4 with a tight optimiser, both kinds of df."""
    folder = build_hgsoc_study(shared_data, tmp_path / "hgsoc")
    study = read_study(folder)
    counts = read_counts(folder / "counts.csv.gz", study=study, spec=study.spec.assays[0])
    x = np.asarray(counts.X)
    y = np.log2((x + 0.5) / (x.sum(axis=1, keepdims=True) + 1) * 1e6)
    lmer = pd.read_csv(golden / "replicates" / "hgsoc_lmer.csv")
    genes = list(dict.fromkeys(lmer["gene"]))
    places = [list(counts.var_names).index(g) for g in genes]
    markers = assay({b: list(row) for b, row in zip(counts.obs_names, y[:, places], strict=True)}, genes)
    study = study.with_assay("markers", markers)
    for ddf in ("kenward-roger", "satterthwaite"):
        plan = dataclasses.replace(Plan.read(folder / "plan.yaml", study), ddf=ddf, families={})
        found = strict(pd_change(study, plan)).set_index("feature")
        mine = lmer[(lmer["model"] == "visit_within") & (lmer["ddf"] == ddf)].set_index("gene")
        for gene, expected in mine.iterrows():
            row = found.loc[gene]
            assert row["n_biopsies"] == 80
            assert row["estimate"] == pytest.approx(expected["estimate"], rel=1e-5), gene
            assert row["se"] == pytest.approx(expected["se"], rel=1e-5), gene
            assert row["df"] == pytest.approx(expected["df"], rel=1e-4), gene
            assert row["p"] == pytest.approx(expected["p"], rel=1e-3), gene
            assert row["var_residual"] == pytest.approx(expected["residual"], rel=1e-5), gene


@pytest.mark.data
def test_genes_of_replicated_biopsies_are_not_moderated(tmp_path, shared_data):
    """The variance of their change holds that of the visits, which the prior knows nothing of."""
    folder = build_hgsoc_study(shared_data, tmp_path / "hgsoc")
    study = read_study(folder)
    study = study.with_assay(
        "rna", read_counts(folder / "counts.csv.gz", study=study, spec=study.spec.assays[0])
    )
    table = pd_change(study, Plan.read(folder / "plan.yaml", study)).table
    assert len(table) == 770
    assert (table.loc[table["status"].isin(["ok", "singular"]), "model"] == "linear mixed").all()
    assert table["status"].isin(["ok", "singular"]).mean() > 0.9
