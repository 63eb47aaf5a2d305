"""Every figure of a document: title, caption with n and options, words for the blind, one drawing.

And the thumbnails: one magnification, an empty place with its reason, pixels only.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pandas as pd
import pytest
from overlaps import overlapping_texts

import pdbiomarker as pb
from pdbiomarker.decide import Review
from pdbiomarker.plot.style import settle
from pdbiomarker.report import build, render_html
from pdbiomarker.report.blocks import drawn
from pdbiomarker.report.content import Document, Figure, Section
from pdbiomarker.report.deck import render_deck
from pdbiomarker.report.thumbnails import same_magnification, thumbnail_rows


def figures_of(document: Document) -> list[Figure]:
    return [b for section in document.sections for b in section.blocks if isinstance(b, Figure)]


def check_figures(document: Document, least: int) -> None:
    figures = figures_of(document)
    assert len(figures) >= least
    for figure in figures:
        assert figure.title, figure.key
        assert re.search(r"\bn = \d", figure.caption), figure.caption
        assert re.search(r" Options: [^.].+\.$", figure.caption), figure.caption
        assert figure.alt.startswith(figure.title), figure.key
        assert re.search(r"\d", figure.alt), figure.alt  # the number that is seen
        assert "□" not in figure.alt
        assert not re.search(r"\d\.0 mg", figure.alt + figure.caption)
        assert figure.draw() is figure.draw()


def test_every_figure_of_a_trial_says_what_it_shows(trial: pb.PDResult, trial_review: Review) -> None:
    document = build(trial.study, trial, trial_review)
    check_figures(document, 20)
    keys = {figure.key for figure in figures_of(document)}
    wanted = ("heat-map-on-treatment", "primary-forest", "spider")
    assert {*wanted, "swimmer", "km-pfs", "volcano-rna-on-treatment"} - keys == set()
    # Change by dose is drawn once: beside its rank correlation.
    assert [key for key in keys if "dose" in key] == ["exposure-rna-signatures-cyt-dose-mg-on-treatment"]


@pytest.mark.data
def test_every_figure_of_the_riaz_study_says_what_it_shows(riaz: pb.PDResult, riaz_review: Review) -> None:
    document = build(riaz.study, riaz, riaz_review)
    check_figures(document, 10)
    shown = {figure.key: figure for figure in figures_of(document)}
    for key in ("paired-rna-signatures-cyt-on-treatment", "heat-map-on-treatment"):
        assert overlapping_texts(shown[key].draw()) == [], key


@pytest.mark.parametrize("n", [12, 60])
def test_every_figure_of_a_result_says_what_it_shows(fake: ModuleType, n: int) -> None:
    result = fake.make_result(genes=60, n=n)
    document = build(result.study, result)
    check_figures(document, 8)
    for figure in figures_of(document):
        if figure.key.startswith(("paired", "waterfall", "heat-map", "signatures", "flow")):
            assert overlapping_texts(figure.draw()) == [], figure.key


def test_nothing_evaluable_still_says_what_it_shows(fake: ModuleType) -> None:
    result = fake.make_result(genes=3, lost=dict.fromkeys(range(12), "on"))
    for figure in figures_of(build(result.study, result)):
        assert figure.alt
        assert re.search(r"\bn = \d", figure.caption), figure.caption


def test_a_document_draws_each_figure_once_for_all_formats(fake: ModuleType) -> None:
    calls: list[str] = []

    def count(ax: object) -> None:
        calls.append("drawn")
        ax.set_title("A")  # type: ignore[attr-defined]

    figure = Figure("one", "One. n = 1. Options: none.", drawn(3.0, 2.0, count))
    document = Document("Review", (), (), (), "", (Section("a", "A", (figure,)),))
    page, deck = render_html(document), render_deck(document)
    assert calls == ["drawn"]
    again = Document("Review", (), (), (), "", (Section("a", "A", (
        Figure("one", "One. n = 1. Options: none.", drawn(3.0, 2.0, count)),)),))  # fmt: skip
    assert render_deck(again) == deck  # whichever format comes first
    assert render_html(again) == page
    assert len(calls) == 2


def test_a_settled_figure_keeps_its_places_at_any_resolution(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    figure = figures_of(build(result.study, result))[0].draw()
    before = [ax.get_position().bounds for ax in figure.axes]
    figure.set_dpi(60)
    settle(figure)
    assert [ax.get_position().bounds for ax in figure.axes] == before


# --- thumbnails ---------------------------------------------------------------------------------------


def with_images(result: object, folder: Path, ums: dict[str, float]) -> object:
    """Slides S00, S01 ... of `result` with an overview each; a square of 100 µm is drawn in it."""
    images = {}
    for slide, um in ums.items():
        picture = np.full((round(300 / um), round(600 / um), 3), 230, np.uint8)
        side = round(100 / um)
        picture[10 : 10 + side, 10 : 10 + side] = 0
        assert cv2.imwrite(str(folder / f"{slide}.png"), picture)
        table: pd.DataFrame = result.qc["slides"]  # type: ignore[attr-defined]
        biopsy = table.set_index("slide_id").at[slide, "biopsy_id"]
        images[slide] = {
            **{"participant_id": biopsy.rsplit("-", 1)[0], "biopsy_id": biopsy},
            "visit": ["screening", "C2D1"][int(biopsy[-1]) - 1],
            **{"overview": folder / f"{slide}.png", "field": folder / f"{slide}.png"},
        }
    slides = table.assign(
        assay="ihc",
        overview_um=table["slide_id"].map(ums),
        field_um=table["slide_id"].map(ums),
    )
    return dataclasses.replace(result, images=images, qc={"slides": slides})  # type: ignore[type-var]


def decoded(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return image


def test_thumbnails_have_one_magnification_whatever_the_files_have(fake: ModuleType, tmp_path: Path) -> None:
    result = with_images(fake.make_result(genes=3), tmp_path, {"S00": 1.0, "S01": 2.0, "S06": 0.5})
    assert same_magnification(result)  # type: ignore[arg-type]
    sides = []
    for row in thumbnail_rows(result):  # type: ignore[arg-type]
        for _, overview, field in row.images:
            if overview is not None:
                assert field is not None
                sides.append(int((decoded(overview.data) < 100).any(axis=0).sum()))
    assert len(sides) == 3
    assert max(sides) - min(sides) <= 2  # pixels of a square of 100 um, after blurring
    bare = with_images(fake.make_result(genes=3), tmp_path, {"S00": 1.0})
    unknown = dataclasses.replace(bare, qc={"slides": bare.qc["slides"].drop(columns="field_um")})  # type: ignore[attr-defined,type-var]
    assert not same_magnification(unknown)


def test_a_visit_without_a_slide_has_an_empty_place_with_its_reason(fake: ModuleType, tmp_path: Path) -> None:
    result = with_images(fake.make_result(genes=3), tmp_path, {"S04": 1.0, "S10": 1.0, "S11": 1.0})
    rows = {row.participant: row.images for row in thumbnail_rows(result)}  # type: ignore[arg-type]
    assert [t for t, *_ in rows["P03"]] == ["screening · S04", "C2D1 · no slide: no C2D1 biopsy"]
    assert rows["P03"][1][1:] == (None, None)
    assert [t for t, *_ in rows["P06"]] == ["screening · S10", "C2D1 · S11 · not used: not adequate"]
    page = render_html(build(result.study, result))  # type: ignore[attr-defined,arg-type]
    assert "C2D1 · no slide: no C2D1 biopsy" in page
    assert "n = 3 participants, 3 slides" in page or "participants, 3 slides" in page


def test_trap_33_thumbnails_hold_pixels_only(fake: ModuleType, tmp_path: Path) -> None:
    """JPEG segments: no EXIF or XMP (APP1), no colour profile (APP2), no Photoshop (APP13), no comment."""
    result = with_images(fake.make_result(genes=3), tmp_path, {"S00": 1.0})
    picture = thumbnail_rows(result)[0].images[0][1]  # type: ignore[arg-type]
    assert picture is not None
    at, markers = 2, []
    while picture.data[at + 1] != 0xDA:  # start of scan
        markers.append(picture.data[at + 1])
        at += 2 + int.from_bytes(picture.data[at + 2 : at + 4], "big")
    assert set(markers) <= {0xE0, 0xDB, 0xC0, 0xC4}  # JFIF, quantisation, frame, Huffman
    assert b"S00" not in picture.data
