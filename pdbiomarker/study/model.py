"""A study, once it has been read and checked."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import AssayError, Problem, Problems, StudyError
from pdbiomarker.study.lock import PlanLock
from pdbiomarker.study.overrides import left_out, no_overrides
from pdbiomarker.study.spec import StudySpec
from pdbiomarker.study.writing import write_folder
from pdbiomarker.tables import nearest

#: What kind of number a feature may be.
KINDS: Final = ("count", "density", "proportion", "score", "signature", "intensity")

_MOST_NAMED: Final = 5


@dataclasses.dataclass(frozen=True, repr=False)
class Study:
    """A serial-biopsy study: who, when, and what was measured.

    Frames are not to be changed in place: make a copy, or use :meth:`with_assay`, which gives a new study.

    Attributes
    ----------
    spec : StudySpec
        study.yaml.
    participants : DataFrame
        Index participant_id (str). Clinical facts live only here.
    biopsies : DataFrame
        Index biopsy_id (str); participant_id, visit (str or None, as labelled), collection_date (ISO text or
        None), study_day (Int64; day 1 is the day of the first dose, there is no day 0),
        hours_from_first_dose (float64; NaN unless both times are known), line (of biopsies.csv), and what
        else the sheet holds: float64 where every value is a number, else text.
    libraries : DataFrame
        Index library_id; biopsy_id, source (the sheet that says so, or "biopsy_id" where the libraries carry
        the biopsies' ids), and what else the sheet holds.
    slides : DataFrame
        Index slide_id; biopsy_id, path (as typed), assay, panel, mpp (micrometres per pixel or NaN), line,
        and what else the sheet holds. Slides whose file is missing are in `problems` and not here.
    assays : mapping of name to AnnData
        Biopsies x features.
    clinical : mapping of name to DataFrame
        The sheets of clinical/ (doses, concentrations, lesions ...), participant_id as text, typed; and
        ``set_aside``, what lies after the data cut-off.
    overrides : DataFrame
        What reviewers decided (overrides.csv): kind, item, action, visit, reason, who, date.
    aside : mapping of kind to DataFrame
        Rows of the libraries and slides that reviewers left out, and of slides whose file is missing; they
        are not in `libraries` and `slides`.
    problems : tuple of Problem
        What was told while reading: warnings and quarantined slides.
    path : Path or None
        The folder.
    lock : PlanLock or None
        plan.lock.yaml: which plan was locked, when and for which look.
    """

    spec: StudySpec
    participants: pd.DataFrame
    biopsies: pd.DataFrame
    libraries: pd.DataFrame
    slides: pd.DataFrame
    assays: Mapping[str, AnnData] = dataclasses.field(default_factory=dict)
    clinical: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    path: Path | None = None
    lock: PlanLock | None = None
    overrides: pd.DataFrame = dataclasses.field(default_factory=no_overrides)
    aside: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = Problems()
        for sheet, frame in (
            ("participants", self.participants),
            ("biopsies", self.biopsies),
            ("libraries", self.libraries),
            ("slides", self.slides),
        ):
            problems.extend(_check_ids(frame.index, f"{sheet}.csv"))
        _check_links(self.biopsies, "participant_id", self.participants.index, "biopsies.csv", problems)
        _check_links(self.libraries, "biopsy_id", self.biopsies.index, "libraries.csv", problems)
        _check_links(self.slides, "biopsy_id", self.biopsies.index, "slides.csv", problems)
        problems.raise_if_any(StudyError)

    def with_assay(self, name: str, adata: AnnData) -> Study:
        """Give a new study that also holds this assay (in place of one of the same name).

        Parameters
        ----------
        name : str
            The assay's name.
        adata : AnnData
            Biopsies x features, as described in docs/study_folder.md.

        Raises
        ------
        AssayError
            The matrix breaks the contract of an assay; every fault is listed.
        """
        check_assay(adata, name, biopsies=self.biopsies.index).raise_if_any(AssayError)
        return dataclasses.replace(self, assays={**self.assays, name: adata})

    @property
    def left_out(self) -> dict[str, set[str]]:
        """Ids that reviewers left out, by kind: participant, biopsy, library, slide."""
        return left_out(self.overrides)

    def resolve(self, path: str) -> Path:
        """Give the place on disk of a path of study.yaml or slides.csv."""
        return Path(path) if self.path is None else self.path / path

    def write(self, path: str | Path) -> Path:
        """Write the study as a folder that :func:`pdbiomarker.read_study` reads back the same.

        The sheets are written under this package's column names; the files that study.yaml names are
        copied; slides stay where they are, and are named by their path relative to the new folder.

        Parameters
        ----------
        path : path
            The folder; made when missing.

        Returns
        -------
        Path
            The folder.
        """
        return write_folder(self, Path(path))

    def __repr__(self) -> str:
        return "\n".join(f"{key:14}{value}" for key, value in self._summary())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for key, value in self._summary()
        )
        return f"<table>{rows}</table>"

    def _summary(self) -> list[tuple[str, str]]:
        visits = self.biopsies["visit"] if "visit" in self.biopsies else pd.Series(dtype=object)
        labelled = visits.value_counts()
        counted = [
            f"{name} {int(labelled[name])}" if name in labelled.index else name
            for name in self.spec.visit_names
        ]
        measured = [
            f"{name} ({adata.n_obs} biopsies x {adata.n_vars} features)"
            for name, adata in self.assays.items()
        ]
        declared = [f"{spec.name} (declared)" for spec in self.spec.assays if spec.name not in self.assays]
        told = Problems(self.problems)
        return [
            ("study", self.spec.id),
            ("data cut-off", self.spec.data_cutoff or "not given"),
            ("participants", str(len(self.participants))),
            ("biopsies", str(len(self.biopsies))),
            ("visits", ", ".join(counted)),
            ("libraries", str(len(self.libraries))),
            ("slides", str(len(self.slides))),
            ("assays", ", ".join([*measured, *declared]) or "none"),
            (
                "clinical",
                ", ".join(f"{name} ({len(frame)})" for name, frame in self.clinical.items()) or "none",
            ),
            ("told", f"{len(told.warnings)} warnings, {len(told.quarantined)} quarantined"),
            *([("overrides", str(len(self.overrides)))] if len(self.overrides) else []),
        ]


def _check_ids(index: pd.Index, file: str) -> Problems:
    problems = Problems()
    wrong = [value for value in index if not isinstance(value, str) or not value]
    twice = index[index.duplicated()].tolist()
    for values, code, said in (
        (wrong, "E-SHEET-004", "is not a text id"),
        (twice, "E-SHEET-005", "occurs twice"),
    ):
        for value in values[:_MOST_NAMED]:
            problems.add(
                code,
                f"The id {value!r} {said}.",
                remedy="Every row needs an id of its own, as text.",
                file=file,
                value=value,
            )
    return problems


def _check_links(frame: pd.DataFrame, column: str, known: pd.Index, file: str, problems: Problems) -> None:
    if column not in frame:
        problems.add(
            "E-SHEET-001", f"The column {column!r} is missing.", remedy="Add it.", file=file, column=column
        )
        return
    unknown = frame.loc[~frame[column].isin(known), column].tolist()
    for value in unknown[:_MOST_NAMED]:
        problems.add(
            "E-SHEET-006",
            f"The {column} {value!r} is not known.",
            remedy=nearest(str(value), map(str, known)),
            file=file,
            column=column,
            value=value,
        )


def check_assay(adata: AnnData, name: str, *, biopsies: Iterable[str] | None = None) -> Problems:
    """Check a matrix against the contract of an assay.

    Parameters
    ----------
    adata : AnnData
        Biopsies x features. `obs` index: biopsy ids. `var` index: feature ids; `var["kind"]`: one of
        :data:`KINDS`. `X`: dense float64, NaN = not measured; counts are whole numbers from 0, densities
        are not negative, proportions lie in [0, 1].
    name : str
        The assay's name, for the messages.
    biopsies : iterable of str, optional
        The study's biopsy ids.

    Returns
    -------
    Problems
        Every fault (E-ASSAY-001); empty when the contract holds.
    """
    found = Problems()

    def refuse(message: str, remedy: str, column: str | None = None, value: object = None) -> None:
        found.add("E-ASSAY-001", message, remedy=remedy, file=name, column=column, value=value)

    for axis, index in (("obs", adata.obs_names), ("var", adata.var_names)):
        if not all(isinstance(value, str) and value for value in index):
            refuse(f"The index of {axis} holds an id that is not a text.", "Turn the ids into str.", axis)
        if not index.is_unique:
            twice = index[index.duplicated()][0]
            refuse(f"The index of {axis} holds an id twice.", "Give every row an id of its own.", axis, twice)
    if biopsies is not None:
        known = pd.Index(list(biopsies))
        for value in adata.obs_names[~adata.obs_names.isin(known)][:_MOST_NAMED]:
            refuse("A row is not a biopsy of the study.", nearest(str(value), map(str, known)), "obs", value)
    _check_var(adata, refuse)
    _check_matrix(adata, refuse)
    return found


class _Refuse(Protocol):
    def __call__(
        self, message: str, remedy: str, column: str | None = None, value: object = None
    ) -> None: ...


def _check_var(adata: AnnData, refuse: _Refuse) -> None:
    if "kind" not in adata.var:
        refuse(
            "The column 'kind' of var is missing.", f"Add it, with one of: {', '.join(KINDS)}.", "var.kind"
        )
        return
    kinds = adata.var["kind"].astype(object)
    for feature in kinds.index[~kinds.isin(KINDS)][:_MOST_NAMED]:
        refuse(
            f"The feature {feature!r} has an unknown kind.",
            f"Use one of: {', '.join(KINDS)}.",
            "var.kind",
            kinds[feature],
        )
    if "expected_direction" in adata.var:
        directions = pd.to_numeric(adata.var["expected_direction"], errors="coerce")
        for feature in directions.index[~directions.isin([-1, 0, 1])][:_MOST_NAMED]:
            refuse(
                f"The feature {feature!r} has an expected direction other than -1, 0 or 1.",
                "Use 1 for a rise, -1 for a fall, 0 where none is expected.",
                "var.expected_direction",
                adata.var["expected_direction"][feature],
            )


def _check_matrix(adata: AnnData, refuse: _Refuse) -> None:
    X = adata.X
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype != np.float64:
        kind = getattr(X, "dtype", type(X).__name__)
        refuse("X is not a dense float64 matrix.", "Convert it: np.asarray(X, dtype=np.float64).", "X", kind)
        return
    if "kind" not in adata.var:
        return
    kinds = adata.var["kind"].astype(str).to_numpy()
    with np.errstate(invalid="ignore"):
        checks = (
            (np.isinf(X), "is infinite", "Use NaN for what was not measured."),
            ((X < 0) & np.isin(kinds, ("count", "density", "proportion")), "is negative", "Check the units."),
            ((X > 1) & (kinds == "proportion"), "is a proportion above 1", "Proportions run from 0 to 1."),
            (
                np.isfinite(X) & (np.floor(X) != X) & (kinds == "count"),
                "is a fractional count",
                "Give raw counts, or the kind 'intensity'.",
            ),
        )
    for bad, said, remedy in checks:
        if bad.any():
            row, column = (int(i[0]) for i in np.nonzero(bad))
            refuse(
                f"{int(bad.sum())} value(s): the value of biopsy {adata.obs_names[row]!r} {said}.",
                remedy,
                str(adata.var_names[column]),
                X[row, column],
            )
