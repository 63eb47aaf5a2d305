"""The page in headless Chromium: what a reader can do with it, and that it asks no network for anything."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import pdbiomarker as pb
from pdbiomarker.decide import Review
from pdbiomarker.plot.numbers import format_number, format_p
from pdbiomarker.report import build, pdf, render_html
from pdbiomarker.report.content import Column, Document, Section, Table

pytestmark = pytest.mark.browser

#: What no id should be, and is.
MORE = ("=cmd|' /C calc'!A0", "x" * 200, "שלום 007", "'; drop & <i>")
#: Ratio of contrast that small and large text need (WCAG 2.1, 1.4.3).
SMALL, LARGE = 4.5, 3.0

_CONTRAST = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= .03928 ? v / 12.92 : Math.pow((v + .055) / 1.055, 2.4); });
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) { return c; } } return [255, 255, 255]; };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    if (e.closest("svg, script, select") || !e.offsetParent) { continue; }
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) { continue; }
    const style = getComputedStyle(e), a = light(rgb(style.color)), b = light(behind(e));
    const size = parseFloat(style.fontSize), big = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    found.push([ratio, big, e.className + ": " + e.textContent.slice(0, 40)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = pdf.browser()
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed")
        pytest.skip("Chromium is not installed")
    with sync_playwright() as tools:
        opened = tools.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def result(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    ids = (*fake.HOSTILE[:4], *MORE, *fake.HOSTILE[4:])[:12]
    images = {}
    for i, name in enumerate(ids[:3]):
        file = tmp_path_factory.mktemp("images") / "field.png"
        assert cv2.imwrite(str(file), np.full((60, 80, 3), 90 + i, np.uint8))
        images[f"S{i}"] = {"participant_id": name, "visit": "C2D1", "overview": file, "field": file}
    return fake.make_result(genes=60, ids=ids, images=images)


@pytest.fixture(scope="module")
def address(result: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "review.html"
    path.write_text(render_html(build(result.study, result)), encoding="utf-8", newline="\n")
    return path.as_uri()


@pytest.fixture(scope="module")
def open_page(browser: Browser, address: str) -> Iterator[Page]:
    """One page for all tests that leave it as they found it; complaints are collected on it."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page.complaints = []  # type: ignore[attr-defined]
    page.asked = []  # type: ignore[attr-defined]
    page.on("console", lambda said: page.complaints.append(said.text))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.complaints.append(str(error)))  # type: ignore[attr-defined]
    page.on("dialog", lambda dialog: page.complaints.append(dialog.message))  # type: ignore[attr-defined]
    page.on("request", lambda request: page.asked.append(request.url))  # type: ignore[attr-defined]
    page.goto(address)
    yield page
    page.close()


@pytest.fixture
def page(open_page: Page) -> Iterator[Page]:
    yield open_page
    open_page.keyboard.press("Escape")
    open_page.mouse.move(2, 2)
    open_page.keyboard.press("Escape")


def _lit(page: Page, selector: str) -> list[str]:
    """Whose the elements in colour are."""
    return page.eval_on_selector_all(selector, "found => found.map(e => e.getAttribute('data-p'))")


def _figures_lit(page: Page) -> int:
    return int(
        page.evaluate(
            "new Set([...document.querySelectorAll('svg.live .lit')].map(e => e.closest('svg'))).size"
        )
    )


def test_loads_without_complaint_and_asks_for_nothing(open_page: Page, address: str) -> None:
    assert open_page.complaints == []  # type: ignore[attr-defined]
    assert [a for a in open_page.asked if not a.startswith("data:")] == [address]  # type: ignore[attr-defined]


def test_the_policy_forbids_what_the_page_does_not_do(page: Page) -> None:
    """No evaluation of text, no inline style from markup, no network: tried, and refused."""
    told = page.evaluate(
        """async () => { const seen = [];
        document.addEventListener("securitypolicyviolation", e => seen.push(e.effectiveDirective));
        setTimeout("window.ran = true", 0);
        try { await fetch("data:text/plain,x"); seen.push("fetched"); } catch (e) {}
        const box = document.createElement("div"); box.innerHTML = "<b style='color: red'>x</b>";
        await new Promise(done => setTimeout(done, 60)); return [...seen, window.ran ? "ran" : ""]; }"""
    )
    assert "ran" not in told
    assert "fetched" not in told
    page.complaints.clear()  # type: ignore[attr-defined]
    assert {"connect-src", "style-src-attr", "script-src"} <= set(told)


def test_pointing_at_a_participant_lights_it_in_every_figure_and_table(page: Page) -> None:
    bar = page.locator("figure[id^=f-waterfall] svg.live [data-p] path").nth(2)
    who = bar.evaluate("e => e.closest('[data-p]').dataset.p")
    bar.hover()
    assert set(_lit(page, ".lit")) == {who}
    assert _figures_lit(page) >= 3
    assert len(_lit(page, "tr.lit")) >= 1
    other = page.locator(f"figure[id^=f-paired] svg.live [data-p]:not([data-p='{who}'])").first
    own = page.locator(f"figure[id^=f-paired] svg.live [data-p='{who}']").first
    page.wait_for_timeout(30)
    assert float(other.evaluate("e => getComputedStyle(e).opacity")) < 0.5
    assert float(own.evaluate("e => getComputedStyle(e).opacity")) == 1.0
    name = page.locator("figure[id^=f-paired] svg.live .word").first
    name.hover()
    assert set(_lit(page, ".lit")) == {name.get_attribute("data-p")}
    page.mouse.move(2, 2)
    assert _lit(page, ".lit") == []
    assert page.locator("#who").is_hidden()


def test_every_line_of_a_participant_is_marked_with_no_one_elses(page: Page, result: Any) -> None:
    """The bars of the waterfall stand in the order of the changes; each mark is that of its participant."""
    people = [str(p) for p in result.study.participants.index]
    own = result.changes[
        (result.changes["feature"] == "CD8_density_tissue") & (result.changes["set"] == "strict")
    ]
    order = own[own["change"].notna()].sort_values("change", ascending=False)["participant_id"].tolist()
    bars = page.evaluate(
        """() => [...document.querySelectorAll("figure[id^=f-waterfall-ihc] svg.live > g > g > [data-p]")]
        .filter(e => e.children.length && !e.querySelector("use"))
        .map(e => [e.getBoundingClientRect().x, e.dataset.p])"""
    )
    assert [people[int(p)] for _, p in sorted(bars)[: len(order)]] == order


def test_a_click_keeps_and_leads_to_thumbnails_and_listings(page: Page, result: Any) -> None:
    people = [str(p) for p in result.study.participants.index]
    page.locator(".chip[data-p='0']").click()
    page.locator("h1").hover()
    assert set(_lit(page, ".lit")) == {"0"}
    bar = page.locator("#who")
    assert bar.locator(".name").inner_text() == people[0]
    told = bar.locator(".fact").all_inner_texts()
    row = result.changes[
        (result.changes["participant_id"] == people[0])
        & (result.changes["feature"] == "CD8_density_tissue")
        & (result.changes["set"] == "strict")
    ].iloc[0]
    assert f"CD8 density (tissue): × {format_number(row['ratio'])}" in told
    bar.locator("a.to-slides").click()
    box = page.locator("#slides-0").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 900
    page.keyboard.press("Escape")
    assert _lit(page, ".lit") == []

    unused = result.biopsies.loc[~result.biopsies["used"].astype(bool), "participant_id"]
    person = people.index(str(unused.iloc[0]))
    page.locator(f".chip[data-p='{person}']").click()
    link = bar.locator("a[title*='not used']")
    link.click()
    assert page.evaluate("document.activeElement.dataset.p") == str(person)
    assert page.evaluate("document.activeElement.closest('table').id") == "t-unused"
    assert "not evaluable" in " ".join(bar.locator(".fact").all_inner_texts())
    bar.locator(".release").click()
    assert bar.is_hidden()


def test_the_keyboard_reaches_participants(page: Page) -> None:
    stops = page.evaluate("""() => [...document.querySelectorAll("svg.live, table.data, .chips")]
        .map(g => g.querySelectorAll("[data-p][tabindex='0']").length)""")
    assert max(stops) == 1
    first = page.locator("figure[id^=f-paired] svg.live [data-p][tabindex='0']").first
    first.focus()
    before = page.evaluate("document.activeElement.dataset.p")
    page.keyboard.press("ArrowRight")
    after = page.evaluate("document.activeElement.dataset.p")
    assert before != after
    assert set(_lit(page, ".lit")) == {after}
    page.keyboard.press("Enter")
    page.mouse.move(600, 400)
    assert set(_lit(page, ".lit")) == {after}
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    page.keyboard.press("Escape")
    page.select_option("#pick", "5")
    assert set(_lit(page, ".lit")) == {"5"}
    page.keyboard.press("Escape")
    page.goto(page.url.split("#")[0])
    page.keyboard.press("Tab")
    seen = page.evaluate(
        "[document.activeElement.className, document.activeElement.getBoundingClientRect().x >= 0]"
    )
    assert seen == ["skip", True]


def test_hostile_ids_stay_text_and_can_be_followed(page: Page, result: Any) -> None:
    people = [str(p) for p in result.study.participants.index]
    assert page.locator(".chip").all_text_contents() == people
    for i, name in enumerate(people):
        page.locator(f".chip[data-p='{i}']").hover()
        assert page.locator("#who .name").text_content() == name
        assert page.evaluate("document.querySelectorAll('svg.live .lit').length") >= 2
    assert page.locator("script:not([type])").count() == 1
    assert page.complaints == []  # type: ignore[attr-defined]


def test_any_gene_is_found_with_the_numbers_of_the_result(page: Page, result: Any) -> None:
    table: pd.DataFrame = result.table
    genes = table[(table["assay"] == "rna") & (table["set"] == "strict")].set_index("label")
    box, find = page.locator(".lookup"), page.locator(".lookup input")
    for name in ("GENE7", "GENE42", "<b>GENE</b>"):
        find.fill(name.lower())
        heads = [h.get_attribute("data-label") for h in box.locator("th").all()]
        first = dict(zip(heads, box.locator("tbody tr").first.locator("td").all_text_contents(), strict=True))
        row = genes.loc[name]
        assert (first["gene"], first["id"]) == (name, row["feature"])
        wanted = {"effect": "effect", "CI low": "effect_low", "CI high": "effect_high"}
        assert {h: first[h] for h in wanted} == {h: format_number(row[c]) for h, c in wanted.items()}
        assert (first["p"], first["BH q"]) == (format_p(row["p"]), format_p(row["q"]))
        assert page.locator(".spot b").text_content() == name
    find.fill("gene3")
    row_ = box.locator("tbody tr").first.locator("td").all_text_contents()
    assert {"constant", "no variation between biopsies", "–"} <= set(row_)
    assert page.locator(".spot").count() == 0
    find.fill("gene5")
    names = [t.split("\t")[0] for t in box.locator("tbody tr td:first-child").all_text_contents()]
    assert names == ["GENE5", *(f"GENE{i}" for i in range(50, 60))]
    find.fill("nothing like it")
    assert "No gene of 60" in box.locator(".hint").inner_text()
    find.fill("")


def test_a_gene_is_marked_where_the_figure_has_its_point(page: Page, result: Any) -> None:
    """Against the points in the drawing itself: those of one colour are drawn in the order of the table."""
    genes = result.table[(result.table["assay"] == "rna") & (result.table["set"] == "strict")]
    grey = genes[genes["p"].notna() & ~(genes["q"] < 0.05)]
    image = page.locator(".plot[data-axes] img")
    shape = r'<use [^>]*x="([\d.]+)" y="([\d.]+)" fill="#a9b4ba"'
    svg = base64.b64decode(str(image.get_attribute("src")).split(",")[1]).decode()
    points = [(float(x), float(y)) for x, y in re.findall(shape, svg)]
    assert len(points) == len(grey) > 30
    for at in (0, 7, 20):
        page.locator(".lookup input").fill(str(grey["label"].iloc[at]))
        spot, box = page.locator(".spot").bounding_box(), image.bounding_box()
        assert spot is not None
        assert box is not None
        scale = box["width"] / (72 * 8.2)
        x, y = (scale * v for v in points[at])
        assert spot["x"] + spot["width"] / 2 - box["x"] == pytest.approx(x, abs=1.0)
        assert spot["y"] + spot["height"] / 2 - box["y"] == pytest.approx(y, abs=1.0)
    page.locator(".lookup input").fill("")


VALUES = (
    3.0,
    -12.5,
    None,
    2.5e-7,
    float("inf"),
    1234567.0,
    -0.25,
    0.0,
    float("nan"),
    40.0,
    -3e-9,
    7.0,
    100.0,
)


def test_tables_sort_by_exact_values_and_filter(browser: Browser, tmp_path: Path) -> None:
    columns = (Column("name", "id"), Column("value", "number"), Column("share"))
    shares = (
        "7.1 %",
        "99 %",
        "",
        "7.05 %",
        "100 %",
        "0.3 %",
        "8 %",
        "9 %",
        "10 %",
        "11 %",
        "12 %",
        "13 %",
        "1 %",
    )
    rows = tuple((f"r{i}", value, shares[i]) for i, value in enumerate(VALUES))
    table = Table("odd", "Odd numbers.", columns, rows)
    file = tmp_path / "page.html"
    document = Document("Review", (), (), (), "none", (Section("a", "A", (table,)),))
    file.write_text(render_html(document), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())

    def order(column: int = 1) -> list[str]:
        shown = page.locator(f"#t-odd tbody tr:not([hidden]) td:nth-child({column})")
        return [str(text) for text in shown.all_text_contents()]

    known = [i for i, v in enumerate(VALUES) if v is not None and v == v]  # noqa: PLR0124
    up = sorted(known, key=lambda i: float(VALUES[i] or 0.0))
    page.locator("#t-odd thead button", has_text="value").click()
    assert order() == [f"r{i}" for i in [*up, 2, 8]]
    assert page.locator("#t-odd th").nth(1).get_attribute("aria-sort") == "ascending"
    page.locator("#t-odd thead button", has_text="value").click()
    assert order() == [f"r{i}" for i in [*up[::-1], 2, 8]]
    assert page.locator("#t-odd th").nth(1).get_attribute("aria-sort") == "descending"
    page.locator("#t-odd thead button", has_text="share").click()
    assert order(3) == [*sorted((s for s in shares if s), key=lambda s: float(s[:-2])), ""]
    page.locator("#t-odd thead button", has_text="name").click()
    assert order() == [f"r{i}" for i in range(13)]  # r10 after r9

    page.locator("input.low").fill("-0.25")
    page.locator("input.high").fill("7")
    assert order() == ["r0", "r3", "r6", "r7", "r10", "r11"]
    assert page.locator(".tools .count").inner_text() == "6 of 13 rows shown"
    page.locator("input.low").fill("")
    page.locator("input.high").fill("")
    page.locator("input.filter").fill("R1")
    assert order() == ["r1", "r10", "r11", "r12"]
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(order()) == len(VALUES)  # paper hides nothing
    page.close()


@pytest.mark.parametrize("width", [800, 1280])
def test_no_page_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details:not(.zoom)').forEach(d => { d.open = true; })")
    page.wait_for_timeout(30)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.evaluate("""() => [...document.querySelectorAll("table.data, figure .drawing, pre, .finding")]
        .filter(e => (e.closest(".scroll") || e).getBoundingClientRect().right > innerWidth)
        .map(e => e.id || e.className)""")
    assert cut == []
    told = page.evaluate("""() => [...document.querySelectorAll(".frame > .scroll")]
        .filter(s => s.offsetParent).map(s => { const next = s.parentNode.nextElementSibling;
          return [s.scrollWidth > s.clientWidth + 2, !!next && next.matches(".sideways")]; })""")
    assert [wide for wide, _ in told] == [said for _, said in told]
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.locator(".chip").first.click()
    found = page.evaluate(_CONTRAST)
    assert len(found) > 200
    weak = [text for ratio, big, text in found if ratio < (LARGE if big else SMALL)]
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    assert weak == []
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    page.emulate_media(color_scheme="dark")
    card = page.locator("svg.live").first.evaluate("e => getComputedStyle(e).backgroundColor")
    page.emulate_media(color_scheme="light")
    assert card == "rgb(255, 255, 255)"


def test_paper_shows_everything_and_no_controls(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details.listing').forEach(d => { d.open = false; })")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.listing:not([open])").count() == 0
    for control in ("nav.toc", ".tools", ".follow", ".lookup", ".skip"):
        assert not any(e.is_visible() for e in page.locator(control).all())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen", color_scheme="light")
    assert page.locator("details.listing[open]").count() == 0


def test_without_script_the_page_is_complete(browser: Browser, address: str, result: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    for control in (".tools", ".follow", ".lookup", "#who"):
        assert not any(e.is_visible() for e in page.locator(control).all())
    assert page.locator("figure svg.live").count() >= 4
    assert page.locator("figure .drawing").first.is_visible()
    assert page.locator("table.data").count() >= 8
    label = str(page.locator("svg.live").first.get_attribute("aria-label"))
    assert re.match(r"Figure \d+: ", label)
    context.close()


def test_no_table_is_wider_than_the_paper(
    browser: Browser, trial: pb.PDResult, trial_review: Review, tmp_path: Path
) -> None:
    """A4 less its margins is 182 mm, 688 CSS pixels: wider, and a browser prints everything smaller."""
    path = tmp_path / "review.html"
    document = build(trial.study, trial, trial_review)
    tables = tuple(
        Section(s.key, s.title, tuple(b for b in s.blocks if isinstance(b, Table))) for s in document.sections
    )
    page_text = render_html(dataclasses.replace(document, sections=tables))
    path.write_text(page_text, encoding="utf-8", newline="\n")
    paper = browser.new_page(viewport={"width": 688, "height": 1000})
    paper.emulate_media(media="print")
    paper.goto(path.as_uri())
    wide = paper.evaluate(
        """() => { document.querySelectorAll("details:not(.zoom)").forEach(d => { d.open = true; });
        return [...document.querySelectorAll("table.data")]
          .filter(t => t.getBoundingClientRect().right > 689).map(t => t.id); }"""
    )
    many = paper.locator("table.many").count()
    paper.close()
    assert wide == []
    assert many >= 5
