"""Sections on the trial around the biopsies: their numbers, what they leave out, and privacy."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pdbiomarker as pb
from pdbiomarker.plot.style import render_png
from pdbiomarker.report import build, render_html
from pdbiomarker.report.clinic import clinical_sections
from pdbiomarker.report.content import Figure, Section, Table

KEYS = ["efficacy", "exposure", "change-exposure", "safety"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> pb.PDResult:
    """The cytolytic score of a simulated trial, with its clinical tables."""
    folder = tmp_path_factory.mktemp("report") / "study"
    pb.simulate_study(folder, seed=5, n_participants=12, slides=False, genes=150)
    study = pb.read_study(folder)
    counts = pb.expression.read_counts(folder / "counts.csv.gz", study=study)
    measured = study.with_assay("scores", pb.expression.signature_scores(counts))
    plan = pb.Plan(
        formula="~ visit + (1|participant)",
        contrasts={"on_treatment": "C2D1 - screening"},
        families={"primary": ("scores:CYT",)},
        baseline="screening",
    )
    return pb.with_clinical(pb.pd_change(measured, plan), pb.clinical_tables(study))


def tables_of(sections: tuple[Section, ...]) -> dict[str, Table]:
    return {b.key: b for s in sections for b in s.blocks if isinstance(b, Table)}


def figures_of(sections: tuple[Section, ...]) -> dict[str, Figure]:
    return {b.key: b for s in sections for b in s.blocks if isinstance(b, Figure)}


def only(result: pb.PDResult, *names: str) -> tuple[Section, ...]:
    """The sections of a result that holds nothing but these tables."""
    return clinical_sections(
        dataclasses.replace(result, clinical={name: result.clinical[name] for name in names})
    )


def cells(table: Table, row: int) -> dict[str, object]:
    return {c.label: v for c, v in zip(table.columns, table.rows[row], strict=True)}


def test_the_numbers_of_the_page_are_those_of_the_tables(result: pb.PDResult) -> None:
    sections = clinical_sections(result)
    assert [s.key for s in sections] == KEYS
    found = tables_of(sections)
    orr = result.clinical["orr"].iloc[0]
    rate, low, high = (100 * float(orr[c]) for c in ("rate", "ci_low", "ci_high"))
    assert cells(found["efficacy-rates"], 0) == {
        "endpoint": "ORR confirmed",
        "dose": "all",
        "participants": f"{orr['n_with']} of {orr['n']}",
        "rate (95 % CI)": f"{rate:.0f}\u00a0% ({low:.0f} to {high:.0f})",
    }
    assert str(orr["denominator"]) in found["efficacy-rates"].caption
    median = result.clinical["km_medians"].iloc[0]
    shown = cells(found["efficacy-times"], 0)
    assert (shown["n"], shown["events"]) == (median["n"], median["n_events"])
    assert shown["median, months"] == f"{median['median_days'] / 30.4375:.1f}"
    summary = result.clinical["pk_parameter_summary"]
    cmax = summary[(summary["parameter"] == "cmax") & (summary["dose"] == 10)].iloc[0]
    pk = cells(found["pk-parameters"], 0)
    assert pk["Cmax (µg/mL)"] == f"{cmax['geo_mean']:.3g} ({cmax['geo_cv_pct']:.0f}\u00a0%)"
    dlt = result.clinical["dlt_by_dose"]
    assert [r[2] for r in found["dlt"].rows] == [
        f"{n} of {d}" for n, d in zip(dlt["n_dlt"], dlt["n_evaluable"], strict=True)
    ]
    joined = result.clinical["joined"]
    column = [c.label for c in found["joined"].columns].index("change")
    values = [np.nan if r[column] is None else r[column] for r in found["joined"].rows]
    np.testing.assert_array_equal(np.array(values, dtype=float), joined["change_CYT"])


def test_every_figure_draws(result: pb.PDResult) -> None:
    figures = figures_of(clinical_sections(result))
    assert {"swimmer", "size-waterfall", "spider", "km-pfs", "ada-titres", "concentration-igm-7354"} <= set(
        figures
    )
    for figure in figures.values():
        assert render_png(figure.draw()).startswith(b"\x89PNG")


def test_without_clinical_tables_there_is_no_section(result: pb.PDResult) -> None:
    assert clinical_sections(dataclasses.replace(result, clinical={})) == ()


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("ada_incidence", "ada_participants", "ada_samples"), ["safety"]),
        (("ae_by_kind", "ae_by_term", "dlt_by_dose", "dlt_participants"), ["safety"]),
        (("orr", "km_medians", "km_pfs", "best_response"), ["efficacy"]),
        (("schedule_summary", "timeline", "exposure"), ["exposure"]),
        (("joined",), ["change-exposure"]),
    ],
)
def test_a_part_alone_reads_sensibly(result: pb.PDResult, names: tuple[str, ...], keys: list[str]) -> None:
    sections = only(result, *names)
    assert [s.key for s in sections] == keys
    for figure in figures_of(sections).values():
        figure.draw()


def test_nobody_with_a_change_or_a_response_reads_sensibly(result: pb.PDResult) -> None:
    """Empty tables, as of a study before its first scan."""
    tables = dict(result.clinical)
    tables["joined"] = tables["joined"].assign(change_CYT=np.nan)
    tables["km_pfs"], tables["waterfall"] = tables["km_pfs"].iloc[:0], tables["waterfall"].iloc[:0]
    tables["swimmer"], tables["pk_samples"] = tables["swimmer"].iloc[:0], tables["pk_samples"].iloc[:0]
    sections = clinical_sections(dataclasses.replace(result, clinical=tables))
    assert "No primary feature has a change" in str(sections)
    for figure in figures_of(sections).values():
        figure.draw()


def test_trap_33_the_sections_hold_no_date(result: pb.PDResult) -> None:
    page = render_html(build(result.study, result))
    start = page.index('id="efficacy"')
    own = page[start : page.index('id="methods"')]
    text = re.sub(r"<svg.*?</svg>|data:[^\"')]+", "", own, flags=re.S)
    assert not re.findall(r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])", text)


def test_points_are_the_changes(result: pb.PDResult) -> None:
    """What the figure draws, read back from its axes."""
    joined = result.clinical["joined"]
    axes = pb.plot.change_by_exposure(joined, "change_CYT", "auc_to_biopsy", kind="signature")
    points = [line for line in axes.lines if line.get_marker() not in ("None", "", None)]
    drawn = sorted((float(np.ravel(p.get_xdata())[0]), float(np.ravel(p.get_ydata())[0])) for p in points)
    both = joined.dropna(subset=["auc_to_biopsy", "change_CYT"])
    assert drawn == sorted(zip(both["auc_to_biopsy"], both["change_CYT"], strict=True))
    axes = pb.plot.change_by_dose(pd.DataFrame(joined), "change_CYT", kind="proportion")
    ys = [float(np.ravel(p.get_ydata())[0]) for p in axes.lines if p.get_marker() not in ("None", "", None)]
    expected = joined["change_CYT"].dropna() / np.log(2)
    assert sorted(ys) == pytest.approx(sorted(expected))


def test_a_report_of_every_format_holds_the_sections(result: pb.PDResult, tmp_path: Path) -> None:
    for suffix in ("xlsx", "pptx"):
        path = pb.report(result.study, result, tmp_path / f"review.{suffix}")
        assert path.stat().st_size > 10_000
