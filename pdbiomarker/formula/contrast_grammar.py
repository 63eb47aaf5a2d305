"""The text of a contrast, read into weighted cells. Nothing of the text is ever evaluated.

The grammar (EBNF; `docs/contrasts.md` explains it for users)::

    contrast    = combination                                     weights sum to 0
    combination = [ column ":" ] sum [ "at" setting { "," setting } ]
    sum         = [ sign ] term { sign term }                     a first sign only before "(" and weights
    term        = [ weight "*" ] ( level | "(" combination ")" ) [ "/" number ]
    weight      = number [ "/" number ]
    setting     = column "=" value | visit
    sign        = "+" | "-"

Levels may hold spaces, signs and parentheses, so a text may be read in several ways. All ways are
followed at once (a chart of what can be read from each position, at most two readings of a stretch with
the same sum of weights, at most :data:`MAX_STEPS` entries); exactly one whose weights sum to zero must
remain. Weights are exact fractions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Final, NamedTuple

from pdbiomarker.errors import FormulaError
from pdbiomarker.formula.cells import VISIT, Contrast, Part, Setting, as_contrast, merged
from pdbiomarker.formula.grammar import MAX_DEPTH, check_characters, check_text, nearest, refusal, shown

__all__ = ["MAX_CELLS", "MAX_STEPS", "NUMBER", "parse_contrast"]

#: The most cells of a contrast, as written.
MAX_CELLS: Final = 200
#: The most readings of parts of a text that are followed.
MAX_STEPS: Final = 20_000
#: A number as a value.
NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")

_QUOTED = re.compile(r"`(?:[^`]|``)*`|\"[^\"]*\"|'[^']*'")
_BACKTICKS = re.compile(r"`(?:[^`]|``)*`")
_AT = re.compile(r"\s+at(?:\s+|$)")
_SIGN = re.compile(r"\s*([-+])\s*")
_EQUALS = re.compile(r"\s*=\s*")
_COMMA = re.compile(r"\s*,\s*")
_SPACE = re.compile(r"\s*")
_OPEN = re.compile(r"\(\s*")
_CLOSE = re.compile(r"\s*\)")
_COLON = re.compile(r"\s*:\s*")
_COLUMN = re.compile(r"(?:`(?:[^`]|``)+`|[^\W\d][\w.]*(?: [\w.]+)*)(?=\s*:)")
_COUNT: Final = r"(?:[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})"
_WEIGHT = re.compile(rf"({_COUNT})(?:\s*/\s*({_COUNT}))?\s*\*\s*")
_DIVISOR = re.compile(rf"\s*/\s*({_COUNT})(?![0-9.])")
_NO_STAR = re.compile(rf"{_COUNT}\s*(?=\()")
_SPACED_SIGN = re.compile(r"\s[-+*/](?:\s|$)|\s+at(?:\s|$)")
_ANY_SIGN = re.compile(r"[-+*/]|\s+at(?:\s|$)")
_SHAPE: Final = (
    "A contrast is written LEVEL - LEVEL, or LEVEL - LEVEL at COLUMN = VALUE, "
    "or COLUMN: LEVEL - LEVEL at VISIT."
)
_BACKTICK: Final = "Put the levels in backticks."


def parse_contrast(
    text: str,
    levels: Sequence[str],
    *,
    factor: str = VISIT,
    columns: Mapping[str, Sequence[str] | None] | None = None,
) -> Contrast:
    """Read a contrast such as ``"C2D1 - screening"`` or ``"dose_mg: 10 - 3 at C2D1"``.

    Parameters
    ----------
    text : str
        One level minus another, or a weighted sum of such differences in parentheses; see the grammar.
        Levels stand as they are or in backticks or quotes; they may hold spaces and operators
        (``pre-dose``, ``Cycle 2 Day 1``).
    levels : sequence of str
        The levels of `factor`.
    factor : str
        The column of levels that stand without one.
    columns : mapping of str to sequence of str or None, optional
        The other columns, by name: their levels, None for numbers. Without it any column may be named, and
        its levels end at a sign with spaces around it, or else at any sign.

    Returns
    -------
    Contrast

    Raises
    ------
    FormulaError
        With the position: a level or column that does not exist (naming the nearest), a text that can be
        read in two ways, weights that do not sum to zero, or a text that is no contrast.

    Examples
    --------
    >>> parse_contrast("C2D1 - screening at dose_mg = 100", ["screening", "C2D1"]).at
    (('dose_mg', '100'),)
    >>> change = parse_contrast("dose_mg: 10 - 3 at C2D1", ["screening", "C2D1"])
    >>> change.minuend, change.subtrahend, change.at, change.visits
    ('10', '3', (('visit', 'C2D1'),), ('C2D1',))
    """
    check_text(text, "contrast")
    check_characters(text, text.replace("\t", " ").replace("\n", " ").replace("\r", " "), 0)
    known: dict[str, tuple[str, ...] | None] = {factor: tuple(str(level) for level in levels)}
    for name, others in (columns or {}).items():
        known.setdefault(name, None if others is None else tuple(str(level) for level in others))
    try:
        return _Reader(text, factor, known, None).contrast()
    except FormulaError:
        if columns is not None or ":" not in text:
            raise
    try:
        return _Reader(text, factor, known, _SPACED_SIGN).contrast()
    except FormulaError:
        return _Reader(text, factor, known, _ANY_SIGN).contrast()


class _Item(NamedTuple):
    """One reading of a stretch of text that ends at `end`; `last` is where a bare level at its end starts."""

    end: int
    total: Fraction
    parts: tuple[Part, ...]
    last: int = -1

    def times(self, weight: Fraction, end: int) -> _Item:
        parts = tuple(Part(part.weight * weight, part.settings) for part in self.parts)
        return _Item(end, self.total * weight, parts, self.last if end == self.end else -1)


class _Found:
    """Readings, at most two for each end and sum of weights: enough to tell that there are several."""

    def __init__(self) -> None:
        self._items: dict[tuple[int, Fraction], list[_Item]] = {}

    def add(self, item: _Item) -> bool:
        kept = self._items.setdefault((item.end, item.total), [])
        if len(kept) > 1 or any(other.parts == item.parts for other in kept):
            return False
        kept.append(item)
        return True

    def all(self) -> list[_Item]:
        return [item for kept in self._items.values() for item in kept]


class _Reader:
    """Recursive descent that follows every reading; one method per line of the grammar."""

    def __init__(
        self,
        text: str,
        factor: str,
        known: Mapping[str, tuple[str, ...] | None],
        stop: re.Pattern[str] | None,
    ) -> None:
        self.text = text
        self.factor = factor
        self.known = known
        self.stop = stop  # ends a level of a column that is not known; None: all are known
        self.sorted = {
            name: sorted(filter(None, set(levels)), key=lambda level: (-len(level), level))
            for name, levels in known.items()
            if levels is not None
        }
        self.memo: dict[tuple[int, str], list[_Item]] = {}
        self.steps = 0
        self.reach = -1
        self.error: FormulaError | None = None

    def fail(self, reach: int, build: Callable[[], FormulaError]) -> None:
        """Keep the refusal that got furthest."""
        if reach > self.reach:
            self.reach, self.error = reach, build()

    def step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise refusal(self.text, 0, "The contrast has too many readings.", remedy=_BACKTICK)

    # -- the whole -----------------------------------------------------------------------------------

    def contrast(self) -> Contrast:
        start = self.skip(0)
        if not self.text[start:]:
            raise refusal(self.text, start, "There is no ' - ' between two levels.", remedy=_SHAPE)
        whole: list[_Item] = []
        for item in self.combination(start, self.factor, 0):
            if self.text[item.end :].strip():
                self.fail(self.skip(item.end), partial(self._trailing, item))
            else:
                whole.append(item)
        readings = [(item, merged(item.parts)) for item in whole]
        valid = [parts for item, parts in readings if item.total == 0 and parts]
        if not valid:
            if readings:
                raise self._no_contrast(whole[0])
            raise self.error or refusal(self.text, start, "Expected a level.", remedy=_SHAPE)
        distinct = list(
            dict.fromkeys(as_contrast(parts, self.text, self.known.get(VISIT)) for parts in valid)
        )
        if len(distinct) > 1 and self.stop is None:
            message = "The contrast can be read in more than one way."
            raise refusal(self.text, 0, message, remedy=_BACKTICK)
        return distinct[0]

    def _no_contrast(self, item: _Item) -> FormulaError:
        start = self.skip(0)
        if item.total == 0:
            value = item.parts[0].settings[0].value
            message = "A level minus itself is nothing."
            return refusal(self.text, start, message, remedy="Name two levels.", value=value)
        if len(item.parts) == 1:
            message = "Expected '-' and a second level."
            return refusal(self.text, len(self.text.rstrip()), message, remedy=_SHAPE)
        return refusal(
            self.text,
            start,
            f"The weights of the levels sum to {float(item.total):.6g}; in a contrast they sum to 0.",
            remedy="Write for instance (A + B)/2 - C for a mean minus a level, and (A - B) - (C - D) for a "
            "difference of differences.",
        )

    def _trailing(self, item: _Item) -> FormulaError:
        """What stands behind a reading that could end here."""
        at = self.skip(item.end)
        dash = re.search("[\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}]", self.text)
        if dash is not None:
            message = f"{dash.group()!r} is not the sign '-'."
            return refusal(self.text, dash.start(), message, remedy="Write the hyphen of the keyboard.")
        if self.text[at] == ")":
            return refusal(self.text, at, "This parenthesis closes none.", remedy=_SHAPE)
        if _SIGN.search(self.text) is None:
            message = "There is no ' - ' between two levels."
            return refusal(self.text, at, message, remedy=_SHAPE, value=self.text)
        if item.last >= 0 and self.text[at] not in ",=":
            return self._unknown(item.last, item.parts[-1].settings[0].column)
        return refusal(self.text, at, "Expected '+', '-', 'at' or the end.", remedy=_SHAPE)

    # -- the lines of the grammar --------------------------------------------------------------------

    def combination(self, at: int, factor: str, depth: int) -> list[_Item]:
        if (at, factor) in self.memo:
            return self.memo[at, factor]
        found = _Found()
        for column, start in self._prefixes(at, factor):
            for item in self.sum(start, column, depth):
                self.step()
                found.add(item)
                clause = _AT.match(self.text, item.end)
                held = self.settings(clause.end(), item, depth) if clause else None
                if held is not None:
                    found.add(held)
        self.memo[at, factor] = found.all()
        return self.memo[at, factor]

    def sum(self, at: int, factor: str, depth: int) -> list[_Item]:
        found = _Found()
        sign = _SIGN.match(self.text, at)
        queue = [item for item in self.term(at, factor, depth) if found.add(item)]
        if sign is not None:
            minus = Fraction(-1 if sign.group(1) == "-" else 1)
            for item in self.term(sign.end(), factor, depth, bare=False):
                signed = item.times(minus, item.end)
                queue += [signed] if found.add(signed) else []
        for left in queue:
            self.step()
            sign = _SIGN.match(self.text, left.end)
            if sign is None:
                continue
            minus = Fraction(-1 if sign.group(1) == "-" else 1)
            for right in self.term(sign.end(), factor, depth):
                parts = left.parts + right.times(minus, right.end).parts
                if len(parts) > MAX_CELLS:
                    message = f"A contrast names at most {MAX_CELLS} levels."
                    raise refusal(self.text, sign.start(), message, remedy="Shorten it.")
                joined = _Item(right.end, left.total + minus * right.total, parts, right.last)
                queue += [joined] if found.add(joined) else []
        return found.all()

    def term(self, at: int, factor: str, depth: int, *, bare: bool = True) -> Iterator[_Item]:
        """Read ``[weight *] level [/ number]``; with `bare` false, a level only behind a weight."""
        starts = [(at, Fraction(1), bare)]
        weight = _WEIGHT.match(self.text, at)
        if weight is not None:
            number = self._ratio(weight)
            starts += [] if number is None else [(weight.end(), number, True)]
        elif star := _NO_STAR.match(self.text, at):
            where = star.end()
            self.fail(
                where,
                lambda: refusal(self.text, where, "Expected '*' between weight and '('.", remedy=_SHAPE),
            )
        for start, number, level in starts:
            for item in self.primary(start, factor, depth, bare=level):
                yield item.times(number, item.end) if number != 1 else item
                divisor = _DIVISOR.match(self.text, item.end)
                if divisor is not None and Fraction(divisor.group(1)):
                    yield item.times(number / Fraction(divisor.group(1)), divisor.end())
                elif divisor is not None:
                    self._zero(divisor.start(1), divisor.end())

    def _ratio(self, match: re.Match[str]) -> Fraction | None:
        over = Fraction(match.group(2) or 1)
        if not over or not Fraction(match.group(1)):
            self._zero(match.start(1 if over else 2), match.end())
            return None
        return Fraction(match.group(1)) / over

    def _zero(self, at: int, reach: int) -> None:
        self.fail(reach, lambda: refusal(self.text, at, "A weight or divisor is not zero.", remedy=_SHAPE))

    def primary(self, at: int, factor: str, depth: int, *, bare: bool) -> Iterator[_Item]:
        opened = _OPEN.match(self.text, at)
        if opened is not None:
            if depth >= MAX_DEPTH:
                message = f"Parentheses nest at most {MAX_DEPTH} deep."
                raise refusal(self.text, at, message, remedy="Write it with fewer.")
            for item in self.combination(opened.end(), factor, depth + 1):
                closed = _CLOSE.match(self.text, item.end)
                if closed is not None:
                    yield _Item(closed.end(), item.total, item.parts)
                else:
                    self.fail(self.skip(item.end), partial(self._unclosed, item.end))
        if not bare:
            if opened is None:
                self.fail(at - 1, lambda: refusal(self.text, at, "Expected a level.", remedy=_SHAPE))
            return
        matched = False
        for level, end in self._levels(at, factor):
            matched = True
            self.step()
            yield _Item(end, Fraction(1), (Part(Fraction(1), (Setting(factor, level, at),)),), at)
        if not matched and opened is None:
            self.fail(at, lambda: self._unknown(at, factor))

    def _unclosed(self, end: int) -> FormulaError:
        return refusal(self.text, self.skip(end), "Expected '+', '-', 'at' or ')'.", remedy=_SHAPE)

    def _twice(self, at: int, message: str) -> FormulaError:
        return refusal(self.text, at, message, remedy="Keep one value.")

    def settings(self, at: int, item: _Item, depth: int) -> _Item | None:
        """Hold columns of every cell of `item` at values: ``COLUMN = VALUE, ...``."""
        found: dict[str, Setting] = {}
        bare = all(s.column != VISIT for part in item.parts for s in part.settings)
        while True:
            read = self._setting(at, bare=bare)
            if read is None:
                return None
            end, setting, where = read
            taken = [s.column for part in item.parts for s in part.settings[:1]]
            inner = [s.column for part in item.parts for s in part.settings]
            if setting.column in found or setting.column in inner:
                compared = setting.column in taken and setting.column not in found
                why = "is the factor compared" if compared else "is held twice"
                self.fail(end, partial(self._twice, where, f"Column {shown(setting.column)} {why}."))
                return None
            found[setting.column] = setting
            comma = _COMMA.match(self.text, end)
            if comma is None:
                break
            at = comma.end()
        rest = self.skip(end)
        if self.text[rest:] and not (depth and self.text[rest] == ")"):
            remedy = f"Put each part of a sum in parentheses. {_SHAPE}"
            message = "Expected ',' or the end after a value."
            self.fail(rest, lambda: refusal(self.text, rest, message, remedy=remedy))
            return None
        held = tuple(found.values())
        parts = tuple(Part(part.weight, part.settings + held) for part in item.parts)
        return _Item(end, item.total, parts)

    def _setting(self, at: int, *, bare: bool) -> tuple[int, Setting, int] | None:
        """One ``COLUMN = VALUE`` or bare visit: its end, itself, and where it starts."""
        visit = self._bare_visit(at) if bare else None
        if visit is not None:
            return visit[1], Setting(VISIT, visit[0], at), at
        quoted = _BACKTICKS.match(self.text, at)
        stop = quoted.end() if quoted else at + _balanced(self.text[at:], "=,`")
        name = self.text[at:stop].strip()
        if not name:
            message = "Expected the name of a column after 'at'."
            self.fail(at, lambda: refusal(self.text, at, message, remedy=_SHAPE))
            return None
        equals = _EQUALS.match(self.text, stop)
        if equals is None:
            self.fail(stop, lambda: self._no_equals(at, name, bare=bare))
            return None
        start = equals.end()
        value = self._value(start)
        if value is None:
            self.fail(start, lambda: refusal(self.text, start, "Expected a value after '='.", remedy=_SHAPE))
            return None
        column = _unquote(name) if quoted else name
        levels = self.known.get(column)
        number = levels is None and column in self.known
        if (levels is not None and value[0] not in levels) or (number and not NUMBER.fullmatch(value[0])):
            self.fail(value[1], partial(self._no_level, start, column, value[0]))
            return None
        return value[1], Setting(column, value[0], start), at

    def _no_level(self, at: int, column: str, value: str) -> FormulaError:
        levels = self.known[column]
        if levels is None:
            message = f"Column {shown(column)} is held at a finite number."
            remedy = f"For example: at {column} = 1; put each part of a sum in parentheses."
        else:
            message = f"Column {shown(column)} has no such level."
            remedy = nearest(value, levels)
        return refusal(self.text, at, message, remedy=remedy, value=value, code=5)

    def _no_equals(self, at: int, name: str, *, bare: bool) -> FormulaError:
        visits = self.known.get(VISIT) or ()
        if bare and visits:
            message = "Expected '=' after the column; it is not a visit."
            return refusal(self.text, at, message, remedy=f"{nearest(name, visits)} {_SHAPE}", value=name)
        return refusal(self.text, at + len(name), "Expected '=' after the column.", remedy=_SHAPE)

    def _bare_visit(self, at: int) -> tuple[str, int] | None:
        for level, end in self._levels(at, VISIT) if VISIT in self.known else ():
            rest = self.skip(end)
            if not self.text[rest:] or self.text[rest] in ",)":
                return level, end
        return None

    # -- names, levels and values --------------------------------------------------------------------

    def skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return at if match is None else match.end()

    def _prefixes(self, at: int, factor: str) -> Iterator[tuple[str, int]]:
        """Columns that may stand here before a colon, and where the sum starts."""
        unknown = self._unknown_prefix(at, factor)
        yield factor, at
        quoted = _BACKTICKS.match(self.text, at)
        for name in sorted(self.known, key=lambda name: (-len(name), name)):
            end = at + len(name) if self.text.startswith(name, at) else -1
            if quoted is not None and _unquote(quoted.group()) == name:
                end = quoted.end()
            colon = _COLON.match(self.text, end) if end >= 0 else None
            if colon is not None:
                yield name, colon.end()
        if unknown is not None and self.stop is not None:
            yield unknown

    def _unknown_prefix(self, at: int, factor: str) -> tuple[str, int] | None:
        """A column before a colon that is not known; refused unless any may be named."""
        column = _COLUMN.match(self.text, at)
        if column is None:
            return None
        name = _unquote(column.group()) if column.group()[0] == "`" else column.group()
        colon = _COLON.match(self.text, column.end())
        if name in self.known or colon is None:
            return None
        if not any(level.startswith(column.group()) for level in self.sorted.get(factor, ())):
            self.fail(at, partial(self._no_column, at, name))
        return name, colon.end()

    def _no_column(self, at: int, name: str) -> FormulaError:
        message = f"Column {shown(name)} is not in the fixed part of the formula."
        return refusal(self.text, at, message, remedy=nearest(name, self.known), value=name, code=5)

    def _levels(self, at: int, column: str) -> Iterator[tuple[str, int]]:
        """Levels that may stand at a position, the longest first, and where each ends."""
        quoted = _QUOTED.match(self.text, at)
        inner = None if quoted is None else _unquote(quoted.group())
        if column in self.sorted:
            if quoted is not None and inner in self.sorted[column]:
                yield inner or "", quoted.end()
            for level in self.sorted[column]:
                if self.text.startswith(level, at) and self._ends(at + len(level)):
                    yield level, at + len(level)
            return
        if quoted is not None and inner and (column not in self.known or NUMBER.fullmatch(inner)):
            yield inner, quoted.end()
            return
        number = NUMBER.match(self.text, at)
        if number is not None and self._ends(number.end()):
            yield number.group(), number.end()
        if column not in self.known and self.stop is not None:
            run = self._run(at, self.stop)
            if run.strip():
                yield run.strip(), at + len(run.rstrip())

    def _ends(self, end: int) -> bool:
        """Whether a level may end here."""
        return end >= len(self.text) or self.text[end].isspace() or self.text[end] in "+-)/,"

    def _run(self, at: int, stop: re.Pattern[str]) -> str:
        """Text up to a sign, a quote, a comma, an equals sign, or a parenthesis that it did not open."""
        match = stop.search(self.text, at)
        text = self.text[at : match.start() if match else len(self.text)]
        return text[: _balanced(text, ",=`\"'")]

    def _value(self, at: int) -> tuple[str, int] | None:
        quoted = _QUOTED.match(self.text, at)
        if quoted is not None:
            return _unquote(quoted.group()), quoted.end()
        run = self.text[at : at + _balanced(self.text[at:], ",=`\"'")]
        return (run.strip(), at + len(run.rstrip())) if run.strip() else None

    def _unknown(self, at: int, column: str) -> FormulaError:
        """Refuse what stands where a level of `column` should."""
        if _SIGN.match(self.text, at) and at == self.skip(0):
            return refusal(self.text, at, "Expected a level before the sign.", remedy=_SHAPE)
        spaced = self._run(at, _SPACED_SIGN)
        name = spaced if at + len(spaced) < len(self.text.rstrip()) else self._run(at, _ANY_SIGN)
        name = name.strip()
        if not name and (quoted := _QUOTED.match(self.text, at)):
            name = _unquote(quoted.group())
        if not name:
            return refusal(self.text, at, "Expected a level.", remedy=_SHAPE)
        levels = self.known.get(column)
        if levels is None and column in self.known:
            message = f"Column {shown(column)} holds numbers, and this is none."
            return refusal(
                self.text, at, message, remedy=f"For example: {column}: 10 - 3.", value=name, code=5
            )
        message = "There is no such level" + ("." if column == self.factor else f" of {shown(column)}.")
        return refusal(self.text, at, message, remedy=nearest(name, levels or ()), value=name, code=5)


def _balanced(text: str, stops: str) -> int:
    """Length of the start of `text` before any of `stops` and any parenthesis closed but not opened."""
    depth = 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char in stops or depth < 0:
            return i
    return len(text)


def _unquote(text: str) -> str:
    inside = text[1:-1]
    return inside.replace("``", "`") if text[0] == "`" else inside
