"""What the report says of contrasts that are no change between two visits, of robustness, and of limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import assay, study_folder

from pdbiomarker.change import PDResult, pd_change
from pdbiomarker.plan import Plan
from pdbiomarker.plot.select import CENSORED, contrast_visits, not_evaluable, select
from pdbiomarker.report.build import build
from pdbiomarker.report.content import Document, Figure, Table
from pdbiomarker.report.findings import find_doubts, key_findings
from pdbiomarker.report.methods import methods_text
from pdbiomarker.study import read_study

PLAN = """\
formula: "~ visit + dose_mg + (1|participant)"
contrasts:
  on_treatment: On - Pre
  dose: "dose_mg: 10 - 3 at On"
  mean: (Mid + On)/2 - Pre
  twice: 2 * (On - Pre)
families: {primary: [lab:a, lab:il6]}
looks: {look: 1, of: 2}
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> PDResult:
    """Ten participants, three visits, two features, of which one has a ULOQ of 16."""
    rng = np.random.default_rng(2)
    rows, people, values = ["participant_id,biopsy_id,visit"], ["participant_id,dose_mg"], {}
    for i in range(10):
        people.append(f"P{i},{(3, 10)[i % 2]}")
        level = rng.normal(size=2)
        for k, visit in enumerate(("Pre", "Mid", "On")):
            rows.append(f"P{i},P{i}{visit},{visit}")
            values[f"P{i}{visit}"] = list(2 ** (2.5 + level + 0.4 * rng.normal(size=2) + 0.9 * k))
    folder = study_folder(
        tmp_path_factory.mktemp("report"),
        biopsies="\n".join(rows) + "\n",
        participants="\n".join(people) + "\n",
        study="id: T\nvisits: {Pre: {}, Mid: {}, On: {}}\n",
        plan="seed: 1\n",
    )
    adata = assay(values, ["a", "il6"], kind="intensity")
    adata.var["uloq"] = [np.nan, 16.0]
    study = read_study(folder).with_assay("lab", adata)
    Path(folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
    return pd_change(study, Plan.read(folder / "plan.yaml", study))


@pytest.fixture(scope="module")
def document(result: PDResult) -> Document:
    return build(result.study, result)


def test_every_finding_says_what_it_compares_and_what_it_counts(result: PDResult) -> None:
    found = {(f.label, f.comparison): f for f in key_findings(result)}
    assert len(found) == 8
    dose = found["a", "dose_mg: 10 - 3 at On"]
    assert (dose.counted, dose.n_pairs) == ("participants", "10")
    assert "the contrast dose_mg: 10 - 3 at On of a is estimated at a ratio of" in dose.sentence
    assert "10 participants" in dose.sentence
    plain = found["a", "On against Pre"]
    assert plain.counted == "evaluable pairs"
    assert "from Pre to On" in plain.sentence
    lost = found["il6", "(Mid + On)/2 - Pre"]
    assert lost.verdict == "Not evaluable"
    assert "values beyond a limit" in lost.sentence


def test_what_a_row_rests_on_is_no_doubt(result: PDResult) -> None:
    for contrast in ("dose", "mean", "twice"):
        assert not any("fitted on" in doubt for doubt in find_doubts(result, select(result, "a", contrast)))


def test_a_pair_with_a_censored_value_is_not_counted_as_lost(result: PDResult) -> None:
    chosen = select(result, "il6", "on_treatment")
    words = {word for _, word, _ in not_evaluable(result, chosen)}
    assert words == {CENSORED}
    assert not any("no evaluable pair" in doubt for doubt in find_doubts(result, chosen))


def test_robustness_stands_beside_primary_features(document: Document, result: PDResult) -> None:
    (table,) = (
        b for s in document.sections for b in s.blocks if isinstance(b, Table) and b.key == "robustness"
    )
    labels = [column.label for column in table.columns]
    assert labels == [
        *("feature", "contrast", "changes", "sign-flip p", "rank p", "least p", "bootstrap"),
        *("without one", "largest p"),
    ]
    robust = result.robustness.set_index(["feature", "contrast"])
    first = dict(zip(labels, table.rows[0], strict=True))
    row = robust.loc[("a", "on_treatment")]
    assert first["sign-flip p"] == row["sign_flip_p"]
    assert str(first["without one"]).endswith(f"({row['moves_most']})")
    assert {r[1] for r in table.rows} == {"on_treatment", "mean", "twice"}
    assert "a secondary figure" in table.caption


def test_visits_that_have_no_one_value_are_not_drawn_as_lines(document: Document) -> None:
    keys = [b.key for s in document.sections for b in s.blocks if isinstance(b, Figure)]
    drawn = [key for key in keys if key.startswith(("paired", "waterfall"))]
    assert any("on-treatment" in key or "on_treatment" in key for key in drawn)
    assert not any(key.startswith("paired") and "mean" in key for key in drawn)
    assert any(key.startswith("waterfall") and "mean" in key for key in drawn)
    assert not any("dose" in key for key in drawn)


def test_visits_of_a_contrast(result: PDResult) -> None:
    assert contrast_visits(result, "on_treatment") == contrast_visits(result, "twice") == ("Pre", "On")
    assert contrast_visits(result, "mean") == ("baseline", "on treatment")


def test_methods_name_every_model_and_look(result: PDResult) -> None:
    text = " ".join(methods_text(result))
    for said in (
        "Contrasts at one visit were fitted by least squares on the biopsies of that visit.",
        "Contrasts over three visits or more rest on one number of each participant",
        "a Tobit mixed model",
        "look 1 of 2, bonferroni, alpha 0.025",
        "percentile bootstrap over participants",
        "Each contrast is fitted on its own visits.",
    ):
        assert said in text
