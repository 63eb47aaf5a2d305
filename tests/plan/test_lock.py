"""The lock of a plan: sealed, compared key by key, and its looks."""

from __future__ import annotations

import dataclasses

import pytest
from builders import study_folder, text

from pdbiomarker.errors import InputError, StudyError
from pdbiomarker.plan import Plan, declared_of, lock_status, locked_content
from pdbiomarker.run.lock import lock_plan, show_plan
from pdbiomarker.study import LOCK_FILE, Declared, PlanLock, read_study, write_lock

BIOPSIES = "participant_id,biopsy_id,visit,viable_tumor_cells\nP1,B1,screening,150\nP1,B2,C2D1,90\n"
STUDY = """
id: T
data_cutoff: 2025-06-30
visits: {screening: [-28, -1], C2D1: {day: 29, window: 7}}
adequacy: {viable_tumor_cells: 100}
assays: {serum: {kind: score, file: serum.csv}}
"""
PLAN = """
formula: "~ visit + (1|participant)"
contrasts: {on_treatment: C2D1 - screening}
families: {primary: [serum:IL6], rest: [serum:IL8]}
looks: {look: 1, of: 2, boundary: pocock}
"""
SERUM = "feature,B1,B2\nIL6,1,2\nIL8,2,3\n"


def folder_of(path, *, study=STUDY, plan=PLAN):
    return study_folder(path, biopsies=BIOPSIES, study=study, plan=plan, files={"serum.csv": SERUM})


def read(folder):
    study = read_study(folder)
    return study, Plan.read(folder / "plan.yaml", study)


def status_of(folder):
    return lock_status(*read(folder))


def change(path, old, new):
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new), encoding="utf-8", newline="\n")


@pytest.fixture
def locked(tmp_path):
    folder = folder_of(tmp_path / "s")
    lock_plan(folder, by="A. Stat", date="2025-01-10", unblinded="2025-03-01", rules=["gmr_margin"])
    return folder


def test_a_lock_reads_back_and_holds_what_it_should(locked):
    study, plan = read(locked)
    (entry,) = study.lock.entries
    assert (entry.by, entry.date, entry.unblinded) == ("A. Stat", "2025-01-10", "2025-03-01")
    assert (entry.data_cutoff, entry.look, entry.of) == ("2025-06-30", 1, 2)
    assert entry.plan == plan.content
    assert entry.study == locked_content(study.spec)
    assert entry.study["adequacy"] == {"viable_tumor_cells": 100.0}
    assert list(entry.rules) == ["gmr_margin"]
    status = status_of(locked)
    assert status.before_unblinding is True
    assert status.deviations.empty
    assert status.problems() == []
    assert PlanLock.of(study.lock.facts()) == study.lock
    content = (locked / LOCK_FILE).read_bytes()
    write_lock(locked, study.lock)
    assert (locked / LOCK_FILE).read_bytes() == content


def test_a_plan_that_was_never_locked_says_so(tmp_path):
    status = status_of(folder_of(tmp_path / "s"))
    assert status.before_unblinding is None
    assert status.said == "The plan was never locked."
    assert [p.code for p in status.problems()] == ["E-LOCK-006"]


EDITS = [
    ('date: "2025-01-10"', 'date: "2025-01-09"'),
    ('by: "A. Stat"', 'by: "B. Stat"'),
    ('C2D1 - screening"', 'screening - C2D1"'),
    ("viable_tumor_cells: 100.0", "viable_tumor_cells: 50.0"),
    ("look: 1\n    of: 2", "look: 1\n    of: 3"),
    ('unblinded: "2025-03-01"', "unblinded: null"),
    ('data_cutoff: "2025-06-30"', 'data_cutoff: "2025-07-31"'),
]


@pytest.mark.parametrize(("old", "new"), EDITS)
def test_an_edited_lock_is_refused(locked, old, new):
    change(locked / LOCK_FILE, old, new)
    with pytest.raises(StudyError) as caught:
        read_study(locked)
    (problem,) = caught.value.problems
    assert (problem.code, problem.file) == ("E-LOCK-002", LOCK_FILE)


def test_a_removed_entry_breaks_the_chain(locked):
    change(locked / "plan.yaml", "look: 1", "look: 2")
    lock_plan(locked, date="2025-04-01")
    study = read_study(locked)
    write_lock(locked, PlanLock(study.lock.entries))  # as it was: fits
    lines = (locked / LOCK_FILE).read_text(encoding="utf-8")
    first, second = lines.index('  "1":'), lines.index('  "2":')
    text(locked / LOCK_FILE, lines[:first] + lines[second:].replace('"2":', '"1":'))
    with pytest.raises(StudyError, match="E-LOCK-002"):
        read_study(locked)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("locks: {}\n", "E-LOCK-001"),
        ("format: other\nlocks: {}\n", "E-LOCK-001"),
        ("- a\n", "E-STUDY-002"),
    ],
)
def test_what_is_no_lock_is_refused(tmp_path, content, code):
    folder = folder_of(tmp_path / "s")
    text(folder / LOCK_FILE, content)
    with pytest.raises(StudyError) as caught:
        read_study(folder)
    assert code in {p.code for p in caught.value.problems}


def test_the_lock_of_another_study_is_refused(locked):
    change(locked / "study.yaml", "id: T", "id: U")
    with pytest.raises(StudyError, match=r"E-LOCK-003.*'T'.*'U'"):
        read_study(locked)


DEVIATIONS = [
    ("plan.yaml", "C2D1 - screening", "screening - C2D1", "contrasts.on_treatment", True),
    ("plan.yaml", "primary: [serum:IL6]", "primary: [serum]", "families.primary", True),
    ("plan.yaml", "rest: [serum:IL8]", "other: [serum:IL8]", "families.rest", False),
    ("plan.yaml", "looks:", "ddf: satterthwaite\nlooks:", "ddf", True),
    ("plan.yaml", "looks:", "seed: 8\nlooks:", "seed", False),
    ("plan.yaml", "looks:", "normalization: rle\nlooks:", "normalization", True),
    ("study.yaml", "viable_tumor_cells: 100", "viable_tumor_cells: 80", "adequacy.viable_tumor_cells", True),
    ("study.yaml", "window: 7", "window: 10", "visits.C2D1.window", True),
]


@pytest.mark.parametrize(("file", "old", "new", "key", "caps"), DEVIATIONS)
def test_deviations_are_told_key_by_key(locked, file, old, new, key, caps):
    change(locked / file, old, new)
    status = status_of(locked)
    rows = status.deviations.set_index("key")
    assert key in rows.index
    assert rows.loc[key, "kind"] == "deviation"
    assert rows.loc[key, "locked"] != rows.loc[key, "now"]
    assert bool(rows.loc[key, "caps_verdict"]) is caps
    assert status.before_unblinding is not caps
    assert (key in status.said) is caps
    assert {p.code for p in status.problems()} == {"E-LOCK-006"}


def test_old_and_new_values_stand_side_by_side(locked):
    change(locked / "plan.yaml", "looks:", "ddf: residual\nlooks:")
    (row,) = status_of(locked).deviations.to_dict("records")
    assert (row["locked"], row["now"]) == ("kenward-roger", "residual")


def test_the_order_of_the_visits_is_locked(locked):
    """The first visit is the reference level: the same visits in another order are another plan."""
    one, other = "screening: [-28, -1]", "C2D1: {day: 29, window: 7}"
    change(locked / "study.yaml", f"{one}, {other}", f"{other}, {one}")
    status = status_of(locked)
    (row,) = status.deviations[status.deviations["key"] == "visits"].to_dict("records")
    assert (row["kind"], row["locked"], row["now"]) == ("deviation", "screening, C2D1", "C2D1, screening")
    assert row["caps_verdict"]
    assert status.before_unblinding is False


def test_locking_again_needs_a_change_and_a_change_needs_a_reason(locked):
    with pytest.raises(InputError, match=r"E-LOCK-004.*as they were locked last"):
        lock_plan(locked, date="2025-02-01")
    change(locked / "plan.yaml", "looks:", "ddf: satterthwaite\nlooks:")
    with pytest.raises(InputError, match=r"E-LOCK-004.*--reason"):
        lock_plan(locked, date="2025-02-01")
    lock_plan(locked, date="2025-02-01", reason="amendment 1")
    # Locked in time: the amendment is the plan, and nothing deviates.
    status = status_of(locked)
    assert status.before_unblinding is True
    assert status.deviations.empty
    assert "2025-02-01" in status.said
    assert "reason: amendment 1" in show_plan(locked)


def test_an_amendment_after_unblinding_stays_a_deviation(locked):
    change(locked / "plan.yaml", "looks:", "ddf: satterthwaite\nlooks:")
    lock_plan(locked, date="2025-03-01", reason="late")  # the very day is not before
    status = status_of(locked)
    assert status.before_unblinding is False
    assert status.deviations["key"].tolist() == ["ddf"]


@pytest.mark.parametrize(
    ("date", "unblinded", "before", "said"),
    [
        ("2025-01-10", None, None, "the day of unblinding is not recorded"),
        ("2025-03-01", "2025-03-01", False, "not before unblinding"),
        ("2025-02-28", "2025-03-01", True, "before unblinding on 2025-03-01"),
    ],
)
def test_the_order_of_lock_and_unblinding(tmp_path, date, unblinded, before, said):
    folder = folder_of(tmp_path / "s")
    lock_plan(folder, date=date, unblinded=unblinded)
    status = status_of(folder)
    assert status.before_unblinding is before
    assert said in status.said
    assert status.table.iloc[0][["locked", "now"]].tolist() == [date, unblinded or ""]


def test_the_earliest_day_of_unblinding_counts(tmp_path):
    folder = folder_of(tmp_path / "s", study=STUDY + "declared: {unblinded: 2025-01-05}\n")
    lock_plan(folder, date="2025-01-10", unblinded="2025-03-01")
    assert status_of(folder).before_unblinding is False


@pytest.mark.parametrize(
    ("date", "unblinded"), [("10.01.2025", None), ("2025-01-10", "March"), ("2024-12-31", None)]
)
def test_dates_that_cannot_be_are_refused(locked, date, unblinded):
    change(locked / "plan.yaml", "look: 1", "look: 2")
    with pytest.raises(InputError, match="E-LOCK-005"):
        lock_plan(locked, date=date, unblinded=unblinded)


# --- looks ---------------------------------------------------------------------------------------------


def looks_of(status):
    return status.table[status.table["kind"] == "look"].set_index("key")


def test_declared_looks_have_their_level_and_use(locked):
    rows = looks_of(status_of(locked))
    assert rows.index.tolist() == ["look 1 of 2", "look 2 of 2"]
    # Pocock, two looks, two-sided .05: nominal .0294 (Pocock 1977, table 1).
    assert rows["told"].tolist() == ["pocock, two-sided level 0.02939"] * 2
    assert rows["now"].tolist() == ["this look, cut-off 2025-06-30", "not yet"]


def second_look(folder, *, lock=True, cutoff="2025-12-31"):
    change(folder / "plan.yaml", "look: 1", "look: 2")
    change(folder / "study.yaml", "2025-06-30", cutoff)
    if lock:
        lock_plan(folder, date="2025-12-01")


def test_a_declared_second_look_deviates_from_nothing(locked):
    second_look(locked)
    status = status_of(locked)
    assert status.before_unblinding is True
    assert status.deviations.empty
    rows = looks_of(status)
    assert rows["now"].tolist() == ["used", "this look, cut-off 2025-12-31"]
    assert rows["locked"].tolist() == ["2025-01-10, cut-off 2025-06-30", "2025-12-01, cut-off 2025-12-31"]


def undeclared(folder):
    status = status_of(folder)
    assert status.before_unblinding is False
    rows = status.deviations
    return rows[rows["kind"] == "undeclared look"]["told"].tolist()


def test_looks_that_nobody_declared_are_named(locked):
    # A look that no lock holds.
    second_look(locked, lock=False)
    assert undeclared(locked) == ["look 2 is in no lock"]
    lock_plan(locked, date="2025-12-01")
    # The data moved on without a lock.
    change(locked / "study.yaml", "2025-12-31", "2026-02-28")
    assert undeclared(locked) == [
        "look 2 was locked for another data cut-off: this is a look that no lock declares"
    ]
    # One look locked at two cut-offs.
    lock_plan(locked, date="2026-02-01")
    assert undeclared(locked) == ["look 2 was locked at 2 data cut-offs: all but one are looks of their own"]


def test_a_third_look_of_two_is_an_extra_one(locked):
    second_look(locked)
    change(locked / "plan.yaml", "look: 2, of: 2", "look: 3, of: 3")
    lock_plan(locked, date="2026-02-01", reason="one more")
    told = undeclared(locked)
    assert any("2 looks were locked, and this is number 3" in t for t in told)
    rows = status_of(locked).deviations
    (extra,) = rows[rows["told"].str.startswith("2 looks were locked")].to_dict("records")
    assert (extra["locked"], extra["now"]) == ("2", "3")
    assert any(t.startswith("the looks of plan.yaml deviate") for t in told)


# --- declared facts ------------------------------------------------------------------------------------


def test_the_lock_decides_whether_the_plan_was_locked(locked, tmp_path):
    study, plan = read(locked)
    assert declared_of(study, plan).plan_locked is True
    other = dataclasses.replace(plan, ddf="residual")
    facts = declared_of(study, other, Declared(plan_locked=True, pairs_share_run=True))
    assert facts.plan_locked is False  # whatever anybody says beside it
    assert facts.pairs_share_run is True
    assert "ddf" in facts.lock_said
    bare = dataclasses.replace(study, lock=None)
    assert declared_of(bare, plan).plan_locked is None
    assert declared_of(bare, plan, Declared(plan_locked=True)).plan_locked is True


def test_facts_of_study_yaml(tmp_path):
    declared = (
        "declared: {blinded_reading: yes, visit_randomised: false, lots_bridged: no, "
        "assay_cv_pct: {serum: 12, 'serum:IL6': 8.5}, drug_binds: [PD-L1]}\n"
    )
    folder = folder_of(tmp_path / "s", study=STUDY + declared)
    study = read_study(folder)
    facts = study.spec.declared
    assert (facts.blinded_reading, facts.visit_randomised, facts.lots_bridged) == (True, False, False)
    assert facts.assay_cv_pct == {"serum": 12.0, "serum:IL6": 8.5}
    assert facts.drug_binds == ("PD-L1",)
    assert (facts.plan_locked, facts.pairs_share_run) == (None, None)
    assert read_study(study.write(tmp_path / "again")).spec.declared == facts


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ("{blinded: true}", "blinded"),
        ("{blinded_reading: maybe}", "declared.blinded_reading"),
        ("{assay_cv_pct: {ihc: 10}}", "declared.assay_cv_pct.ihc"),
        ("{assay_cv_pct: {serum: 0}}", "declared.assay_cv_pct.serum"),
        ("{unblinded: 2025-13-01}", "declared.unblinded"),
    ],
)
def test_faulty_facts_are_refused(tmp_path, keys, place):
    with pytest.raises(StudyError) as caught:
        read_study(folder_of(tmp_path / "s", study=STUDY + f"declared: {keys}\n"))
    (problem,) = caught.value.problems
    assert problem.code == "E-STUDY-001"
    assert place in str(problem.column)


def test_precision_in_words():
    """sigma of a log-normal with CV 25 %: sqrt(ln(1 + .25^2)) / ln 2 = .3552 on log2."""
    facts = Declared(assay_cv_pct={"ihc": 25.0}, visit_randomised=False)
    told = facts.cautions("ihc:CD8", scale="log2", sigma=0.3)
    assert told[0].startswith("visits were not read in random order")
    assert told[1] == "the noise used (0.30 on log2) is below the declared assay precision (0.36, CV 25 %)"
    assert facts.cautions("ihc:CD8", scale="log2", sigma=0.5) == told[:1]
    assert facts.cautions("rna:CD8", scale="log2", sigma=0.1) == told[:1]
    assert facts.cautions("ihc:CD8", scale="logit", sigma=0.1) == told[:1]
    # 2^(1.96 sqrt 2 x .3552) = 1.98
    assert "beyond 1.98-fold" in facts.cautions("ihc:CD8", scale="log2", sigma=float("nan"))[1]
