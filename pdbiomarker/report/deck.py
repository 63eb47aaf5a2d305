"""The slide writer: 16:9, one message per slide, tables as native tables that can be edited.

The deck is for a meeting: the answer first, then who, then one message a slide with its number in the title;
behind a divider what is looked up. What is not on a slide is named on the last one, with the sheet of the
workbook that holds it. Each slide's notes give its caption and where its numbers are.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import re
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.pyplot import close
from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.enum.shapes import MSO_SHAPE
from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
from pptx.util import Emu, Inches

from pdbiomarker.plot.style import render_png
from pdbiomarker.report.agenda import rank_of
from pdbiomarker.report.content import (
    Column,
    Document,
    Fact,
    Figure,
    KeyFinding,
    Level,
    Notice,
    Picture,
    Section,
    Table,
    Text,
    ThumbnailRow,
    Thumbnails,
    Tone,
    numbered,
    rules_table,
    sheet_names,
)
from pdbiomarker.report.deck_layout import (
    HEIGHT,
    INNER,
    MARGIN,
    WIDTH,
    Layout,
    bold_width,
    box,
    describe,
    fill_shape,
    line,
    lines_of,
    short,
    text_height,
    titled_once,
    without_clock,
    write_cell,
)

__all__ = ["render_deck"]

_TOP: Final = 1.3
_BOTTOM: Final = 6.95
#: Where the foot of a slide begins.
_FOOT: Final = 7.1
#: Larger type than this is that of a first reason to doubt.
_SMALL: Final = 12
#: Layouts of the default template: a slide with a title, and one without anything.
_TITLED: Final = 5
_BLANK: Final = 6
#: Characters of text that a slide of small type in two columns holds.
_CHARACTERS: Final = 4_300
#: A longer paragraph goes on over the end of a column.
_LONGEST_PIECE: Final = 420
_LONGEST_TITLE: Final = 180
#: An effect of at most so many characters stands in very large type.
_SHORT_EFFECT: Final = 12
#: So many slides of small type at most.
_MOST_READ: Final = 2
#: Sections whose paragraphs are slides of the appendix.
_READ: Final = ("methods",)
#: Sections that say themselves what they hold; their paragraphs are no gap.
_SAID_ELSEWHERE: Final = frozenset({"methods", "provenance", "cuts"})

_INK: Final = RGBColor(0x17, 0x25, 0x2D)
_MUTED: Final = RGBColor(0x56, 0x65, 0x6D)
_ACCENT: Final = RGBColor(0x0B, 0x64, 0x77)
_WHITE: Final = RGBColor(0xFF, 0xFF, 0xFF)
_HEAD: Final = RGBColor(0xEA, 0xF0, 0xF2)
_STRIPE: Final = RGBColor(0xF7, 0xFA, 0xFA)
_TONES: Final[dict[Tone, RGBColor]] = {
    "good": RGBColor(0x14, 0x68, 0x4F),
    "caution": RGBColor(0x8A, 0x4B, 0x08),
    "neutral": RGBColor(0x4C, 0x5A, 0x62),
    "missing": RGBColor(0x4C, 0x5A, 0x62),
    "simulated": RGBColor(0x7A, 0x20, 0x48),
}


def render_deck(document: Document) -> bytes:
    """Write a document as slides (.pptx).

    Parameters
    ----------
    document : Document

    Returns
    -------
    bytes
        A title slide, one slide for each finding, one for each block of level ``main``, a divider, those of
        level ``appendix`` and the methods, and a list of what is not on slides. The same bytes for the same
        content.
    """
    deck = _Deck(document)
    deck.front()
    for finding in document.findings:
        deck.finding(finding)
    deck.blocks("main")
    deck.gaps()
    deck.divider()
    deck.blocks("appendix")
    for section in document.sections:
        if section.key in _READ:
            deck.reading(section)
    deck.left_out()
    return deck.finish()


class _Deck:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.numbers = numbered(document)
        self.sheets = sheet_names(document)
        self.cutoff = next((f.value for f in document.facts if f.name == "Data cut-off"), "not stated")
        self.part = ""
        self.show = Presentation()
        self.show.slide_width, self.show.slide_height = Inches(WIDTH), Inches(HEIGHT)
        about = self.show.core_properties
        about.title, about.author, about.last_modified_by = document.title[:255], "pdbiomarker", "pdbiomarker"
        about.created = about.modified = dt.datetime(2000, 1, 1)  # no clock in the file
        about.revision = 1

    # --- front -----------------------------------------------------------------------------------------

    def front(self) -> None:
        slide = self._slide("")
        bar = slide.shapes.add_shape(MSO_SHAPE.RECTANGLE, 0, 0, Inches(0.22), Inches(HEIGHT))
        fill_shape(bar, _ACCENT)
        title = short(self.document.title, 200)
        size = 34 if len(title) <= 60 else 22
        line(box(slide, 0.8, 1.0, WIDTH - 1.6, 1.6), title, size=size, bold=True, colour=_ACCENT)
        facts = "   ·   ".join(f"{fact.name}: {short(fact.value, 90)}" for fact in self.document.facts)
        line(box(slide, 0.8, 2.65, WIDTH - 1.6, 0.8), facts, size=16, colour=_MUTED)
        top = 3.5
        for notice in self.document.notices:
            top = self._notice(slide, notice, top)
        if not self.document.findings:
            line(box(slide, 0.8, top + 0.1, WIDTH - 1.6, 0.8), self.document.no_findings, size=18)
        self._notes(slide, "Title. Hashes and versions: review.xlsx, the sheets of the section Provenance.")

    def _notice(self, slide: Any, notice: Notice, top: float) -> float:
        shown = [short(line_, 180) for line_ in notice.details[:4]]
        more = len(notice.details) - len(shown)
        lines = [*shown, *([f"and {more} more, in the report"] if more else [])]
        head = short(notice.text, 330)
        height = 0.2 + 0.3 * lines_of(head, 105) + sum(0.28 * lines_of(text, 130) for text in lines)
        if top + height > HEIGHT - 0.2:
            return top
        frame = box(slide, 0.8, top, WIDTH - 1.6, height)
        line(frame, head, size=16, bold=True, colour=_TONES[notice.tone])
        for text in lines:
            line(frame, f"• {text}", size=13, first=False)
        return top + height + 0.1

    def finding(self, finding: KeyFinding) -> None:
        answer = finding.headline if finding.tone != "missing" else "not evaluable"
        slide = self._slide(f"{finding.label}: {answer}, {finding.comparison}", "The answer")
        ruled = bool(finding.rules)  # then the room is the decision's, and the notes have the sentence
        pill = slide.shapes.add_shape(
            MSO_SHAPE.ROUNDED_RECTANGLE, Inches(MARGIN), Inches(1.35), Inches(2.5), Inches(0.5)
        )
        fill_shape(pill, _TONES[finding.tone])
        line(pill.text_frame, finding.verdict, size=16, bold=True, colour=_WHITE, align=PP_ALIGN.CENTER)
        self._measures(slide, finding, *((3.2, 1.22) if ruled else (MARGIN, 2.0)))
        told = [] if ruled else [(short(finding.sentence, 420), 18)]
        facts = [fact for fact in finding.decided if not ruled or fact.name != "decision"]
        told += [
            (f"{fact.name}: {short(_brief(fact) if ruled else fact.value, 520)}", 13 if ruled else 14)
            for fact in facts
        ]
        top = 2.25 if ruled else 3.2
        frame = box(slide, MARGIN, top, INNER, 0.9)
        for position, (text, size) in enumerate(told):
            line(frame, text, size=size, first=position == 0, after=3)
            top += text_height(text, size)
        below = self._doubts(slide, finding)
        if finding.rules:
            self._rules(slide, finding, top + 0.15, below)
        whole = " ".join(f"{fact.name}: {fact.value}" for fact in facts) if ruled else ""
        self._notes(slide, f"{finding.sentence} {whole} {self._traced(finding)}")

    def _measures(self, slide: Any, finding: KeyFinding, left: float, top: float) -> None:
        """Effect, interval, pairs and evidence beside each other, each as wide as its words."""
        measures = (
            ("effect", finding.headline),
            ("95 % CI", finding.interval),
            (finding.counted, finding.n_pairs),
            ("evidence", finding.p),
        )
        for size in (20, 18, 16, 14):
            sizes = [32 if n == "effect" and len(v) <= _SHORT_EFFECT else size for n, v in measures]
            widths = [bold_width((n, 14), (v, s)) for (n, v), s in zip(measures, sizes, strict=True)]
            spare = WIDTH - MARGIN - left - sum(widths)
            if spare >= 0:
                break
        for (name, value), size, width in zip(measures, sizes, widths, strict=True):
            frame = box(slide, left, top, width, 1.0)
            line(frame, name, size=14, colour=_MUTED)
            colour = _ACCENT if name == "effect" else _INK
            line(frame, value, size=size, bold=True, colour=colour, first=False)
            left += width + max(0.0, min(0.6, spare / 3))

    def _rules(self, slide: Any, finding: KeyFinding, top: float, bottom: float) -> None:
        """The decision as a table, as on the front page; where it is too long, its strongest verdicts."""
        table = rules_table(finding.rules)
        layout = Layout.of(table, bottom - top - 0.3)
        self._grid(slide, layout, top)
        left = len(table.rows) - layout.rows
        caps = "; ".join(dict.fromkeys(rule.capped for rule in finding.rules if rule.capped))
        told = f"A rule that says go counts as consider here: {caps}. " if caps else ""
        told += f"{left} more in the section Decisions." if left else ""
        below = top + layout.head_height + sum(layout.heights[: layout.rows])
        if told:
            line(box(slide, MARGIN, below + 0.02, INNER, 0.28), short(told, 160), size=11, colour=_MUTED)

    def _doubts(self, slide: Any, finding: KeyFinding) -> float:
        """The reasons to doubt a finding, down to the foot of the slide; give where they begin."""
        shown = 2 if finding.rules else 3
        told = [
            (f"{finding.first_doubt}: {short(doubt, 260)}", 14 if finding.rules else 16)
            if position == 0
            else (f"• {short(doubt, 200)}", 12)
            for position, doubt in enumerate(finding.doubts[:shown])
        ]
        more = len(finding.doubts) - shown
        told += [(f"and {more} more, in the report", 12)] if more > 0 else []
        top = _FOOT - 0.1 - sum(text_height(text, size, bold=size > _SMALL) for text, size in told)
        top = top if finding.rules else min(top, 5.35)
        frame = box(slide, MARGIN, top, INNER, _FOOT - top)
        for position, (text, size) in enumerate(told):
            last = more > 0 and position == len(told) - 1
            colour = _MUTED if last else _INK
            line(frame, text, size=size, bold=position == 0, colour=colour, first=position == 0, after=3)
        return top

    def _traced(self, finding: KeyFinding) -> str:
        row = ", ".join(finding.row)
        return f"Numbers: review.xlsx, sheet 'Trace' ({row})." if row else ""

    # --- blocks ----------------------------------------------------------------------------------------

    def blocks(self, level: Level) -> None:
        """Write the blocks of a level in the order of the meeting."""
        found = [
            (section, block)
            for section in self.document.sections
            for block in section.blocks
            if isinstance(block, Thumbnails) or getattr(block, "level", "") == level
        ]
        for section, block in sorted(found, key=lambda pair: rank_of(pair[1])):
            if isinstance(block, Figure):
                self._figure(section, block)
            elif isinstance(block, Table):
                self._table(section, block)
            elif isinstance(block, Thumbnails) and level == "main":
                for person in block.rows:
                    if person.message:
                        self._person(section, block, person)

    def _figure(self, section: Section, figure: Figure) -> None:
        message, rest = _message(figure)
        slide = self._slide(message, section.title)
        drawing = (figure.projected or figure.draw)()
        with titled_once(drawing, message):
            data = render_png(drawing, dpi=180)
        width, height = drawing.get_size_inches()
        close(drawing)
        caption = 0.2 * lines_of(rest, 178) + 0.2
        scale = min(INNER / width, (_BOTTOM - _TOP - caption) / height)
        left = (WIDTH - width * scale) / 2
        shape = slide.shapes.add_picture(
            io.BytesIO(data), Inches(left), Inches(_TOP), Inches(width * scale), Inches(height * scale)
        )
        describe(shape, f"{message}. {figure.alt}")
        self._caption(slide, figure.key, rest, _TOP + height * scale + 0.03)
        sheets = ", ".join(repr(self.sheets.get(s, s)) for s in figure.sources)
        told = f"Numbers: review.xlsx, sheets {sheets}." if sheets else ""
        self._notes(slide, f"{self.numbers[figure.key]}. {figure.caption} {told}")

    def _caption(self, slide: Any, key: str, caption: str, top: float) -> None:
        told = f"{self.numbers[key]}. {caption}".strip()
        line(box(slide, MARGIN, top, INNER, 0.5), short(told, 520), size=12, colour=_MUTED)

    def _person(self, section: Section, block: Thumbnails, person: ThumbnailRow) -> None:
        """Both visits of a participant side by side: the overview, a field beside it, at one scale."""
        shown = person.images[:2] if len(person.images) <= 2 else (person.images[0], person.images[-1])
        slide = self._slide(person.message, section.title)
        for position, (title, overview, view) in enumerate(shown):
            left = MARGIN + position * (INNER / 2 + 0.05)
            line(box(slide, left, _TOP, INNER / 2, 0.35), short(title, 80), size=12, colour=_MUTED)
            widths = (0.4 * (INNER / 2 - 0.2), 0.6 * (INNER / 2 - 0.2))
            for column, picture in enumerate((overview, view)):
                said = f"{person.participant}, {title}, {'field' if column else 'overview'}"
                at = left + column * (widths[0] + 0.1)
                self._picture(slide, picture, at, widths[column], said)
        pictured = sum(bool(row.message) for row in block.rows)
        told = (
            f"{pictured} of {len(block.rows)} participants are on slides; all in review.html. {block.caption}"
        )
        self._caption(slide, block.key, told, 6.2)
        self._notes(slide, f"{self.numbers[block.key]}. {block.caption}")

    def _picture(self, slide: Any, picture: Picture | None, left: float, width: float, said: str) -> None:
        top = _TOP + 0.4
        if picture is None:
            line(box(slide, left, top, width, 0.4), "no image", size=12, colour=_MUTED)
            return
        shape = slide.shapes.add_picture(
            io.BytesIO(picture.data), Inches(left), Inches(top), Inches(width * picture.share)
        )
        limit = Inches(6.15 - top)
        if shape.height > limit:
            shape.width, shape.height = Emu(int(shape.width * limit / shape.height)), limit
        describe(shape, said)

    def _table(self, section: Section, table: Table) -> None:
        message, rest = _message(table)
        caption = f"{self.numbers[table.key]}. {rest}".strip()
        above = 0.2 * lines_of(short(caption, 520), 178) + 0.15
        top = _TOP - 0.1 + above
        layout = Layout.of(table, _BOTTOM - top - 0.05)
        slide = self._slide(message, section.title)
        self._caption(slide, table.key, rest, _TOP - 0.12)
        self._grid(slide, layout, top)
        told = self._rest_of(table, layout)
        if told:
            line(box(slide, MARGIN, _BOTTOM - 0.12, INNER, 0.3), told, size=11, colour=_MUTED)
        sheet = self.sheets.get(table.key, "")
        self._notes(slide, f"{caption} Complete: review.xlsx, sheet {sheet!r}.")

    def _rest_of(self, table: Table, layout: Layout) -> str:
        """Say which rows and columns the slide does not show, and where they are."""
        total = max(len(table.rows), table.total or 0)
        told = [f"The first {layout.rows} of {total:,} rows"] if layout.rows < total else []
        if layout.hidden:
            told.append("without the columns " + ", ".join(c.label or "(no heading)" for c in layout.hidden))
        where = f"review.xlsx, sheet {self.sheets.get(table.key, '')!r}"
        words = short(", ".join(told), 130)
        return f"{words[:1].upper()}{words[1:]}; all in {where}." if told else ""

    def _grid(self, slide: Any, layout: Layout, top: float) -> None:
        heights = [layout.head_height, *layout.heights[: layout.rows]]
        shape = slide.shapes.add_table(
            len(heights),
            len(layout.columns),
            Inches(MARGIN),
            Inches(top),
            Inches(sum(layout.widths)),
            Inches(sum(heights)),
        )
        grid = shape.table
        for column, width in enumerate(layout.widths):
            grid.columns[column].width = Inches(width)
        for row, height in enumerate(heights):
            grid.rows[row].height = Inches(height)
        for column, head in enumerate(layout.columns):
            write_cell(grid.cell(0, column), head.label, head, size=layout.size, bold=True, fill=_HEAD)
            for row, texts in enumerate(layout.texts[: layout.rows], start=1):
                fill = _STRIPE if row % 2 else _WHITE
                write_cell(grid.cell(row, column), texts[column], head, size=layout.size, fill=fill)

    # --- text ------------------------------------------------------------------------------------------

    def gaps(self) -> None:
        """Say in one slide what the parts say that have nothing to show."""
        told = []
        for section in self.document.sections:
            if section.key in _SAID_ELSEWHERE or not all(isinstance(b, Text) for b in section.blocks):
                continue
            words = " ".join(p for b in section.blocks if isinstance(b, Text) for p in b.paragraphs)
            told.append((section.title, words))
        if not told:
            return
        slide = self._slide("What these data cannot show", "")
        frame = box(slide, MARGIN, _TOP, INNER, _BOTTOM - _TOP)
        for position, (title, words) in enumerate(told):
            line(frame, title, size=14, bold=True, colour=_MUTED, first=position == 0)
            line(frame, short(words, 400), size=16, first=False, after=8)
        self._notes(slide, "Parts of the report that have no figure and no table.")

    def divider(self) -> None:
        """Part what is shown from what is looked up."""
        slide = self._slide("")
        # Not over the foot and the mark of simulated data.
        bar = slide.shapes.add_shape(MSO_SHAPE.RECTANGLE, 0, Inches(0.5), Inches(WIDTH), Inches(HEIGHT - 1.0))
        fill_shape(bar, _ACCENT)
        frame = box(slide, 0.8, 2.8, WIDTH - 1.6, 1.6)
        line(frame, "Appendix", size=40, bold=True, colour=_WHITE)
        line(
            frame,
            "Question, exclusions, noise, methods, and where the rest is",
            size=18,
            colour=_WHITE,
            first=False,
        )
        self._notes(slide, "What follows is to look things up.")
        self.part = "Appendix · "

    def reading(self, section: Section) -> None:
        """Write the paragraphs of a section in small type, in two columns."""
        paragraphs = [p for b in section.blocks if isinstance(b, Text) for p in b.paragraphs]
        pages = _pages_of_text([piece for p in paragraphs for piece in _pieces(p)])
        for number, page in enumerate(pages[:_MOST_READ], start=1):
            more = f" ({number} of {len(pages)})" if len(pages) > 1 else ""
            more += (
                "; the rest: review.html, and review.xlsx, sheet 'Text'"
                if number == _MOST_READ < len(pages)
                else ""
            )
            slide = self._slide(f"{section.title}{more}", "")
            for column, texts in enumerate(_halves(page)):
                left = MARGIN + column * (INNER / 2 + 0.1)
                frame = box(slide, left, _TOP - 0.1, INNER / 2 - 0.1, _BOTTOM - _TOP + 0.1)
                for position, paragraph in enumerate(texts):
                    line(frame, paragraph, size=11, first=position == 0, after=5)
            self._notes(slide, "Complete: review.html, and review.xlsx, sheet 'Text'.")

    def left_out(self) -> None:
        """Name what is on no slide, with the sheet or the page that holds it."""
        rows = []
        for section in self.document.sections:
            blocks = [
                b for b in section.blocks if not isinstance(b, Text | Thumbnails) and b.level == "workbook"
            ]
            tables = [self.sheets[b.key] for b in blocks if isinstance(b, Table)]
            figures = [self.numbers[b.key].removeprefix("Figure ") for b in blocks if isinstance(b, Figure)]
            if blocks:
                rows.append((section.title, ", ".join(tables), ", ".join(figures)))
        if not rows:
            return
        columns = (
            Column("section", "name"),
            Column("tables: sheets of review.xlsx"),
            Column("figures: review.html, review.pdf"),
        )
        table = Table("left-out", "What is not on these slides, and where it is", columns, tuple(rows))
        room = _BOTTOM - _TOP - 0.5
        fit = Layout.of(table, room, most=24).rows
        pages = -(-len(rows) // fit)
        each = -(-len(rows) // pages)  # as many on each page, so that they are in type of about one size
        for start in range(0, len(rows), each):
            part = dataclasses.replace(table, rows=table.rows[start : start + each])
            slide = self._slide(table.caption, "")
            self._grid(slide, Layout.of(part, room, most=each), _TOP)
            told = "Complete results: review.xlsx, after the sheet 'Text'; its sheet 'Contents' names all."
            self._notes(slide, told)

    # --- parts -----------------------------------------------------------------------------------------

    def _slide(self, title: str, kicker: str = "") -> Any:
        layout = self.show.slide_layouts[_TITLED if title else _BLANK]
        slide = self.show.slides.add_slide(layout)
        kicker = f"{self.part}{kicker}".strip(" ·") if title else ""
        if title:
            title = short(title, _LONGEST_TITLE)
            size = 26 if len(title) <= 60 else 22 if len(title) <= 110 else 18
            place = slide.shapes.title  # the outline and screen readers know a slide by its title
            place.left, place.top = Inches(MARGIN), Inches(0.38)
            place.width, place.height = Inches(INNER), Inches(0.85)
            place.text_frame.word_wrap = True
            place.text_frame.vertical_anchor = MSO_ANCHOR.MIDDLE
            line(place.text_frame, title, size=size, bold=True, colour=_ACCENT)
        if kicker:
            line(box(slide, MARGIN, 0.12, INNER - 4.5, 0.3), kicker, size=12, colour=_MUTED)
        told = f"{short(self.document.title, 110)}   ·   data cut-off {short(self.cutoff, 30)}"
        told += f"   ·   {len(self.show.slides)}"
        line(box(slide, MARGIN, 7.1, INNER, 0.3), told, size=11, colour=_MUTED)
        if any(notice.tone == "simulated" for notice in self.document.notices):
            mark = box(slide, WIDTH - 4.4, 0.08, 3.9, 0.3)
            tone = _TONES["simulated"]
            line(mark, "SIMULATED DATA", size=12, bold=True, colour=tone, align=PP_ALIGN.RIGHT)
        return slide

    def _notes(self, slide: Any, text: str) -> None:
        """Give a slide the notes that its speaker reads."""
        slide.notes_slide.notes_text_frame.text = text.strip()

    def finish(self) -> bytes:
        buffer = io.BytesIO()
        self.show.save(buffer)
        return without_clock(buffer.getvalue())


def _brief(fact: Fact) -> str:
    """What was seen, without what its limit rests on: beside rules a slide has no room, and its notes do."""
    if fact.name != "beyond noise":
        return fact.value
    return f"{fact.value.partition('. ')[0].rstrip('.')}."


def _message(block: Figure | Table) -> tuple[str, str]:
    """Title of a slide, and what stands under or over the block.

    Without a sentence of its own a block has the first sentence of its caption as title.
    """
    if block.message:
        return block.message, block.caption
    first, dot, rest = block.caption.partition(". ")
    if len(first) > _LONGEST_TITLE:
        return short(first, _LONGEST_TITLE), block.caption
    return first.rstrip("."), rest if dot else ""


def _pieces(paragraph: str) -> list[str]:
    """Cut a long paragraph at the ends of its sentences or parts."""
    pieces = [""]
    for part in re.split(r"(?<=[.;]) ", paragraph):
        if pieces[-1] and len(pieces[-1]) + len(part) > _LONGEST_PIECE:
            pieces.append("")
        pieces[-1] += f" {part}" if pieces[-1] else part
    return pieces


def _pages_of_text(paragraphs: Sequence[str]) -> list[list[str]]:
    pages: list[list[str]] = [[]]
    used = 0
    for paragraph in paragraphs:
        size = len(paragraph) + 90
        if pages[-1] and used + size > _CHARACTERS:
            pages.append([])
            used = 0
        pages[-1].append(paragraph)
        used += size
    return [page for page in pages if page]


def _halves(paragraphs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part paragraphs into two columns of about the same length, in their order."""
    total = sum(map(len, paragraphs)) + 90 * len(paragraphs)
    left: list[str] = []
    used = 0
    for paragraph in paragraphs:
        if left and used + len(paragraph) / 2 > total / 2:
            break
        left.append(paragraph)
        used += len(paragraph) + 90
    return left, list(paragraphs[len(left) :])
