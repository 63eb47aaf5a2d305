"""Exports of other programs, straight to the same scores.

QuPath's detection and annotation tables (CSV, TSV) and GeoJSON, HALO's object data, summaries with counts,
tables of phenotypes, and this package's own ``cells.parquet``. What a file is, is told by its columns; what
they mean is shown (:attr:`ImportedCells.columns`). Whatever does not fit refuses the import, with its row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from anndata import AnnData

from pdbiomarker.errors import AssayError, Problem, Problems
from pdbiomarker.ihc.assemble import assemble
from pdbiomarker.ihc.exports.cells import FACTORS, Reading, cells_of
from pdbiomarker.ihc.exports.classes import MEANINGS
from pdbiomarker.ihc.exports.columns import OURS, Role, match_columns
from pdbiomarker.ihc.exports.geojson import read_geojson
from pdbiomarker.ihc.exports.raw import RawTable, read_header, read_raw
from pdbiomarker.ihc.exports.summaries import Summary, summaries_of
from pdbiomarker.ihc.outputs import check_cells
from pdbiomarker.ihc.panel import Panel, read_panel
from pdbiomarker.ihc.regions import regions_of
from pdbiomarker.ihc.score import COMPARTMENT_ORDER, score_cells, score_counts, threshold_sensitivity
from pdbiomarker.study import Study, amiss, check_files
from pdbiomarker.tables import nearest

__all__ = [
    "IMPORT_COLUMNS",
    "IMPORT_MEANINGS",
    "ImportedCells",
    "import_cells",
    "read_cells",
    "score_import",
    "slide_name",
]

IMPORT_COLUMNS: Final = tuple(OURS)
IMPORT_MEANINGS: Final = MEANINGS
_COUNTS: Final = frozenset({"n", "n_positive", "n_negative", "share"})
_OBJECTS: Final = frozenset(
    {"annotation", "pathannotationobject", "root object", "image", "tmacore", "tma core"}
)
_TWICE: Final = 0.02  # two cells may have one rounded position
_SLIDE_SUFFIXES: Final = (
    ".svs",
    ".ndpi",
    ".ome.tif",
    ".ome.tiff",
    ".tif",
    ".tiff",
    ".vsi",
    ".mrxs",
    ".scn",
    ".czi",
    ".svslide",
    ".bif",
    ".dcm",
    ".png",
    ".jpg",
    ".jpeg",
)
_CELL_COLUMNS: Final = (
    "slide",
    "x_um",
    "y_um",
    "area_um2",
    "dab_od_mean",
    "haematoxylin_od_mean",
    "positive",
    "class",
    "compartment",
    "cell_type",
)


@dataclasses.dataclass(frozen=True)
class ImportedCells:
    """What exports held.

    Attributes
    ----------
    cells : DataFrame
        One row per cell: slide, x_um, y_um, area_um2, dab_od_mean, haematoxylin_od_mean, positive,
        class (0-3), compartment, cell_type; biopsy_id where the export has it. Empty for summaries.
    areas_mm2 : mapping
        Slide -> compartment -> mm2, where the exports say so.
    counts : mapping
        Slide -> compartment -> cells that are negative, 1+, 2+ and 3+: of slides known by their counts only.
    graded : mapping of str to bool
        Slide -> whether 1+, 2+ and 3+ are told apart.
    biopsies : mapping of str to str
        Slide -> biopsy, where the exports say so.
    columns : DataFrame
        How every column was read: file, column, read_as, unit, factor, n_rows, n_missing.
    problems : tuple of Problem
        What was told.
    """

    cells: pd.DataFrame
    areas_mm2: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, Mapping[str, tuple[float, float, float, float]]]
    graded: Mapping[str, bool]
    biopsies: Mapping[str, str]
    columns: pd.DataFrame
    problems: tuple[Problem, ...] = ()

    @property
    def slides(self) -> list[str]:
        """Every slide, sorted."""
        return sorted({*map(str, self.cells["slide"]), *self.counts})


def read_cells(
    paths: str | Path | Iterable[str | Path],
    *,
    panel: str | Path | Panel,
    mpp: float | None = None,
    columns: Mapping[str, str] | None = None,
    classes: Mapping[str, str] | None = None,
    where: Mapping[str, str] | None = None,
) -> ImportedCells:
    """Read exports of cells, regions and counts.

    Parameters
    ----------
    paths : path, or several
        CSV, TSV, GeoJSON or Parquet; a folder stands for the files in it. Tables of cells and of annotations
        of the same slides belong together: the annotations give the areas.
    panel : Panel, name or path
        The marker, and the thresholds for cells that the export does not call.
    mpp : float, optional
        Micrometres per pixel, where an export is in pixels.
    columns : mapping of str to str, optional
        The file's name of a column -> ours, one of :data:`IMPORT_COLUMNS`, where it is not known.
    classes : mapping of str to str, optional
        The text of a class -> one of :data:`IMPORT_MEANINGS`, where it is not known.
    where : mapping of str to str, optional
        Column -> text: only those rows are read.

    Returns
    -------
    ImportedCells

    Raises
    ------
    AssayError
        With everything that does not fit: E-CELLS, E-SHEET and E-REGION codes, with file and row.

    Examples
    --------
    >>> found = read_cells("detections.tsv", panel="ki67")  # doctest: +SKIP
    >>> score_import(found, "ki67")["slide 1"]  # doctest: +SKIP
    """
    chosen, problems = read_panel(panel), Problems()
    files = _files([paths] if isinstance(paths, (str, Path)) else list(paths), problems)
    options = _Options(mpp, columns or {}, classes or {}, where or {})
    for text, meaning in options.classes.items():
        if not all(part.strip().casefold() in MEANINGS for part in meaning.split(":")):
            problems.add(
                "E-CELLS-004",
                f"A class can mean {', '.join(MEANINGS)}.",
                remedy="Correct what is declared.",
                column=text,
                value=meaning,
            )
    gathered = _Gathered()
    for file in files:
        _read_file(file, chosen, options, gathered, problems)
    _tell_absent(options.columns, gathered.headers, files, problems)
    problems.raise_if_any(AssayError)
    found = gathered.imported(problems)
    if not found.slides:
        problems.add(
            "E-CELLS-001",
            "There are neither cells nor counts.",
            remedy="Export detections, or annotations with their counts.",
            file=", ".join(file.name for file in files),
        )
    problems.raise_if_any(AssayError)
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Options:
    mpp: float | None
    columns: Mapping[str, str]
    classes: Mapping[str, str]
    where: Mapping[str, str]


@dataclasses.dataclass(slots=True)
class _Gathered:
    """What has been read so far."""

    cells: list[pd.DataFrame] = dataclasses.field(default_factory=list)
    summaries: list[Summary] = dataclasses.field(default_factory=list)
    graded: dict[str, bool] = dataclasses.field(default_factory=dict)
    columns: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    headers: set[str] = dataclasses.field(default_factory=set)

    def add_cells(self, cells: pd.DataFrame, *, graded: bool) -> None:
        self.cells.append(cells)
        for slide in cells["slide"].unique():
            self.graded[str(slide)] = self.graded.get(str(slide), True) and graded

    def imported(self, problems: Problems) -> ImportedCells:
        """Put it together; the names of slides lose the suffix of an image file."""
        empty = pd.DataFrame({name: pd.Series(dtype=object) for name in _CELL_COLUMNS})
        cells = pd.concat(self.cells, ignore_index=True) if self.cells else empty
        stems = {slide: _stem(str(slide)) for slide in cells["slide"].unique()}
        cells = cells.assign(slide=[stems[slide] for slide in cells["slide"]])
        graded = {_stem(slide): good for slide, good in self.graded.items()}
        areas: dict[str, dict[str, float]] = {}
        counts: dict[str, Any] = {}
        biopsies: dict[str, str] = {}
        with_cells = set(cells["slide"])
        for summary in self.summaries:
            for slide, own in summary.areas.items():
                if own:
                    areas.setdefault(_stem(slide), {}).update(own)
            for slide, bins in summary.counts.items():
                if _stem(slide) not in with_cells:
                    counts[_stem(slide)] = bins
                    graded[_stem(slide)] = summary.graded
            biopsies |= {_stem(slide): biopsy for slide, biopsy in summary.biopsies.items()}
        if "biopsy_id" in cells:
            _owners(cells, biopsies, problems)
        _check_twice(cells, stems, problems)
        _drop_unplaced(cells, areas, problems)
        shown = ["file", "column", "read_as", "unit", "factor", "n_rows", "n_missing"]
        table = pd.DataFrame(self.columns, columns=shown)
        return ImportedCells(cells, areas, counts, graded, biopsies, table, tuple(problems))


def slide_name(path: str) -> str:
    """Name of a slide from that of its image: without folders and the suffix of an image file.

    Examples
    --------
    >>> slide_name("slides/S1.ome.tiff"), slide_name("B-0012"), slide_name("v1.2")
    ('S1', 'B-0012', 'v1.2')
    """
    return _stem(PurePosixPath(path.replace("\\", "/")).name)


def _stem(slide: str) -> str:
    lower = slide.casefold()
    suffix = next((s for s in _SLIDE_SUFFIXES if lower.endswith(s)), "")
    return slide[: len(slide) - len(suffix)] or slide


def _check_twice(cells: pd.DataFrame, stems: Mapping[str, str], problems: Problems) -> None:
    """Refuse cells that count twice: two scans under one name of a slide, or one export given two times."""
    images: dict[str, set[str]] = {}
    for name, stem in stems.items():
        if name != stem:
            images.setdefault(stem, set()).add(str(name))
    for stem, names in sorted(images.items()):
        if len(names) > 1:
            problems.add(
                "E-CELLS-008",
                f"The images {' and '.join(sorted(names))} would both be the slide {stem!r}.",
                remedy="Import one of them, or give the images different names.",
                value=stem,
            )
    placed = cells[cells["x_um"].notna() & cells["y_um"].notna()]
    twice = placed[placed.duplicated(["slide", "x_um", "y_um"])]
    for slide, count in twice.groupby("slide", sort=True).size().items():
        all_of_it = int((placed["slide"] == slide).sum())
        problems.add(
            "E-CELLS-008",
            f"{count} of {all_of_it} cells of slide {slide!r} lie where another lies: they are given twice.",
            remedy="Give each export once; choose its rows with --where.",
            value=str(slide),
            severity="error" if count > max(1, _TWICE * all_of_it) else "warning",
        )


def _drop_unplaced(cells: pd.DataFrame, areas: dict[str, dict[str, float]], problems: Problems) -> None:
    """Leave out the areas of compartments where no cell says which one it lies in: zero would be a guess."""
    places = cells.groupby("slide", sort=True)["compartment"].agg(set)
    for slide, own in places.items():
        drawn = sorted(areas.get(str(slide), {}).keys() - {"tissue"})
        if own == {"tissue"} and drawn:
            problems.add(
                "E-REGION-005",
                f"There are areas of {', '.join(drawn)}, and no cell of slide {slide!r} says where it lies: "
                "only the whole tissue is scored.",
                remedy="Export the cells with their parent's class (Parent), or their compartment.",
                value=str(slide),
                severity="warning",
            )
            for name in drawn:
                del areas[str(slide)][name]


def _owners(cells: pd.DataFrame, biopsies: dict[str, str], problems: Problems) -> None:
    """Give the biopsy of each slide; cells of one slide must not claim two."""
    for slide, own in cells.groupby("slide", sort=True)["biopsy_id"]:
        named = sorted(set(own.dropna()) - {""})
        if len(named) > 1:
            problems.add(
                "E-CELLS-007",
                f"The cells of slide {slide!r} name {len(named)} biopsies: {', '.join(named[:3])}.",
                remedy="Give the slides of different biopsies different names.",
                value=slide,
            )
        elif named:
            biopsies[str(slide)] = named[0]


def _files(paths: Sequence[str | Path], problems: Problems) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            check_files(path.iterdir(), problems, root=path)
            inside = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
            known = [
                p for p in inside if p.suffix.casefold() in {".csv", ".tsv", ".txt", ".geojson", ".parquet"}
            ]
            found += known
            for other in (p for p in inside if p not in known):
                problems.add(
                    "E-FILE-005",
                    "The file is no export that is read.",
                    remedy="Nothing need be done; CSV, TSV, GeoJSON and Parquet are read.",
                    file=other.name,
                    severity="warning",
                )
        elif path.is_file():
            found.append(path)
        else:
            problems.add(*amiss(path), remedy="Correct the path.", file=path.name)
    return found


def _read_file(file: Path, panel: Panel, options: _Options, gathered: _Gathered, problems: Problems) -> None:
    reading = Reading(panel, options.mpp, options.classes, _stem(file.stem))
    if file.suffix.casefold() == ".parquet":
        _read_parquet(file, gathered, problems)
        return
    if file.suffix.casefold() in {".geojson", ".json"}:
        _read_geojson(file, reading, options, gathered, problems)
        return
    form = read_header(file, problems)
    if form is None:
        return
    gathered.headers.update(form.header)
    roles = _roles(form.header, file.name, reading, options, problems)
    wanted = list(dict.fromkeys([*(role.column for role in roles.values()), *options.where]))
    missing = [name for name in options.where if name not in form.header]
    for name in missing:
        problems.add(
            "E-SHEET-001", "There is no such column.", remedy="Correct it.", file=file.name, column=name
        )
    if missing or not wanted:
        if not wanted:
            _tell_unknown(file.name, form.header, problems)
        return
    raw = read_raw(file, form, wanted, problems)
    if raw is None:
        return
    for name, text in options.where.items():
        raw = raw.take(raw.columns[name] == text)
    _sort_rows(raw, roles, reading, gathered, problems)


def _roles(
    header: Sequence[str], file: str, reading: Reading, options: _Options, problems: Problems
) -> dict[str, Role]:
    return match_columns(
        header,
        file=file,
        marker=reading.panel.marker,
        measure=reading.panel.measure,
        declared={theirs: ours for theirs, ours in options.columns.items() if theirs in header},
        problems=problems,
    )


def _tell_absent(
    declared: Mapping[str, str], headers: set[str], files: Sequence[Path], problems: Problems
) -> None:
    """Refuse a declared column that no file has; detections and annotations need not both have it."""
    for theirs in (name for name in declared if headers and name not in headers):
        problems.add(
            "E-SHEET-001",
            "There is no such column.",
            remedy=nearest(theirs, sorted(headers)),
            file=", ".join(file.name for file in files[:3]),
            column=theirs,
        )


def _tell_unknown(file: str, header: Sequence[str], problems: Problems) -> None:
    problems.add(
        "E-CELLS-001",
        f"None of the columns is known: {', '.join(header[:8])}.",
        remedy="Declare them, such as --column 'Their name=x_um'.",
        file=file,
    )


def _sort_rows(
    raw: RawTable, roles: Mapping[str, Role], reading: Reading, gathered: _Gathered, problems: Problems
) -> None:
    """Tell rows of regions from rows of cells, and read each."""
    rows = np.zeros(len(raw.lines), dtype=np.bool_)
    if "object" in roles:
        rows = np.array(
            [t.casefold() in _OBJECTS for t in raw.columns[roles["object"].column]], dtype=np.bool_
        )
    elif _COUNTS & roles.keys() or not {"x", "x_min", "dab", "positive", "class"} & roles.keys():
        rows[:] = True
    elif {"class", "region_area"} <= roles.keys() and not {
        "dab",
        "positive",
        "name",
        "hematoxylin",
    } & roles.keys():
        rows[:] = "x" not in roles and "x_min" not in roles
    if rows.any():
        # an annotation's own area stands in the plain column, a nucleus' in one that says so
        gathered.summaries.append(summaries_of(raw.take(rows), roles, reading, problems))
    if not rows.all():
        cells, graded = cells_of(raw.take(~rows), roles, reading, problems)
        gathered.add_cells(cells, graded=graded)
    for role in roles.values():
        texts = raw.columns.get(role.column)
        if texts is None or (role.role == "area" and _same_column(roles)):
            continue
        factor, power = FACTORS.get(role.unit, (1.0, 0))
        gathered.columns.append(
            {
                "file": raw.file,
                "column": role.column,
                "read_as": role.role,
                "unit": role.unit,
                "factor": factor * (reading.mpp or 1.0) ** power,
                "n_rows": len(texts),
                "n_missing": int(sum(text in {"", "NaN", "NA"} for text in texts)),
            }
        )


def _same_column(roles: Mapping[str, Role]) -> bool:
    """Whether the area of regions stands where that of nuclei was sought."""
    return "region_area" in roles and roles["region_area"].column == roles["area"].column


def _read_geojson(
    file: Path, reading: Reading, options: _Options, gathered: _Gathered, problems: Problems
) -> None:
    found = read_geojson(file, problems)
    if found is None or problems.errors:
        return
    raw, annotations = found
    gathered.headers.update(raw.columns)
    roles = _roles(list(raw.columns), file.name, reading, options, problems)
    if len(raw.lines):
        _sort_rows(raw, roles, reading, gathered, problems)
    if not annotations or problems.errors:
        return
    regions = regions_of(annotations, file.name, problems=problems)
    if reading.mpp is None:
        problems.add(
            "E-CELLS-003",
            "Regions are in pixels, and the size of a pixel is not given.",
            remedy="Give the micrometres per pixel of the image (--mpp).",
            file=file.name,
        )
        return
    areas = regions.areas_mm2(reading.mpp)
    if areas:
        summary = Summary(areas={reading.default_slide: {"tissue": sum(areas.values()), **areas}})
        gathered.summaries.append(summary)
    if gathered.cells and len(raw.lines):
        cells = gathered.cells[-1]
        x, y = (cells[name].to_numpy(dtype=np.float64) / reading.mpp for name in ("x_um", "y_um"))
        place = regions.locate(x, y)
        placed = cells.assign(compartment=place, border_um=regions.border_um(x, y, reading.mpp))
        gathered.cells[-1] = placed[place != "excluded"].reset_index(drop=True)


def _read_parquet(file: Path, gathered: _Gathered, problems: Problems) -> None:
    told = check_cells(file)
    problems.extend(told)
    if told.errors:
        return
    cells = pq.read_table(file).to_pandas()
    if "cell_type" not in cells:
        cells = cells.assign(cell_type="")
    gathered.add_cells(cells, graded=True)
    for name in cells.columns:
        row = {"file": file.name, "column": name, "read_as": name, "unit": "", "factor": 1.0}
        gathered.columns.append({**row, "n_rows": len(cells), "n_missing": int(cells[name].isna().sum())})


def score_import(found: ImportedCells, panel: str | Path | Panel) -> dict[str, pd.DataFrame]:
    """Scores of every slide of an import; see :func:`pdbiomarker.ihc.score_cells`.

    Parameters
    ----------
    found : ImportedCells
    panel : Panel, name or path

    Returns
    -------
    dict
        Slide -> scores. A density without an area is NaN and says so.
    """
    chosen = read_panel(panel)
    scores = {}
    for slide in found.slides:
        areas = _areas(found, slide)
        graded = found.graded.get(slide, True)
        if slide in found.counts:
            scores[slide] = score_counts(_ordered(found.counts[slide]), areas, chosen, graded=graded)
        else:
            scores[slide] = score_cells(_of_slide(found, slide), areas, chosen, graded=graded)
    return scores


def sensitivity_of_import(found: ImportedCells, panel: str | Path | Panel) -> dict[str, pd.DataFrame]:
    """Scores of every slide under moved thresholds, where all of its cells have a DAB optical density.

    The rows of factor 1 call the cells by the panel's thresholds, not as the export did; see
    :func:`pdbiomarker.ihc.threshold_sensitivity`.
    """
    chosen = read_panel(panel)
    tables = {}
    for slide in found.slides:
        cells = None if slide in found.counts else _of_slide(found, slide)
        if cells is None:
            continue
        moved = threshold_sensitivity(cells, _areas(found, slide), chosen)
        if len(moved):
            tables[slide] = moved
    return tables


def _of_slide(found: ImportedCells, slide: str) -> pd.DataFrame:
    cells = found.cells[found.cells["slide"] == slide]
    known = [name for name in cells.columns if name not in {"x_um", "y_um", "border_um", "dab_od_mean"}]
    known += [
        name
        for name in ("x_um", "y_um", "border_um", "dab_od_mean")
        if name in cells and cells[name].notna().all()
    ]
    return cells[[name for name in cells.columns if name in known]].reset_index(drop=True)


def _areas(found: ImportedCells, slide: str) -> dict[str, float]:
    """Areas of a slide; NaN where a compartment has cells and no area is known."""
    areas = dict(found.areas_mm2.get(slide, {}))
    places = (
        set(found.counts[slide]) if slide in found.counts else set(_of_slide(found, slide)["compartment"])
    )
    known = {"tissue": areas.get("tissue", np.nan)}
    known |= {name: areas.get(name, np.nan) for name in COMPARTMENT_ORDER if name in places | areas.keys()}
    return known


def _ordered[Value](by_compartment: Mapping[str, Value]) -> dict[str, Value]:
    return {name: by_compartment[name] for name in COMPARTMENT_ORDER if name in by_compartment}


def import_cells(
    found: ImportedCells,
    panel: str | Path | Panel,
    *,
    biopsies: Mapping[str, str] | None = None,
    study: Study | None = None,
) -> AnnData:
    """Make an assay, biopsies x features, of an import.

    Parameters
    ----------
    found : ImportedCells
    panel : Panel, name or path
    biopsies : mapping of str to str, optional
        Slide -> biopsy. Without it the export's own column ``biopsy_id`` counts, and without that each slide
        is a biopsy of its name.
    study : Study, optional
        Says the biopsy of each slide, where `biopsies` is not given: by the column ``slide`` of biopsies.csv,
        by slides.csv, or because the slide has the name of a biopsy.

    Returns
    -------
    AnnData
        As from :func:`pdbiomarker.ihc.quantify`. ``uns["columns"]``: how the export was read, as JSON.

    Raises
    ------
    AssayError
        E-CELLS-007: a slide belongs to no biopsy.
    """
    chosen, problems = read_panel(panel), Problems()
    owners: dict[str, str] = {}
    if biopsies is None and study is not None:
        biopsies = _biopsies_of(study)
    for slide in found.slides:
        owner = slide if biopsies is None else biopsies.get(slide)
        owner = found.biopsies.get(slide, owner)
        if owner is None:
            problems.add(
                "E-CELLS-007",
                "The slide belongs to no biopsy.",
                remedy="Name the image in the column slide of biopsies.csv, or in slides.csv, or take it out "
                f"of the export. {nearest(slide, biopsies or {})}",
                value=slide,
            )
        else:
            owners[slide] = owner
    problems.raise_if_any(AssayError)
    scores = score_import(found, chosen)
    moved = sensitivity_of_import(found, chosen)
    results = [(slide, owners[slide], scores[slide]) for slide in sorted(owners)]
    assay = assemble(results, chosen, problems=found.problems, sensitivity=moved)
    assay.uns["columns"] = found.columns.to_json(orient="records")
    return assay


def _biopsies_of(study: Study) -> dict[str, str]:
    """Slide -> biopsy, as the sheets of a study say."""
    found = {str(biopsy): str(biopsy) for biopsy in study.biopsies.index}
    found |= {str(slide): str(biopsy) for slide, biopsy in study.slides["biopsy_id"].items()}
    if "slide" in study.biopsies:
        named = study.biopsies["slide"].dropna()
        found |= {slide_name(str(path)): str(biopsy) for biopsy, path in named.items()}
    return found
