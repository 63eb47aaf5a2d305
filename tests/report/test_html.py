"""The HTML file: self-contained, safe, the same bytes, its numbers those of the result."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from pdbiomarker import plot
from pdbiomarker.plot.numbers import format_number, format_p
from pdbiomarker.plot.style import figure
from pdbiomarker.report import build, render_html, report
from pdbiomarker.report.content import Column

VOID = {"meta", "img", "input", "br", "hr", "link"}


class Page(HTMLParser):
    """Reads a page: elements, attributes, tables with exact values, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[tuple[str, str | None]]]] = {}
        self.text: list[str] = []
        self._table = ""
        self._cell: list[str] | None = None
        self._exact: str | None = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._table = str(found["id"])
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in {"td", "th"}:
            self._cell, self._exact = [], found.get("data-v")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in {"td", "th"} and self._cell is not None:
            self.tables[self._table][-1].append(("".join(self._cell), self._exact))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.text.append(data)
        if self._cell is not None:
            self._cell.append(data)


def _page(fake: ModuleType, **options: object) -> tuple[str, Page, object]:
    result = fake.make_result(**{"genes": 40, **options})
    text = render_html(build(result.study, result))
    return text, Page(text), result


@pytest.fixture(scope="module")
def made(fake: ModuleType) -> tuple[str, Page, object]:
    return _page(fake, with_truth=True)


@pytest.fixture(scope="module")
def hostile(fake: ModuleType) -> tuple[str, Page, object]:
    return _page(fake, ids=fake.HOSTILE)


def test_sections_stand_in_order_after_the_answer(made: tuple[str, Page, object]) -> None:
    keys = [attrs["id"] for tag, attrs in made[1].tags if tag == "section"]
    assert keys == [
        *("summary", "answer", "accountability", "quality", "primary", "heat-map", "families"),
        *("signatures", "genes", "truth", "listings", "methods", "provenance"),
    ]
    targets = {f"#{attrs['id']}" for _, attrs in made[1].tags if attrs.get("id")}
    skip, *links = [attrs["href"] for tag, attrs in made[1].tags if tag == "a"]
    assert skip == "#main"
    assert len(links) == len(keys)
    assert {skip, *links} <= targets


def test_ids_are_unique(made: tuple[str, Page, object]) -> None:
    ids = [attrs["id"] for _, attrs in made[1].tags if attrs.get("id")]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("which", ["made", "hostile"])
def test_no_network_and_a_strict_policy(which: str, request: pytest.FixtureRequest) -> None:
    text, page, _ = request.getfixturevalue(which)
    without_figures = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(
        r"(?:https?|ftp|file|ws)://|url\((?!#f\d)|@import|javascript:", without_figures, re.I
    )
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    (script,), (css,) = (re.findall(f"<{tag}>(.*?)</{tag}>", text, re.S) for tag in ("script", "style"))
    of_script, of_style = (
        base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (script, css)
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{of_style}'; img-src data:; "
        f"script-src 'sha256-{of_script}'; base-uri 'none'; form-action 'none'"
    )
    assert {a.get("type") for t, a in page.tags if t == "script"} == {None, "application/json"}
    for tag, attrs in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attrs)
        assert tag != "foreignobject"
        # An image inside a figure, such as a scale of colours, is in the file itself.
        inside = ("#", "data:image/png;base64,") if tag == "image" else ("#",)
        assert str(attrs.get("href", "#")).startswith(inside)
        assert tag not in {"iframe", "object", "embed", "link", "form", "base"}
        if tag == "img":
            assert re.match(r"data:image/(svg\+xml|jpeg);base64,", str(attrs["src"]))
            assert attrs["alt"]


def test_hostile_ids_are_text(hostile: tuple[str, Page, object], fake: ModuleType) -> None:
    text, page, _ = hostile
    assert "<script>alert(1)" not in text
    assert "<b>GENE</b>" not in text
    assert sum(tag == "script" and "type" not in attrs for tag, attrs in page.tags) == 1
    assert "<" not in "".join(re.findall(r"<script type=.application/json.[^>]*>(.*?)</script>", text, re.S))
    shown = "".join(page.text)
    for name in ("<script>alert(1)</script>", "=1+1", "$x$", "<b>GENE</b>", "../../x"):
        assert name in shown
    for source in re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", text):
        svg = base64.b64decode(source)
        assert b"<script" not in svg
        assert b"alert(1)" not in svg


def test_numbers_of_the_tables_are_those_of_the_result(made: tuple[str, Page, object]) -> None:
    """Every effect table: exact values bit for bit, written values by the shared functions."""
    _, page, result = made
    table: pd.DataFrame = result.table  # type: ignore[attr-defined]
    names = {"primary-effects": "primary", "effects-panel": "panel", "effects-signatures": "signatures"}
    checked = 0
    for key, family in names.items():
        head, *rows = page.tables[f"t-{key}"]
        heads = [text for text, _ in head]
        wanted = table[table["family"] == family].reset_index(drop=True)
        assert len(rows) == len(wanted)
        adjusted = "Holm p" if family == "primary" else "BH q"
        for cells, (_, row) in zip(rows, wanted.iterrows(), strict=True):
            own = dict(zip(heads, cells, strict=True))
            assert own["feature"][0] == row["label"]
            words = {"strict": "strict (adequate biopsies)", "all_biopsied": "all biopsied"}
            assert own["analysis set"][0] == words[row["set"]]
            for head_, column in (("effect", "effect"), ("CI low", "effect_low"), ("CI high", "effect_high")):
                assert own[head_] == (format_number(row[column]), repr(float(row[column])))
            for head_, column in (("p", "p"), (adjusted, "q")):
                exact = "" if pd.isna(row[column]) else repr(float(row[column]))
                assert own[head_] == (format_p(row[column]), exact)
            assert own["pairs"][0] == str(row["n_pairs"])
            checked += 5
    assert checked == 50


def test_simulated_data_are_named_under_the_title(made: tuple[str, Page, object], fake: ModuleType) -> None:
    told = "SIMULATED DATA: no patient stands behind these numbers."
    assert made[0].index("</h1>") < made[0].index(told) < made[0].index('class="findings"')
    assert told not in _page(fake, genes=3)[0]


def test_planted_effects_stand_beside_the_estimates(made: tuple[str, Page, object]) -> None:
    """Planted by the fake: log2 ratio 1.05 of the density, .7 of the signature."""
    _, page, result = made
    table: pd.DataFrame = result.table  # type: ignore[attr-defined]
    strict = {str(r["feature"]): r for _, r in table[table["set"] == "strict"].iterrows()}
    head, *rows = page.tables["t-truth-primary"]
    heads = [text for text, _ in head]
    planted = {"CD8_density_tissue": (1.05, 2.0**1.05), "CYT": (0.7, 0.7)}
    assert len(rows) == 2
    for cells, (feature, (true, shown)) in zip(rows, planted.items(), strict=True):
        own, row = dict(zip(heads, cells, strict=True)), strict[feature]
        assert own["planted"][0] == format_number(shown)
        assert own["estimate"] == (format_number(row["effect"]), repr(float(row["effect"])))
        assert own["interval holds it"][0] == ("yes" if row["ci_low"] <= true <= row["ci_high"] else "no")


def test_the_caption_tells_the_diamonds_from_the_estimate(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    told = "Diamonds: geometric mean of the pairs; the heading's estimate is the model's"
    assert f"{told}." in "".join(_page(fake, genes=3)[1].text)
    more = fake.dataclasses.replace(result, table=result.table.assign(n_participants=12))
    text = "".join(Page(render_html(build(result.study, more))).text)
    assert f"{told}, which also uses participants with one visit." in text


def test_slide_quality_shows_what_a_person_reads(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    slides = result.qc["slides"].assign(
        white_red=243.0, white_green=243.2, white_blue=np.nan, sha256="a" * 64, mpp=0.5, nodata_share=0.01
    )
    changed = fake.dataclasses.replace(result, qc={"slides": slides})
    head, first, *_ = Page(render_html(build(result.study, changed))).tables["t-qc-slides"]
    assert [text for text, _ in head] == [
        *("slide", "biopsy", "status", "tissue (mm²)", "cells", "white (R/G/B)", "no-data share"),
    ]
    assert [text for text, _ in first] == ["S00", "P01-1", "ok", "0.800", "812", "243/243/–", "0.0100"]


def test_units_of_a_signature_are_those_of_its_assay(fake: ModuleType) -> None:
    result = _with_unit(fake, fake.make_result(genes=3), "log2 CPM")
    head, first, *_ = Page(render_html(build(result.study, result))).tables["t-effects-signatures"]
    at = [text for text, _ in head].index("unit")
    assert first[at][0] == "log2 CPM"


def _with_unit(fake: ModuleType, result: object, unit: str) -> Any:
    var = pd.DataFrame({"unit": [unit]}, index=["CYT"])
    result.study.assays["rna_signatures"] = fake.SimpleNamespace(var=var, layers={}, obs=None)  # type: ignore[attr-defined]
    return result


def test_top_genes_are_the_smallest_p(made: tuple[str, Page, object]) -> None:
    _, page, result = made
    table: pd.DataFrame = result.table  # type: ignore[attr-defined]
    genes = table[(table["assay"] == "rna") & (table["set"] == "strict") & table["p"].notna()]
    wanted = genes.sort_values(["p", "feature"], kind="stable").head(50)
    head, *rows = page.tables["t-genes-rna-on-treatment"]
    at = [text for text, _ in head].index("id")
    assert [row[at][0] for row in rows] == wanted["feature"].tolist()
    status = {row[0][0]: row[1][0] for row in page.tables["t-status-rna-on-treatment"][1:]}
    assert status == {"constant": "1", "ok": "39"}


def test_every_biopsy_not_used_has_its_reason(made: tuple[str, Page, object]) -> None:
    _, *rows = made[1].tables["t-unused"]
    assert [[text for text, _ in row] for row in rows] == [
        ["P06-2", "P06", "C2D1", "29", "ihc, rna, rna_signatures",
         "Not adequate: viable_tumor_cells 40, at least 100 needed.", "E-PAIR-005"]
    ]  # fmt: skip


def test_trap_33_no_dates_paths_or_hosts(made: tuple[str, Page, object]) -> None:
    text = made[0]
    assert "2024-03-01" not in text
    assert "/secret" not in text
    assert "secret" not in "".join(made[1].text)
    assert "2025-06-30" in text
    assert "S03" in text


def test_trap_31_no_stars_stand_for_p(made: tuple[str, Page, object], fake: ModuleType) -> None:
    """A star hides the size of p and of the effect; only formulas may hold an asterisk."""
    said = "".join(made[1].text)
    assert not re.findall(r"\*{2,}|[0-9]\s?\*|(?<!\w) \*(?! \w)", said)
    result = fake.make_result(genes=3)
    for draw in (plot.forest, plot.paired, plot.waterfall):
        fig = figure(7, 5)
        ax = fig.add_subplot()
        draw(
            result,
            **({"family": "primary"} if draw is plot.forest else {"feature": "ihc:CD8_density_tissue"}),
            ax=ax,
        )
        assert not [t for t in fig.findobj(Text) if "*" in t.get_text()]


def test_the_same_result_gives_the_same_bytes(fake: ModuleType, tmp_path: Path) -> None:
    for name in ("a", "b"):
        result = fake.make_result(genes=5, with_truth=True)
        assert report(result.study, result, tmp_path / name / "review.html").name == "review.html"
    first, second = ((tmp_path / n / "review.html").read_bytes() for n in ("a", "b"))
    assert first == second
    assert b"\r" not in first
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["review.html"]


def test_images_are_scaled_by_one_factor_and_escaped(fake: ModuleType, tmp_path: Path) -> None:
    sizes = {"S1": (600, 1200), "S2": (300, 600)}
    images = {}
    for i, (slide, (height, width)) in enumerate(sizes.items()):
        file = tmp_path / f"{slide}.png"
        assert cv2.imwrite(str(file), np.full((height, width, 3), 200, np.uint8))
        images[slide] = {
            "participant_id": "<i>P</i>",
            "visit": fake.VISITS[i],
            "overview": file,
            "field": None,
        }
    images["S3"] = {
        "participant_id": "P2",
        "visit": float("nan"),
        "overview": tmp_path / "no.png",
        "field": None,
    }
    text, page, _ = _page(fake, genes=3, images=images)
    shown = [a for t, a in page.tags if t == "img" and str(a["src"]).startswith("data:image/jpeg")]
    rules = dict(re.findall(r"\.(w\d) { width: ([\d.]+%); }", text))
    assert [rules[str(a["class"])] for a in shown] == ["100.00%", "50.00%"]
    widths = []
    for attrs in shown:
        data = np.frombuffer(base64.b64decode(str(attrs["src"]).split(",")[1]), np.uint8)
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None
        widths.append(decoded.shape[1])
    assert widths == [520, 260]
    assert "<i>P</i>" not in text
    assert "no visit · S3" in "".join(page.text)
    assert sum(tag == "details" and attrs.get("class") == "zoom" for tag, attrs in page.tags) == len(shown)


@pytest.mark.parametrize("n_lost", [12, 11])
def test_reads_sensibly_with_no_pair_and_with_one(fake: ModuleType, n_lost: int) -> None:
    _, page, _ = _page(fake, genes=1, lost=dict.fromkeys(range(n_lost), "on"))
    text = "".join(page.text)
    assert "Not evaluable" in text
    assert f"{n_lost} of 12 participants give no evaluable pair" in text
    assert "the estimate is biased" not in text


def test_empty_parts_read_sensibly(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    bare = fake.dataclasses.replace(
        result, table=result.table.iloc[:0], changes=result.changes.iloc[:0], qc={}, provenance={},
        accountability=result.accountability.iloc[:0], biopsies=result.biopsies.iloc[:0],
    )  # fmt: skip
    text = "".join(Page(render_html(build(bare.study, bare))).text)
    for told in ("names no primary family", "No biopsy was analysed", "Nothing was quarantined"):
        assert told in text


def test_a_primary_signature_is_shown_once(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    table = result.table.assign(
        family=result.table["family"].replace({"primary": "panel", "signatures": "primary"})
    )
    document = build(result.study, fake.dataclasses.replace(result, table=table))
    assert "signatures" not in [s.key for s in document.sections]
    keys = [getattr(b, "key", None) for s in document.sections for b in s.blocks]
    named = [k for k in keys if k is not None]
    assert len(named) == len(set(named))


def test_columns_write_every_kind_of_cell() -> None:
    assert [Column("x", "number").write(v) for v in (None, float("nan"), 3, 0.12345)] == [
        "–",
        "–",
        "3",
        "0.123",
    ]
    assert [Column("x", "df").write(v) for v in (8.0, 7.834)] == ["8", "7.8"]
    assert [Column("x").write(v) for v in (None, True, False, "007", 3)] == ["", "yes", "no", "007", "3"]
