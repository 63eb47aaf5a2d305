"""What keeps the report of a large study small: no clock is read here (benchmarks/report.py measures)."""

from __future__ import annotations

import dataclasses
import io
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import openpyxl
import pytest
from pptx import Presentation

from pdbiomarker.report import build, render_html, shrink, thumbnails, write_report
from pdbiomarker.report.content import Column, Document, Section, Table, sheet_names
from pdbiomarker.report.deck import render_deck
from pdbiomarker.report.html import MOST_ROWS
from pdbiomarker.report.workbook import render_workbook

SLIDES = 300


def _image(path: Path, shape: tuple[int, int], seed: int) -> Path:
    """Blots and noise: an image that a JPEG cannot make small."""
    draw = np.random.default_rng(seed)
    rough = cv2.resize(draw.normal(0, 30, (shape[0] // 8, shape[1] // 8, 3)), shape[::-1])
    pixels = np.clip(190 + rough + draw.normal(0, 12, (*shape, 3)), 0, 255).astype(np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture(scope="module")
def many(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A result with 300 slides of 60 participants; the files of five are linked under all names."""
    folder = tmp_path_factory.mktemp("many")
    drawn = {
        (kind, k): _image(folder / f"{kind}{k}.png", shape, k)
        for kind, shape in (("overview", (160, 280)), ("field", (352, 352)))
        for k in range(5)
    }
    images = {}
    for n in range(SLIDES):
        item = {"participant_id": f"P{n % 60 + 1:02d}", "biopsy_id": f"B{n}", "visit": "screening"}
        for kind in ("overview", "field"):
            item[kind] = folder / f"S{n:03d}-{kind}.png"
            os.link(drawn[kind, n % 5], item[kind])
        images[f"S{n:03d}"] = item
    return dataclasses.replace(fake.make_result(n=60, genes=5), qc={}, images=images)


def _pictures(rows: Any) -> list[Any]:
    return [picture for row in rows for _, *both in row.images for picture in both if picture is not None]


def test_the_images_of_300_slides_fit_the_budget_and_use_it(many: Any) -> None:
    pictures = _pictures(thumbnails.thumbnail_rows(many))
    size = sum(len(picture.data) for picture in pictures)
    assert len(pictures) == 2 * SLIDES
    # In the page a third more: 6.7 of the 15 MB.
    assert 0.75 * thumbnails.BUDGET < size <= thumbnails.BUDGET == 5_000_000


def test_the_bytes_do_not_depend_on_how_many_threads_decode(
    many: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dataclasses.replace(many, images=dict(list(many.images.items())[:40]))
    monkeypatch.setattr(shrink, "processors", lambda: 1)
    one = [row.images for row in thumbnails.thumbnail_rows(few)]
    monkeypatch.setattr(shrink, "processors", lambda: 3)
    assert [row.images for row in thumbnails.thumbnail_rows(few)] == one


def test_many_images_are_reduced_in_a_process_of_their_own_or_without_one_in_this(
    many: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same pictures, whoever makes them; one that cannot be decoded has its place in both."""
    images = dict(list(many.images.items())[:12])
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(images["S003"]["field"]).read_bytes()[:5000])
    images["S003"] = {**images["S003"], "field": broken}
    few = dataclasses.replace(many, images=images)
    here = [row.images for row in thumbnails.thumbnail_rows(few)]
    monkeypatch.setattr(thumbnails, "_MANY", 10)
    started: list[bool] = []
    with monkeypatch.context() as alone:
        alone.setattr(shrink, "shrink", lambda *_, **__: pytest.fail("not in this process"))
        assert [row.images for row in thumbnails.thumbnail_rows(few)] == here
    nowhere, liar, cut = (tmp_path / name for name in ("none.py", "liar.py", "cut.py"))
    liar.write_text("raise SystemExit(3)")
    cut.write_text("print('[[[9, 1.0], null]]'); print('short')")
    make = shrink.shrink
    monkeypatch.setattr(shrink, "shrink", lambda *a, **k: started.append(True) or make(*a, **k))
    for program in (nowhere, liar, cut):
        monkeypatch.setattr(thumbnails, "_PROGRAM", program)
        assert [row.images for row in thumbnails.thumbnail_rows(few)] == here
    assert len(started) == 3


def test_a_file_that_is_no_image_leaves_its_place_empty(many: Any, tmp_path: Path) -> None:
    (slide, item), *_ = many.images.items()
    whole = Path(item["field"]).read_bytes()
    for k, data in enumerate((b"", b"no image", whole[:30], whole[:5000])):
        path = tmp_path / f"{k}.png"
        path.write_bytes(data)
        (row,) = thumbnails.thumbnail_rows(dataclasses.replace(many, images={slide: {**item, "field": path}}))
        ((_, overview, field),) = row.images
        assert overview is not None
        assert field is None


def test_the_images_are_made_once_for_all_formats_and_for_a_workbook_not_at_all(
    many: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dataclasses.replace(many, images=dict(list(many.images.items())[:6]))
    made: list[int] = []
    make = thumbnails._encode_all
    monkeypatch.setattr(thumbnails, "_encode_all", lambda rows: made.append(1) or make(rows))
    document = build(few.study, few)
    write_report(document, few, {"xlsx": tmp_path / "a.xlsx"})
    assert made == []
    write_report(document, few, {name: tmp_path / f"a.{name}" for name in ("html", "pptx", "xlsx")})
    assert made == [1]
    # Made ahead, beside the figures, or when the page asks for them: the same bytes.
    assert (tmp_path / "a.html").read_text("utf-8") == render_html(build(few.study, few))
    assert made == [1, 1]
    # So are those begun before the content is made.
    assert (tmp_path / "a.html").read_text("utf-8") == render_html(build(few.study, few, ahead=True))
    assert made == [1, 1, 1]


def _long_table(n: int, *, p: bool) -> Table:
    columns = (Column("feature", "name"), Column("effect", "number"), *((Column("p", "p"),) if p else ()))
    values = np.random.default_rng(4).permutation(n) / n
    rows = [(f"F{i:04d}", float(i), *((float(values[i]),) if p else ())) for i in range(n)]
    if p:
        rows[3] = (*rows[3][:2], None)
    return Table("effects", "Effects.", columns, tuple(rows), collapsed=True, level="main", message="Effects")


@pytest.mark.parametrize("p", [True, False])
def test_a_long_table_is_cut_in_the_page_and_whole_in_the_workbook(p: bool) -> None:
    n = MOST_ROWS + 234
    table = _long_table(n, p=p)
    document = Document("Review", (), (), (), "none", (Section("a", "A", (table,)),))
    page = render_html(document)
    names = re.findall(r'<td class="name">(F\d{4})</td>', page)
    if p:
        least = sorted((row for row in table.rows if row[2] is not None), key=lambda row: row[2])[:MOST_ROWS]
        assert names == sorted(row[0] for row in least)  # in the order of the table
        which = "those with the smallest p"
    else:
        assert names == [row[0] for row in table.rows[:MOST_ROWS]]
        which = "the first ones"
    sheet = sheet_names(document)["effects"]
    told = f"(1,000 of 1,234 rows, {which}; sheet &#39;{sheet}&#39; of the workbook (review.xlsx) has all)"
    assert told in page
    book = openpyxl.load_workbook(io.BytesIO(render_workbook(document)))
    assert [row[0] for row in book[sheet].iter_rows(min_row=4, values_only=True)] == [
        r[0] for r in table.rows
    ]
    slides = Presentation(io.BytesIO(render_deck(document))).slides
    said = "\n".join(
        shape.text_frame.text for slide in slides for shape in slide.shapes if shape.has_text_frame
    )
    assert "of 1,234 rows" in said
    assert repr(sheet) in said
    short = dataclasses.replace(table, rows=table.rows[:MOST_ROWS])
    document = dataclasses.replace(document, sections=(Section("a", "A", (short,)),))
    assert "(1,000 rows)" in render_html(document)
