"""What changed between two data cuts: every planted difference is found, with its reason."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.errors import InputError
from pdbiomarker.report import build, compare_cuts, cuts_section, render_html

PEOPLE = 8
FEATURES = ("IL6", "CXCL9", "IFNG")


def _value(participant: int, visit: int, feature: int) -> float:
    return round(10 * (1 + 0.3 * participant) * (1.0, 2.0 + 0.1 * participant)[visit] * (1 + feature), 3)


def _study(folder: Path, *, people: int = PEOPLE, name: str = "CUT-1", cutoff: str = "2025-06-30") -> Path:
    folder.mkdir()
    (folder / "study.yaml").write_text(
        f"id: {name}\ndata_cutoff: {cutoff}\nvisits: {{screening: [-28, -1], C2D1: {{day: 29, window: 7}}}}\n"
        "adequacy: {viable_tumor_cells: 100}\nassays: {serum: {kind: intensity, file: serum.csv}}\n"
    )
    (folder / "plan.yaml").write_text("families: {primary: [serum:CXCL9], panel: [serum]}\n")
    ids = [f"P{p + 1:02d}" for p in range(people)]
    rows = [f"{i},{10 * (p % 2 + 1)}" for p, i in enumerate(ids)]
    (folder / "participants.csv").write_text("\n".join(["participant_id,dose_mg", *rows, ""]))
    rows = [
        f"{i},{i}-{v},{visit},{day},200"
        for i in ids
        for v, (visit, day) in enumerate((("screening", -7), ("C2D1", 29)))
    ]
    head = "participant_id,biopsy_id,visit,study_day,viable_tumor_cells"
    (folder / "biopsies.csv").write_text("\n".join([head, *rows, ""]))
    heads = [f"{i}-{v}" for i in ids for v in (0, 1)]
    rows = [
        ",".join([name_, *(str(_value(p, v, f)) for p in range(people) for v in (0, 1))])
        for f, name_ in enumerate(FEATURES)
    ]
    (folder / "serum.csv").write_text("\n".join([",".join(["feature", *heads]), *rows, ""]))
    return folder


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Results of two cuts: two more participants, one biopsy now inadequate, one value corrected."""
    root = tmp_path_factory.mktemp("cuts")
    _study(root / "old")
    new = _study(root / "new", people=PEOPLE + 2, cutoff="2025-09-30")
    _edit(new / "biopsies.csv", "P03,P03-1,C2D1,29,200", "P03,P03-1,C2D1,29,40")
    _edit(
        new / "serum.csv",
        f"{_value(4, 0, 1)},{_value(4, 1, 1)},",
        f"{_value(4, 0, 1)},{_value(4, 1, 1) * 4},",
    )
    for name in ("old", "new"):
        pb.run_study(root / name, root / f"{name}-out", progress=False, workers=1)
    return root / "old-out", root / "new-out"


def test_every_difference_is_found_and_nothing_else(cuts: tuple[Path, Path]) -> None:
    found = pb.diff_results(*cuts)
    items = found.items[found.items["kind"] != "file"]
    said = set(zip(items["kind"], items["item"], items["what"], items["column"], strict=True))
    assert said == {
        *(("participant", f"P{p}", "added", "") for p in ("09", "10")),
        *(("biopsy", f"P{p}-{v}", "added", "") for p in ("09", "10") for v in (0, 1)),
        ("biopsy", "P03-1", "changed", "viable_tumor_cells"),
        ("value", "P05-1", "changed", "serum:CXCL9"),
    }
    files = found.items.loc[found.items["kind"] == "file", "item"]
    assert set(files) == {"study.yaml", "participants.csv", "biopsies.csv", "serum.csv"}
    strict = found.pairs[found.pairs["set"] == "strict"]
    what = {
        w: set(zip(rows["participant_id"], rows["feature"], strict=True))
        for w, rows in strict.groupby("what")
    }
    assert what == {
        "gained": {(p, f) for p in ("P09", "P10") for f in FEATURES},
        "lost": {("P03", f) for f in FEATURES},
        "moved": {("P05", "CXCL9")},
    }


def test_reasons_name_what_changed(cuts: tuple[Path, Path]) -> None:
    found = pb.diff_results(*cuts)
    rows = found.pairs[(found.pairs["set"] == "strict") & (found.pairs["feature"] == "CXCL9")]
    why = dict(zip(rows["participant_id"], rows["why"], strict=True))
    assert "viable_tumor_cells 40" in why["P03"]
    assert "viable_tumor_cells: 200 to 40" in why["P03"]
    assert "biopsy P09-0 added" in why["P09"]
    # The reason of a corrected value is that value, and of no other feature of the participant.
    was, now = _value(4, 1, 1), _value(4, 1, 1) * 4
    assert why["P05"] == f"value of biopsy P05-1 corrected (serum:CXCL9: {was!r} to {now!r})".replace(
        ".0 ", " "
    )
    strict = found.results[found.results["set"] == "strict"].set_index("feature")
    row = strict.loc["CXCL9"]
    assert (row["n_pairs_before"], row["n_pairs_after"]) == (8, 9)
    assert "gained: P09, P10" in row["why"]
    assert "lost: P03" in row["why"]
    assert "moved: P05" in row["why"]
    old, new = (pb.read_result(c).table.set_index(["set", "feature"]) for c in cuts)
    expected = (new.at[("strict", "CXCL9"), "estimate"] - old.at[("strict", "CXCL9"), "estimate"]) / old.at[
        ("strict", "CXCL9"), "se"
    ]
    assert row["moved_se"] == pytest.approx(expected, rel=1e-12)
    assert abs(expected) > 0.25


def test_sets_within_the_strict_set_have_its_reasons(cuts: tuple[Path, Path]) -> None:
    rows = pb.diff_results(*cuts).results.set_index(["set", "feature"])
    assert (
        rows.loc[("strict_pairs", "CXCL9"), "why"]
        == rows.loc[("strict", "CXCL9"), "why"]
        != "the plan changed"
    )


def test_one_partial_date_changes_one_biopsy(tmp_path: Path) -> None:
    """The days that a partial date allows are columns of every row, where there is one."""
    outs = []
    for name, date in (("old", "2025-01"), ("new", "2025-01-25")):
        folder = _study(tmp_path / name)
        people, biopsies = folder / "participants.csv", folder / "biopsies.csv"
        rows = people.read_text().splitlines()
        rows = [rows[0] + ",first_dose_datetime", *(row + ",2025-02-01" for row in rows[1:])]
        people.write_text("\n".join([*rows, ""]))
        rows = biopsies.read_text().splitlines()
        rows = [rows[0] + ",collection_date", *(row + "," for row in rows[1:])]
        rows[1] = f"P01,P01-0,screening,,200,{date}"
        biopsies.write_text("\n".join([*rows, ""]))
        outs.append(pb.change_study(folder, tmp_path / f"{name}-out", progress=False).out)
    items = pb.diff_results(*outs).items
    assert set(items.loc[items["kind"] == "biopsy", "item"]) == {"P01-0"}


def test_a_cut_against_itself_has_no_difference(cuts: tuple[Path, Path]) -> None:
    same = pb.diff_results(cuts[0], cuts[0])
    assert same.empty
    assert "Nothing changed" in str(cuts_section(same).blocks)


def test_the_two_ways_round_mirror_each_other(cuts: tuple[Path, Path]) -> None:
    forward, back = pb.diff_results(*cuts), pb.diff_results(*reversed(cuts))
    turned = {"gained": "lost", "lost": "gained", "moved": "moved"}

    def keys(frame: pd.DataFrame, words: dict[str, str]) -> set[tuple[str, ...]]:
        keep = frame[["assay", "feature", "contrast", "set", "participant_id"]].itertuples(index=False)
        return {(*map(str, k), words[w]) for k, w in zip(keep, frame["what"], strict=True)}

    assert keys(forward.pairs, turned) == keys(back.pairs, {w: w for w in turned})


def test_a_changed_plan_is_the_reason_where_nothing_else_is(cuts: tuple[Path, Path], tmp_path: Path) -> None:
    again = _study(tmp_path / "again")
    _edit(again / "plan.yaml", "families:", "ddf: residual\nfamilies:")
    outcome = pb.change_study(again, tmp_path / "out", progress=False)
    found = pb.diff_results(cuts[0], outcome.out)
    assert found.pairs.empty
    assert dict(zip(found.facts["fact"], found.facts["before"] != found.facts["after"], strict=True))["plan"]


def test_two_studies_are_refused(cuts: tuple[Path, Path], tmp_path: Path) -> None:
    outcome = pb.change_study(_study(tmp_path / "s", name="OTHER"), tmp_path / "out", progress=False)
    with pytest.raises(InputError, match="E-RUN-009"):
        pb.diff_results(cuts[0], outcome.out)


def test_command_and_report_show_it(cuts: tuple[Path, Path], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["diff", str(cuts[0]), str(cuts[1]), "-o", str(tmp_path / "d")])
    assert done.exit_code == 0, done.output
    assert "Pairs lost in panels: 1 participant (P03)." in done.output
    facts = pb.diff_results(*cuts).facts.set_index("fact").loc["data cut-off"]
    assert facts["before"] != facts["after"]
    assert f"Data cut-off: {facts['before']} before, {facts['after']} now." in done.output
    written = pd.read_csv(tmp_path / "d" / "results.csv")
    assert len(written) == len(pb.diff_results(*cuts).results)
    flags = ["report", str(cuts[1]), "-o", str(tmp_path), "--format", "html,xlsx", "--against", str(cuts[0])]
    done = CliRunner().invoke(app, flags)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "review.html").read_text(encoding="utf-8")
    assert "What changed since the last cut" in page
    row = pb.diff_results(*cuts).results.set_index(["feature", "set"]).loc[("CXCL9", "strict")]
    before, now = (f"{float(row[f'effect_{when}']):#.3g}" for when in ("before", "after"))
    assert before != now
    assert f"effect {before} before, {now} now; pairs 8 before, 9 now; adjusted p" in page
    assert (tmp_path / "review.xlsx").stat().st_size > 5_000
    old = pb.read_result(cuts[0])
    assert "What changed" not in render_html(build(old.study, old))
    assert not compare_cuts(old, pb.read_result(cuts[1])).empty
