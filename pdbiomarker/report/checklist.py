"""What a report of stained tissue has to say, filled from what the files tell; the rest is for a person.

The list is ours. It is made to be carried over to the checklist of the Society for Immunotherapy of Cancer
(doi:10.1136/jitc-2025-012280), whose own items it neither quotes nor numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import pandas as pd

from pdbiomarker.plan import declared_of
from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import Result
from pdbiomarker.report.content import Cell, Column, Section, Table, Text
from pdbiomarker.report.methods import versions_of
from pdbiomarker.report.panels import PanelUsed, panels_of
from pdbiomarker.report.privacy import clean

__all__ = ["TO_FILL", "checklist_section"]

#: What stands where the files do not tell.
TO_FILL: Final = "to be filled by a person"
_MOST_NAMED: Final = 6


class _Facts(NamedTuple):
    """What the items are filled from."""

    result: Result
    slides: pd.DataFrame
    biopsies: pd.DataFrame
    quality: pd.DataFrame
    panels: tuple[PanelUsed, ...]


Answer = Callable[[_Facts], str]


def checklist_section(result: Result) -> Section | None:
    """Make the section; None for a study without stained slides.

    Parameters
    ----------
    result : PDResult
    """
    facts = _facts(result)
    if not len(facts.slides) and not facts.panels:
        return None
    rows: list[tuple[Cell, ...]] = []
    for topic, item, answer in _ITEMS:
        told = clean(answer(facts)) if answer is not None else ""
        rows.append((topic, item, told or TO_FILL, "the files" if told else "a person"))
    filled = sum(row[3] == "the files" for row in rows)
    caption = (
        f"Items to report of stained tissue: {filled} of {len(rows)} are filled from the study's files, the "
        "others are to be filled by a person. This list is ours, made to be carried over to the SITC "
        "checklist (doi:10.1136/jitc-2025-012280); it is not that checklist."
    )
    columns = (Column("topic", "name"), Column("item", "name"), Column("answer"), Column("filled from"))
    note = Text(
        ("An answer from the files says what the files say; whether it is true, a person signs.",), "note"
    )
    return Section("checklist", "Reporting items for stained tissue, our own list", (
        Table("reporting-items", caption, columns, tuple(rows), collapsed=True), note))  # fmt: skip


def _facts(result: Result) -> _Facts:
    study = result.study
    slides = pd.DataFrame(getattr(study, "slides", pd.DataFrame()))
    biopsies = pd.DataFrame(getattr(study, "biopsies", pd.DataFrame()))
    quality = next((f for f in result.qc.values() if "slide_id" in f.columns), pd.DataFrame())
    return _Facts(result, slides, biopsies, quality, panels_of(study))


# --- answers -------------------------------------------------------------------------------------------


def _values(frame: pd.DataFrame, *columns: str) -> str:
    """The different values of the first of these columns that there is, with how often each occurs."""
    for column in columns:
        if column in frame.columns:
            texts = frame[column].dropna().astype(str)
            counts = texts[texts != ""].value_counts().sort_index()
            if len(counts):
                told = [f"{value} ({n})" for value, n in counts.items()]
                more = f" and {len(told) - _MOST_NAMED} more" if len(told) > _MOST_NAMED else ""
                return f"{', '.join(told[:_MOST_NAMED])}{more}"
    return ""


def _range(frame: pd.DataFrame, column: str, unit: str) -> str:
    values = (
        pd.to_numeric(frame[column], errors="coerce").dropna()
        if column in frame.columns
        else pd.Series(dtype=float)
    )
    if not len(values):
        return ""
    low, high = (format_number(float(v)) for v in (values.min(), values.max()))
    return f"{low} {unit} in all" if low == high else f"{low} to {high} {unit}"


def _from(which: str, *columns: str) -> Answer:
    def answer(facts: _Facts) -> str:
        return _values(getattr(facts, which), *columns)

    return answer


def _each(write: Callable[[Any], str]) -> Answer:
    """An answer for every panel whose parameters are known."""

    def answer(facts: _Facts) -> str:
        return "; ".join(f"{p.marker}: {write(p.panel)}" for p in facts.panels if p.panel is not None)

    return answer


def _specimens(facts: _Facts) -> str:
    people = facts.biopsies["participant_id"].nunique() if "participant_id" in facts.biopsies else 0
    sites = _values(facts.biopsies, "site")
    return f"{len(facts.biopsies)} biopsies of {people} participants{': ' + sites if sites else ''}"


def _adequacy(facts: _Facts) -> str:
    rules = dict(getattr(facts.result.study.spec, "adequacy", {}))
    return "; ".join(f"{name} of {rule.need.removesuffix(' needed')}" for name, rule in rules.items())


def _declared(name: str) -> Answer:
    def answer(facts: _Facts) -> str:
        value = declared_of(facts.result.study, facts.result.plan).facts().get(name)
        return "" if value is None else ("declared: yes" if value is True else "declared: no")

    return answer


def _precision(facts: _Facts) -> str:
    given = declared_of(facts.result.study, facts.result.plan).facts().get("assay_cv_pct") or {}
    return ", ".join(f"{name}: CV {value:g} %" for name, value in dict(given).items())


def _left_out(facts: _Facts) -> str:
    status = _values(facts.quality, "status")
    sought = {n for p in facts.panels if p.panel for n, on in p.panel.artefacts.model_dump().items() if on}
    told = f"artefacts looked for and left out: {', '.join(sorted(sought))}" if sought else ""
    return "; ".join(part for part in (status, told) if part)


def _checked(facts: _Facts) -> str:
    held = {"focus", "white_red"} & set(facts.quality.columns)
    return "focus and white of the glass of every slide, in the table of quality" if len(held) == 2 else ""


def _bound(facts: _Facts) -> str:
    held = declared_of(facts.result.study, facts.result.plan).drug_binds
    return "" if held is None else "declared: " + (", ".join(map(str, held)) or "none")


def _regions(facts: _Facts) -> str:
    folders = []
    for spec in _specs(facts):
        regions = getattr(spec, "regions", None)
        drawn = f"regions drawn by a person, folder {clean(str(regions))}" if regions else "the whole tissue"
        folders.append(f"{spec.name}: {drawn}")
    return "; ".join(folders)


def _specs(facts: _Facts) -> Iterable[Any]:
    return [s for s in getattr(facts.result.study.spec, "assays", ()) if str(getattr(s, "kind", "")) == "ihc"]


def _scores(facts: _Facts) -> str:
    rows = facts.result.table
    names = {s.name for s in _specs(facts)}
    rows = rows[rows["assay"].isin(names)]
    return ", ".join(dict.fromkeys(str(v) for v in rows["label"] if isinstance(v, str) and v))


def _model(facts: _Facts) -> str:
    plan = facts.result.plan
    return f"{plan.formula}; {plan.ddf}; families and adjustment in the methods"


def _software(facts: _Facts) -> str:
    versions = versions_of(facts.result.provenance)
    return f"pdbiomarker {versions['pdbiomarker']}" if "pdbiomarker" in versions else ""


def _plan_hash(facts: _Facts) -> str:
    digest = str(getattr(facts.result.plan, "hash", "") or "")
    return (
        f"plan SHA-256 {digest[:16]}; every input file by its hash in the section Provenance"
        if digest
        else ""
    )


def _limits(panel: Any) -> str:
    low, middle, high = panel.thresholds
    return f"optical density {low:g} (positive), {middle:g}, {high:g}; version {panel.version}"


def _stains(panel: Any) -> str:
    source = f" ({panel.stains.source})" if panel.stains.source else ""
    return f"fixed vectors of optical density{source}"


def _segmented(panel: Any) -> str:
    seen = panel.detection
    grown = f", cells {panel.expansion_um:g} um wider" if panel.measure != "nucleus" else ""
    return f"classical, nuclei of {seen.min_area_um2:g} to {seen.max_area_um2:g} um²{grown}"


_ITEMS: Final[tuple[tuple[str, str, Answer | None], ...]] = (
    ("specimen", "kind, number and site of the specimens", _specimens),
    ("specimen", "how taken: needle, gauge, number of cores", _from("biopsies", "method", "gauge")),
    ("specimen", "cold ischaemia, fixative, hours of fixation",
     _from("biopsies", "fixation_hours", "fixation_h", "fixative")),
    ("specimen", "block age, section thickness, age of the section when stained",
     _from("slides", "section_age_days", "section_thickness_um")),
    ("specimen", "rule of adequacy", _adequacy),
    ("antibody", "target and label", _each(lambda p: f"{p.label}, {p.compartment}")),
    ("antibody", "clone and supplier", _from("slides", "clone", "antibody_clone")),
    ("antibody", "dilution or concentration", _from("slides", "dilution", "concentration")),
    ("antibody", "lot", _from("slides", "lot", "antibody_lot")),
    ("antibody", "antigens that the drug binds itself, and may hide", _bound),
    ("staining", "chromogen and counterstain", _each(lambda p: f"{p.chromogen}, haematoxylin")),
    ("staining", "antigen retrieval and detection system", None),
    ("staining", "platform of staining", _from("slides", "platform", "stainer")),
    ("staining", "runs, and slides in each", _from("slides", "batch", "run")),
    ("staining", "whether baseline and on-treatment were stained in one run", _declared("pairs_share_run")),
    ("staining", "new lots bridged to old ones", _declared("lots_bridged")),
    ("staining", "positive and negative control tissue, and its results", None),
    ("validation", "analytical validation of the assay: sensitivity, specificity, reference", None),
    ("validation", "precision: coefficient of variation of repeated measurements", _precision),
    ("validation", "agreement of the algorithm with a pathologist's counts", None),
    ("scanning", "scanner and magnification", _from("slides", "scanner", "magnification")),
    ("scanning", "size of a pixel", lambda f: _range(f.quality, "mpp", "um")),
    ("scanning", "file format", _from("quality", "format")),
    ("scanning", "focus and white balance checked", _checked),
    ("regions", "regions analysed", _regions),
    ("regions", "who chose the regions, by what rule", None),
    ("regions", "area analysed per slide", lambda f: _range(f.quality, "tissue_mm2", "mm²")),
    ("regions", "what was left out", _left_out),
    ("image analysis", "separation of the colours", _each(_stains)),
    ("image analysis", "segmentation of nuclei and cells", _each(_segmented)),
    ("image analysis", "threshold of positivity", _each(_limits)),
    ("image analysis", "how and when the threshold was fixed", None),
    ("image analysis", "cells per slide", lambda f: _range(f.quality, "n_cells", "cells")),
    ("image analysis", "registration, clustering, spatial analysis where done", None),
    ("review", "review by a pathologist, and what was changed", None),
    ("review", "readers blinded to participant, visit and dose", _declared("blinded_reading")),
    ("review", "slides of all visits read mixed", _declared("visit_randomised")),
    ("statistics", "scores and their units", _scores),
    ("statistics", "unit of analysis, model, multiplicity", _model),
    ("data", "software and version", _software),
    ("data", "plan and input fixed", _plan_hash),
    ("data", "where images, values and code can be had", None),
)  # fmt: skip
