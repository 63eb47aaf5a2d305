"""The model of a report's content: what is said, shown and listed, before any format.

A writer turns a :class:`Document` into a file. Nothing here knows HTML, and nothing in a writer computes a
number: a cell holds the value as the result has it, and its column says how it is written.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, Literal

from matplotlib.figure import Figure as Drawing

from pdbiomarker.plot.numbers import MISSING, format_number, format_p
from pdbiomarker.plot.style import words_of

__all__ = [
    "Block",
    "Cell",
    "Column",
    "Document",
    "Every",
    "Fact",
    "Figure",
    "KeyFinding",
    "Level",
    "Notice",
    "Person",
    "Picture",
    "RuleLine",
    "Section",
    "Table",
    "Text",
    "ThumbnailRow",
    "Thumbnails",
    "Views",
    "numbered",
    "rules_table",
    "sheet_names",
]

#: What a cell can hold.
Cell = str | int | float | bool | None
#: How a column is written.
Format = Literal["text", "name", "id", "code", "number", "df", "p"]
Tone = Literal["good", "caution", "neutral", "missing", "simulated"]
#: Where the slides of a meeting show a block: among the messages, behind the divider, or not at all.
Level = Literal["main", "appendix", "workbook"]


@dataclasses.dataclass(frozen=True)
class Text:
    """Paragraphs. ``code`` keeps line ends and uses a fixed-width face."""

    template: ClassVar[str] = "text"
    paragraphs: tuple[str, ...]
    style: Literal["prose", "note", "code"] = "prose"


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    key : str
        Unique in the document; ASCII letters, digits and hyphens.
    caption : str
        What is shown, with the n; its last sentence, ``Options: ...``, names the options used.
    draw : callable
        Gives the drawing; :func:`pdbiomarker.report.blocks.drawn` makes one that draws once and keeps it, so
        that all writers share one drawing.
    wide : bool
        Whether it wants the full width; two figures that do not may share a row.
    message : str
        What it says, in a sentence with its number; empty where nobody wrote one.
    level : {"main", "appendix", "workbook"}
        Where the slides show it; the other formats show everything.
    sources : tuple of str
        Keys of tables, and names of complete results, that hold its numbers.
    projected : callable or None
        Another drawing of the same rows for a slide, with fewer and larger words; by default `draw`.
    """

    template: ClassVar[str] = "figure"
    key: str
    caption: str
    draw: Callable[[], Drawing]
    wide: bool = True
    message: str = ""
    level: Level = "workbook"
    sources: tuple[str, ...] = ()
    projected: Callable[[], Drawing] | None = None

    @property
    def title(self) -> str:
        """The title that stands in the drawing."""
        return words_of(self.draw())[0]

    @property
    def alt(self) -> str:
        """What is seen, for those who cannot see it: titles and numbers of the drawing, else the caption."""
        return words_of(self.draw())[1] or self.caption


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table: its heading, how its values are written, and whether a narrow page may hide it."""

    label: str
    format: Format = "text"
    minor: bool = False

    @property
    def numeric(self) -> bool:
        """Whether values stand flush right and sort as numbers."""
        return self.format in {"number", "df", "p"}

    def write(self, value: Cell) -> str:
        """Write a value of this column, the same in every format of the report."""
        if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124
            return MISSING if self.numeric else ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str):
            return value
        if self.format == "df":
            return f"{value:,.1f}".removesuffix(".0")
        return format_p(float(value)) if self.format == "p" else format_number(value)


@dataclasses.dataclass(frozen=True)
class Every:
    """All rows behind a table that shows the first of them, for a format in which a reader can search.

    Attributes
    ----------
    columns : tuple of Column
        The first two name a row: its name and its id.
    values : tuple of tuples
        One for each column, as long as there are rows.
    places : tuple of two tuples
        x and y of each row in the figure, in its axes' units; None where it has none.
    figure : str
        The key of the figure whose first axes show all rows.
    """

    columns: tuple[Column, ...]
    values: tuple[tuple[Cell, ...], ...]
    places: tuple[tuple[float | None, ...], tuple[float | None, ...]]
    figure: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with its caption.

    Attributes
    ----------
    collapsed : bool
        Whether a reader opens it when wanted.
    total : int or None
        Rows of the complete table when only the first are here; the caption then says where the rest is.
    every : Every or None
        Those rows, where a reader may look one up.
    message, level
        As of a figure.
    """

    template: ClassVar[str] = "table"
    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    collapsed: bool = False
    total: int | None = None
    every: Every | None = None
    message: str = ""
    level: Level = "workbook"


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image as JPEG bytes, and its width as a share of the widest of its kind: shown so, scales agree."""

    data: bytes
    share: float


#: A slide: its title, its overview, a field of it.
type Views = tuple[str, Picture | None, Picture | None]


@dataclasses.dataclass(frozen=True)
class ThumbnailRow:
    """One participant's images; `message` puts it on a slide.

    Attributes
    ----------
    make : callable
        Gives the images, reduced once for all rows when the first writer asks for them: most of the time
        that a report of many slides takes, and a workbook needs none.
    slides : int
        How many of them have a picture.
    """

    participant: str
    make: Callable[[], tuple[Views, ...]]
    slides: int
    message: str = ""

    @property
    def images(self) -> tuple[Views, ...]:
        """Per slide a title, an overview and a field."""
        return self.make()


@dataclasses.dataclass(frozen=True)
class Thumbnails:
    """Slides, before and on treatment side by side, one row per participant; JPEG bytes."""

    template: ClassVar[str] = "thumbnails"
    key: str
    caption: str
    rows: tuple[ThumbnailRow, ...]


Block = Text | Figure | Table | Thumbnails


@dataclasses.dataclass(frozen=True)
class Section:
    """A section: its key (an anchor), its title and its blocks."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclasses.dataclass(frozen=True)
class Notice:
    """A banner at the top: whether the data are simulated, and how complete they are."""

    text: str
    tone: Tone
    details: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Fact:
    """A name and a value in the head of the report."""

    name: str
    value: str


@dataclasses.dataclass(frozen=True)
class RuleLine:
    """One decision rule on a feature.

    Attributes
    ----------
    verdict, rule, asks, observed : str
        What it says, its name, its criterion, and what was seen.
    if_inert, if_target : str
        How often it would say so if the drug did nothing, and at the true effect that it is to find.
    note : str
        Why it is not evaluable.
    capped : str
        Why its own verdict, which was go, counts as consider only.
    """

    verdict: str
    rule: str
    asks: str
    observed: str
    if_inert: str
    if_target: str
    note: str = ""
    capped: str = ""


def rules_table(rules: tuple[RuleLine, ...]) -> Table:
    """Lay decision rules out as a table: what a slide has in the place of the front page's list."""
    columns = (
        *(Column("verdict", "name"), Column("what the rule asks"), Column("seen here")),
        *(Column("chance of this verdict if the drug did nothing"), Column("if the effect were real")),
    )
    rows = tuple(
        (line.verdict, line.asks or line.rule, line.note or line.observed, line.if_inert, line.if_target)
        for line in rules
    )
    return Table("rules", "Decision, rule by rule.", columns, rows)


@dataclasses.dataclass(frozen=True)
class Person:
    """A participant, for a format in which a reader can follow one.

    Attributes
    ----------
    participant : str
    facts : tuple of Fact
        Such as the dose, and for each primary feature the change, or why there is none.
    items : mapping of kind to ids
        The participant's biopsies, slides and libraries: ``biopsy``, ``slide``, ``library``.
    evaluable : bool
        Whether any primary feature has a change of this participant.
    """

    participant: str
    facts: tuple[Fact, ...]
    items: Mapping[str, tuple[str, ...]]
    evaluable: bool = True


@dataclasses.dataclass(frozen=True)
class KeyFinding:
    """The answer for one primary feature.

    Attributes
    ----------
    label, comparison : str
        The feature, and the visits compared.
    verdict : str
        ``Change shown``, ``Consider``, ``No change shown`` or ``Not evaluable``.
    headline : str
        The effect in large type, such as ``2.10-fold``.
    interval, n_pairs, p : str
        The basis of the verdict, each written out.
    sentence : str
        All of it in one plain sentence.
    doubts : tuple of str
        Reasons to doubt it, the strongest first.
    counted : str
        What `n_pairs` counts: evaluable pairs, or the participants of a contrast at one visit.
    decided : tuple of Fact
        What was decided: responders beyond noise, and the verdict of a rule with its error rates.
    rules : tuple of RuleLine
        The same verdicts one by one, for a format that has room for a table.
    row : tuple of str
        Assay, feature, contrast and analysis set: the row of the result that it tells.
    """

    label: str
    comparison: str
    verdict: str
    tone: Tone
    headline: str
    interval: str
    n_pairs: str
    p: str
    sentence: str
    doubts: tuple[str, ...]
    counted: str = "evaluable pairs"
    decided: tuple[Fact, ...] = ()
    rules: tuple[RuleLine, ...] = ()
    row: tuple[str, ...] = ()

    @property
    def first_doubt(self) -> str:
        """How the first of its doubts is headed."""
        missing = self.tone == "missing"
        return "Why it cannot be judged" if missing else "Strongest reason to doubt it"


@dataclasses.dataclass(frozen=True)
class Document:
    """A whole report; `people` are the participants of the study, in its order."""

    title: str
    facts: tuple[Fact, ...]
    notices: tuple[Notice, ...]
    findings: tuple[KeyFinding, ...]
    no_findings: str
    sections: tuple[Section, ...]
    people: tuple[Person, ...] = ()


def numbered(document: Document) -> dict[str, str]:
    """Number figures and tables through the document: key to ``Figure 3``, the same in every format.

    Examples
    --------
    >>> table = Table("flow", "Every step.", (Column("step"),), (("enrolled",),))
    >>> numbered(Document("Review", (), (), (), "", (Section("a", "A", (table,)),)))
    {'flow': 'Table 1'}
    """
    numbers: dict[str, str] = {}
    counts = {"figure": 0, "table": 0, "thumbnails": 0}
    for section in document.sections:
        for block in section.blocks:
            key = getattr(block, "key", None)
            if key is None:
                continue
            kind = "figure" if block.template == "thumbnails" else block.template
            counts[kind] += 1
            numbers[str(key)] = f"{kind.capitalize()} {counts[kind]}"
    return numbers


#: A spreadsheet allows so many characters in the name of a sheet.
_SHEET_NAME: Final = 31


def sheet_names(document: Document) -> dict[str, str]:
    """Name the workbook's sheet of every table, for other formats to point there: key to ``T3 flow-table``.

    Examples
    --------
    >>> table = Table("flow", "Every step.", (Column("step"),), (("enrolled",),))
    >>> sheet_names(Document("Review", (), (), (), "", (Section("a", "A", (table,)),)))
    {'flow': 'T1 flow'}
    """
    names = {}
    for key, number in numbered(document).items():
        kind, _, n = number.partition(" ")
        if kind == "Table":
            names[key] = re.sub(r"[^A-Za-z0-9 -]", "-", f"T{n} {key}")[:_SHEET_NAME].strip()
    return names
