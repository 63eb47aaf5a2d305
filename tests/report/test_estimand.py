"""The section on question, plan and pairs, from a result of pd_change."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from builders import assay, study_folder

from pdbiomarker.change import pd_change
from pdbiomarker.plan import Plan
from pdbiomarker.report import build, render_html
from pdbiomarker.report.content import Table, Text
from pdbiomarker.report.estimand import estimand_section
from pdbiomarker.run.lock import lock_plan
from pdbiomarker.study import read_study

STUDY = """
id: T-1
data_cutoff: 2025-06-30
visits: {screening: [-28, -1], C2D1: {day: 29, window: 7}}
assays: {ihc: {kind: score, file: scores.csv}}
declared: {blinded_reading: true, lots_bridged: no, assay_cv_pct: {ihc: 12}}
"""
PLAN = """
formula: "~ visit + (1|participant)"
contrasts: {on_treatment: C2D1 - screening}
families: {primary: [ihc:TIL]}
intercurrent: {steroids: {column: steroids_day, strategy: treatment_policy}}
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    rng = np.random.default_rng(2)
    rows, values = ["participant_id,biopsy_id,visit,study_day,site,lesion_id"], {}
    people = ["participant_id,tumor_type,dose_mg,steroids_day,first_dose_datetime"]
    for i in range(10):
        start = rng.normal(20, 4)
        people.append(
            f"P{i},{'melanoma' if i % 2 else 'NSCLC'},10,{'2025-01-12' if i == 3 else ''},2025-01-01"
        )
        rows.append(f"P{i},P{i}a,screening,-7,liver,L1")
        values[f"P{i}a"] = [start]
        if i < 8:
            rows.append(f"P{i},P{i}b,C2D1,29,{'liver' if i else 'skin'},{'L1' if i else 'L2'}")
            values[f"P{i}b"] = [start + rng.normal(6, 3)]
    table = "feature," + ",".join(values) + "\nTIL," + ",".join(str(v[0]) for v in values.values()) + "\n"
    folder = study_folder(
        tmp_path_factory.mktemp("s"),
        biopsies="\n".join(rows) + "\n",
        participants="\n".join(people) + "\n",
        study=STUDY,
        plan=PLAN,
        files={"scores.csv": table},
    )
    lock_plan(folder, by="A. Stat", date="2024-12-01", unblinded="2025-05-01")
    path = folder / "plan.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "ddf: satterthwaite\n", encoding="utf-8")
    study = read_study(folder).with_assay("ihc", assay(values, ["TIL"]))
    return pd_change(study, Plan.read(path, study))


def tables(result):
    section = estimand_section(result)
    return {block.key: block for block in section.blocks if isinstance(block, Table)}


def test_the_section_says_what_was_asked_and_fixed(result):
    found = tables(result)
    assert list(found) == [
        "estimand", "intercurrent-events", "strategies", "declared", "plan-deviations", "looks", "pair-mix-1",
    ]  # fmt: skip
    assert [row[0] for row in found["estimand"].rows] == [
        "Population", "Treatment condition", "Variable", "Intercurrent events", "Population-level summary",
    ]  # fmt: skip
    (affected,) = found["intercurrent-events"].rows
    assert affected[:6] == ("steroids", "P3", "P3b", "C2D1", 29, 12)
    (deviation,) = found["plan-deviations"].rows
    assert deviation[:5] == ("deviation", "ddf", "kenward-roger", "satterthwaite", True)
    facts = {row[0]: row[1:] for row in found["declared"].rows}
    assert facts["plan locked before unblinding"] == ("no", "at most consider")
    assert facts["readers did not know participant, visit and dose"] == ("yes", "")
    assert facts["precision of the assay (coefficient of variation)"][0] == "ihc 12 %"
    assert facts["data unblinded on"][0] == "2025-05-01"
    assert facts["antigens that the drug itself binds"] == ("not declared", "not known")


def test_numbers_of_the_strategies_are_those_of_the_listing(result):
    rows = result.listings["estimands"]
    shown = tables(result)["strategies"].rows
    strategies = ["treatment policy (declared)", "hypothetical", "exclude"]
    assert [row[1] for row in shown] == [f"steroids: {name}" for name in strategies]
    assert [row[3] for row in shown] == [8, 7, 7]
    assert [row[4] for row in shown] == rows["effect"].tolist()
    assert [row[8] for row in shown] == rows["p"].tolist()


def test_the_mix_names_what_was_not_recorded_and_counts_the_others(result):
    mix = tables(result)["pair-mix-1"]
    assert "n = 8 participants with a pair, 2 without" in mix.caption
    rows = {(row[0], row[1]): row[2:] for row in mix.rows}
    assert rows["tumour type", "NSCLC"] == (4, 50.0, 1, 50.0)
    assert rows["same lesion", "no"] == (1, 12.5, None, None)


def test_trap_33_a_date_in_a_column_of_the_site_stays_out_of_the_page(result):
    page = render_html(build(result.study, result))
    assert "2025-01-12" not in page
    assert "2025-01-01" not in page
    # Days of the study, not of a participant, are told.
    assert "2024-12-01" in re.sub(r"<[^>]+>", "", page)


def test_without_a_lock_and_events_the_section_says_so(result):
    study = dataclasses.replace(result.study, lock=None)
    again = pd_change(study, dataclasses.replace(result.plan, intercurrent={}))
    section = estimand_section(again)
    said = " ".join(p for block in section.blocks if isinstance(block, Text) for p in block.paragraphs)
    assert "The plan was never locked." in said
    assert not {"looks", "plan-deviations", "strategies"} & {
        b.key for b in section.blocks if isinstance(b, Table)
    }
