"""One clinical sheet on its way to a table: its columns, dates and checks."""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.study.clinical_sheets import ClinicalColumn, ClinicalSheet
from pdbiomarker.study.people import day_of, first_doses, study_day, study_days
from pdbiomarker.study.sheets import Sheet, check_known, read_ids, read_names, read_others
from pdbiomarker.study.units import parse_unit
from pdbiomarker.tables import PartialDate, is_number, nearest, parse_date, to_number, to_partial_date

__all__ = ["Reading", "parse_concentration"]

_TRUE: Final = frozenset({"true", "yes", "y", "1"})
_BELOW: Final = frozenset({"BLQ", "BQL", "BLOQ", "BLLOQ", "LLOQ", "LOQ", "BELOWLLOQ", "BELOWLOQ"})


def parse_concentration(text: str) -> tuple[float, bool, float] | None:
    """Read a measured concentration as a laboratory types it.

    Returns
    -------
    (value, below, limit) or None
        The value (NaN where it is below the limit), whether it is below the limit, and the limit where the
        text gives one (else NaN). 0 is below the limit, whatever the assay. None: not a concentration.

    Examples
    --------
    >>> parse_concentration("12.5"), parse_concentration("<0.5"), parse_concentration("nd")
    ((12.5, False, nan), (nan, True, 0.5), None)
    """
    plain = "".join(text.split()).upper()
    if is_number(plain):
        value = float(plain)
        return (np.nan, True, np.nan) if value == 0 else (value, False, np.nan)
    below = plain.removeprefix("<")
    if below in _BELOW:
        return np.nan, True, np.nan
    if below != plain and is_number(below) and float(below) >= 0:
        return np.nan, True, float(below)
    return None


class Reading:
    """One sheet on its way to a table."""

    def __init__(
        self,
        sheet: Sheet,
        name: str,
        rules: ClinicalSheet,
        cutoff: str | None,
        aside: list[dict[str, object]],
    ) -> None:
        self.sheet = sheet
        self.name = name
        self.rules = rules
        self.limit = None if cutoff is None else parse_date(cutoff)
        self.aside = aside
        self.done: dict[str, pd.Series] = {}
        self.dates: dict[str, pd.Series] = {}
        self.lacking: dict[str, pd.Series] = {}
        self.late = pd.Series(False, index=sheet.frame.index)

    def table(self, participants: pd.DataFrame | None) -> pd.DataFrame:
        """Check the sheet and give it typed; what lies after the cut-off goes to the rows set aside."""
        sheet = self.sheet
        people = read_ids(sheet, "participant_id")
        self.done["participant_id"] = people
        if participants is not None:
            check_known(sheet, people, map(str, participants.index.dropna()), what="participants.csv")
        for column, rule in self.rules.columns.items():
            if sheet.has(column) and column != "study_day":
                self._column(column, rule)
        if {"ada", "concentrations"} & {self.name}:
            self._limits()
        self._check_needed()
        self._check_spans()
        days = self._study_days(first_doses(people, participants))
        if sheet.has("study_day") and "study_day" in days:
            self.done["study_day"] = days["study_day"]
        self._check_unique()
        columns: dict[str, pd.Series] = {}
        for column, values in {**read_others(sheet, self.done), **self.done}.items():
            columns[column] = values
            if column in self.dates:
                columns |= self._of_date(column)
        columns |= days
        frame = pd.DataFrame(columns, index=sheet.frame.index)
        frame["line"] = frame.index.to_numpy()
        return frame[~self.late].reset_index(drop=True)

    # --- columns -----------------------------------------------------------------------------------------

    def _column(self, column: str, rule: ClinicalColumn) -> None:
        if rule.kind == "date":
            self._date(column)
        elif rule.kind == "name":
            self.done[column] = read_names(self.sheet, column)
        elif rule.kind == "word":
            self.done[column] = self._word(column, rule)
        elif rule.kind in {"amount unit", "concentration unit"}:
            self.done[column] = self._unit(column, rule)
        elif rule.kind == "concentration":
            self._concentration(column)
        elif rule.kind == "titre":
            self._titre(column)
        else:
            numbers = to_number(
                self.sheet.frame[column],
                file=self.sheet.file,
                problems=self.sheet.problems,
                name=self.sheet.label(column),
                low=rule.low,
                high=rule.high,
                integer=rule.kind == "whole",
            )
            self.done[column] = numbers.astype("Int64") if rule.kind == "whole" else numbers

    def _texts(self, column: str) -> list[tuple[int, str | None]]:
        raw = self.sheet.column(column)
        return [
            (int(line), None if cell is None else cell.strip() or None)
            for line, cell in zip(raw.index, raw.tolist(), strict=True)
        ]

    def _series(self, column: str, values: list[str | None]) -> pd.Series:
        return pd.Series(values, index=self.sheet.frame.index, name=column, dtype=object)

    def _word(self, column: str, rule: ClinicalColumn) -> pd.Series:
        options = list(dict.fromkeys(rule.words.values()))
        values: list[str | None] = []
        wrong: list[tuple[int, str | None, str]] = []
        for line, text in self._texts(column):
            word = None if text is None else rule.words.get(" ".join(text.casefold().split()))
            if text is not None and word is None:
                said = f"The word {text!r} is not one of this column. {nearest(text, options)}"
                wrong.append((line, text, said))
            values.append(word)
        self.sheet.tell("E-CLIN-002", column, wrong, remedy=f"Write one of: {', '.join(options)}.")
        return self._series(column, values)

    def _unit(self, column: str, rule: ClinicalColumn) -> pd.Series:
        wrong: list[tuple[int, str | None, str]] = []
        values: list[str | None] = []
        for line, text in self._texts(column):
            unit = None if text is None else parse_unit(text)
            fits = unit is not None and (
                unit.is_amount if rule.kind == "amount unit" else unit.is_concentration
            )
            if text is not None and not fits:
                what = "not known" if unit is None else f"not a unit of {rule.kind.split()[0]}s"
                wrong.append((line, text, f"The unit is {what}."))
            values.append(unit.text if unit is not None and fits else None)
        example = "mg, ug or mg/kg" if rule.kind == "amount unit" else "ng/mL, mg/L or nM"
        self.sheet.tell("E-CLIN-005", column, wrong, remedy=f"Write a unit such as {example}.")
        return self._series(column, values)

    def _concentration(self, column: str) -> None:
        """Numbers, and texts for below the limit; the text is kept beside."""
        size = len(self.sheet.frame)
        values, below = np.full(size, np.nan), np.zeros(size, dtype=bool)
        limits = np.full(size, np.nan)
        wrong: list[tuple[int, str | None, str]] = []
        negative: list[tuple[int, str | None, str]] = []
        texts: list[str | None] = []
        flagged = [text is not None and text.casefold() in _TRUE for _, text in self._texts("blq")]
        for place, (line, text) in enumerate(self._texts(column)):
            texts.append(text)
            below[place] = flagged[place]
            read = None if text is None else parse_concentration(text)
            if text is None:
                continue
            if read is None:
                wrong.append((line, text, "The concentration is neither a number nor below a limit."))
            elif read[0] < 0:
                negative.append((line, text, "A concentration cannot be negative."))
            else:
                values[place], below[place], limits[place] = read
                if flagged[place]:
                    values[place], below[place] = np.nan, True
        remedy = "Write a number, '<0.5' or 'BLQ'; leave the cell empty where nothing was measured."
        self.sheet.tell("E-CLIN-009", column, wrong, remedy=remedy)
        self.sheet.tell("E-SHEET-008", column, negative, remedy="Check the value; below the limit is 'BLQ'.")
        index = self.sheet.frame.index
        self.done[column] = pd.Series(values, index, dtype="float64")
        self.done[f"{column}_text"] = self._series(f"{column}_text", texts)
        self.done["blq"] = pd.Series(below, index)
        self.done["limit_of_text"] = pd.Series(limits, index, dtype="float64")

    def _titre(self, column: str) -> None:
        """Numbers; of a titre below the lowest dilution the text is kept beside."""
        texts = [text for _, text in self._texts(column)]
        below = [text is not None and text[0] in "<≤" and is_number(text[1:].strip()) for text in texts]
        plain = [None if under else text for under, text in zip(below, texts, strict=True)]
        sheet = self.sheet
        self.done[column] = to_number(
            self._series(column, plain),
            file=sheet.file,
            problems=sheet.problems,
            name=sheet.label(column),
            low=0,
        )
        if any(below):
            self.done[f"{column}_text"] = self._series(f"{column}_text", texts)

    def _limits(self) -> None:
        """A limit in the text stands in for lloq; a number below its limit is below the limit."""
        limits = self.done.pop("limit_of_text", None)
        if limits is None or self.name == "ada":
            return
        lloq = self.done.get("lloq")
        lloq = limits if lloq is None else lloq.fillna(limits)
        values = self.done["concentration"]
        under = (values < lloq) & ~self.done["blq"]
        told = [
            (int(line), f"{values[line]:g}", f"The concentration lies below its LLOQ, {lloq[line]:g}.")
            for line in values.index[under]
        ]
        self.sheet.tell(
            "E-CLIN-009",
            "concentration",
            told[:1] if len(told) < 2 else [(told[0][0], told[0][1], f"{told[0][2]} ({len(told)} rows)")],
            remedy="It is read as below the limit; correct the value or the LLOQ if that is wrong.",
            severity="warning",
        )
        self.done["lloq"] = lloq
        self.done["blq"] = self.done["blq"] | under
        self.done["concentration"] = values.mask(under)

    # --- dates -------------------------------------------------------------------------------------------

    def _date(self, column: str) -> None:
        found = to_partial_date(
            self.sheet.column(column),
            file=self.sheet.file,
            problems=self.sheet.problems,
            name=self.sheet.label(column),
        )
        self._cut(column, found)
        self._tell_partial(column, found)
        self.lacking[column] = self._series(column, [d.missing or None if d else None for d in found])
        self.dates[column] = pd.Series([d.whole if d else None for d in found], self.late.index, dtype=object)
        self.done[column] = self._series(column, [d.iso if d else None for d in found])

    def _cut(self, column: str, found: list[PartialDate | None]) -> None:
        """Set aside what lies after the cut-off: the row where it is the row's own date, else the cell."""
        if self.limit is None:
            return
        own = column == self.rules.own_date
        late: list[tuple[int, str | None, str]] = []
        for place, (line, date) in enumerate(zip(self.late.index, found, strict=True)):
            if date is None or date.earliest <= day_of(self.limit) or self.late[line]:
                continue
            shown = date.iso
            seen = column in self.rules.seen
            what = "the row is set aside" if own else "the date is set aside"
            what = "taken as that day" if seen else what
            said = f"The date lies after the data cut-off, {self.limit.isoformat()}: {what}."
            late.append((int(line), shown, said))
            self.aside.append(
                {
                    "sheet": self.name,
                    "line": int(line),
                    "participant_id": self.done["participant_id"][line],
                    "column": column,
                    "value": shown,
                    "reason": f"after the data cut-off, {self.limit.isoformat()}"
                    + (": taken as that day" if seen else ""),
                    "row": _as_one(self.sheet.frame.loc[line]),
                }
            )
            found[place] = PartialDate.of(day_of(self.limit)) if seen else None
            self.late[line] |= own
        self.sheet.tell(
            "E-CLIN-007",
            column,
            late,
            remedy="Check the date, or whether it belongs to this data cut.",
            severity="warning",
        )

    def _tell_partial(self, column: str, found: list[PartialDate | None]) -> None:
        lines = map(int, self.late.index)
        given = [(line, d.iso) for line, d in zip(lines, found, strict=True) if d is not None and d.missing]
        if not given:
            return
        more = f" ({len(given)} rows)" if len(given) > 1 else ""
        said = f"The date is partial: it is kept as typed, and has no study day.{more}"
        self.sheet.tell(
            "E-CLIN-008",
            column,
            [(*given[0], said)],
            remedy="Give year, month and day where they are known.",
            severity="warning",
        )

    def _of_date(self, column: str) -> dict[str, pd.Series]:
        dates = self.dates[column]
        # The clock's own reading: offsets from UTC stay in the text.
        naive = [
            None if d is None else (d.replace(tzinfo=None) if isinstance(d, dt.datetime) else d)
            for d in dates.tolist()
        ]
        return {
            f"{column}_imputed": self.lacking[column].rename(f"{column}_imputed"),
            f"{column}_typed": pd.Series(
                pd.to_datetime(pd.Series(naive, dtype=object)).to_numpy(), dates.index
            ),
        }

    def _study_days(self, doses: list[dt.date | None]) -> dict[str, pd.Series]:
        days: dict[str, pd.Series] = {}
        own = self.rules.own_date
        if own is not None and own not in self.dates and self.sheet.has("study_day"):
            undated = self._series(own, [None] * len(self.sheet.frame))
            days["study_day"] = study_days(self.sheet, undated, doses)
        for column, dates in self.dates.items():
            if column == own:
                days["study_day"] = study_days(self.sheet, dates, doses, what=self.sheet.label(column))
                continue
            known = [
                None if date is None or dose is None else study_day(date, dose)
                for date, dose in zip(dates.tolist(), doses, strict=True)
            ]
            name = f"{column.removesuffix('_date')}_study_day"
            days[name] = pd.Series(pd.array(known, dtype="Int64"), index=dates.index)
        return days

    # --- checks ------------------------------------------------------------------------------------------

    def _given(self, column: str) -> pd.Series:
        text = self.sheet.column(column)
        return text.map(lambda cell: cell is not None and bool(cell.strip()))

    def _check_needed(self) -> None:
        for column in self.rules.needed:
            if self.sheet.has(column):
                missing = self._given(column).index[~self._given(column)]
                if column == "concentration":
                    continue  # an empty cell is a sample that was not measured
                told = [(int(line), None, f"The {self.sheet.label(column)} is missing.") for line in missing]
                self.sheet.tell(
                    "E-SHEET-017", column, told, remedy="Give it; without it the row says nothing."
                )
        when = [column for column in self.rules.when if self.sheet.has(column)]
        if self.rules.when and not when and not set(self.rules.when) <= set(self.rules.needed):
            self.sheet.problems.add(
                "E-SHEET-001",
                f"The sheet has none of: {', '.join(self.rules.when)}.",
                remedy="Add one: every row needs its place in time.",
                file=self.sheet.file,
                row=1,
                column=self.rules.when[0],
            )
        elif len(self.rules.when) > 1:
            placed = pd.concat([self._given(column) for column in when], axis=1).any(axis=1)
            told = [
                (int(line), None, f"The row has no {' or '.join(when)}.") for line in placed.index[~placed]
            ]
            self.sheet.tell("E-SHEET-017", when[0], told, remedy="Every row needs its place in time.")
        for column, other in self.rules.brings.items():
            lacking = self._given(column) & ~self._given(other)
            told = [
                (int(line), self.sheet.frame.loc[line, column], f"The {column} has no {other}.")
                for line in lacking.index[lacking]
            ]
            self.sheet.tell("E-CLIN-004", other, told, remedy=f"Give the {other} of every {column}.")
        if self.name == "doses":
            self._check_amounts()

    def _check_amounts(self) -> None:
        """A dose that was given has an amount."""
        not_given = self.done.get("status", self._series("status", [None] * len(self.sheet.frame)))
        lacking = ~self._given("amount") & ~not_given.isin(["held", "stopped"])
        told = [(int(line), None, "The amount of the dose is missing.") for line in lacking.index[lacking]]
        remedy = "Give the amount, or the status 'held' or 'stopped' where nothing was given."
        self.sheet.tell("E-SHEET-017", "amount", told, remedy=remedy)

    def _check_spans(self) -> None:
        for first, last in self.rules.spans:
            if first not in self.dates or last not in self.dates:
                continue
            told = [
                (int(line), end.isoformat(), f"The {last} lies before the {first}, {start.isoformat()}.")
                for line, start, end in zip(
                    self.dates[first].index,
                    self.dates[first].tolist(),
                    self.dates[last].tolist(),
                    strict=True,
                )
                if start is not None and end is not None and _before(end, start)
            ]
            self.sheet.tell("E-CLIN-006", last, told, remedy=f"Correct the {first} or the {last}.")

    def _check_unique(self) -> None:
        """Refuse a record that occurs twice: the same row (E-SHEET-016), or the same key (E-CLIN-003)."""
        key = ["participant_id", *self.rules.key]
        if any(column not in self.done for column in key if column in self.rules.needed):
            return  # without a part of their key, records cannot be told apart
        values = [self.done[column].astype(object).tolist() for column in key if column in self.done]
        first: dict[tuple[str, ...], int] = {}
        same: list[tuple[int, str | None, str]] = []
        twice: list[tuple[int, str | None, str]] = []
        for line, *record in zip(self.sheet.frame.index, *values, strict=True):
            shown = tuple("" if pd.isna(value) else str(value) for value in record)
            if not shown[0] or self.late[line]:
                continue
            other = first.setdefault(shown, int(line))
            if other == line:
                continue
            named = ", ".join(filter(None, shown))
            if self.sheet.frame.loc[line].equals(self.sheet.frame.loc[other]):
                same.append((int(line), named, f"The row is the same as that of line {other}."))
            else:
                twice.append((int(line), named, f"The record stands in lines {other} and {line}."))
        self.sheet.tell("E-SHEET-016", "participant_id", same, remedy="Remove one of the two rows.")
        remedy = f"Keep one row for each {', '.join(c for c in key if c in self.done)}."
        self.sheet.tell("E-CLIN-003", "participant_id", twice, remedy=remedy)


def _before(first: dt.date, second: dt.date) -> bool:
    if (
        isinstance(first, dt.datetime)
        and isinstance(second, dt.datetime)
        and (first.tzinfo is None) == (second.tzinfo is None)
    ):
        return first < second
    return day_of(first) < day_of(second)


def _as_one(row: pd.Series) -> str:
    return "; ".join(f"{name}={value}" for name, value in row.items() if value is not None)
