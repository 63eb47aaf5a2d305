"""What slides leave on disk: cells, scores, moved thresholds, QC, pictures; cells as AnnData and GeoJSON."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from anndata import AnnData

from pdbiomarker.errors import Problems
from pdbiomarker.ihc.measure import SlideResult
from pdbiomarker.provenance import atomic_path
from pdbiomarker.tables import write_table

__all__ = [
    "CELL_FILE_COLUMNS",
    "cells_to_anndata",
    "check_cells",
    "join_slides",
    "write_cells",
    "write_cells_geojson",
    "write_slide",
]

#: What every table of cells holds, in this order; further columns follow.
CELL_FILE_COLUMNS: Final = (
    "slide",
    "x_um",
    "y_um",
    "area_um2",
    "compartment",
    "dab_od_mean",
    "haematoxylin_od_mean",
    "class",
    "positive",
)
_PNG_COMPRESSION: Final = 6
_CHUNK: Final = 20_000
_NAMESPACE: Final = uuid.UUID("c0ffee01-7354-5a3c-9a44-1f0b2d526d7e")
_CORNERS: Final = 12
_GRADES: Final = (
    ("Negative", (112, 112, 225)),
    ("1+", (255, 215, 0)),
    ("2+", (255, 140, 0)),
    ("3+", (178, 34, 34)),
)


def write_cells(cells: pd.DataFrame, path: str | Path, *, slide_id: str | None = None) -> Path:
    """Write a table of cells as Parquet, under the names of :data:`CELL_FILE_COLUMNS`.

    Parameters
    ----------
    cells : DataFrame
        As from :meth:`pdbiomarker.ihc.CellFinder.find`, or imported ones with a column ``slide``.
    path : path
    slide_id : str, optional
        The slide of all of them.
    """
    named = cells.rename(columns={"slide_id": "slide"})
    if slide_id is not None:
        named = named.assign(slide=np.full(len(named), slide_id, dtype=object))
    first = [name for name in CELL_FILE_COLUMNS if name in named]
    named = named[[*first, *(name for name in named if name not in first)]]
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as partial:
        pq.write_table(pa.Table.from_pandas(named, preserve_index=False), partial, compression="zstd")
    return file


def write_slide(result: SlideResult, slide_id: str, folder: str | Path) -> list[Path]:
    """Write the files of one slide.

    ``cells.parquet``, ``scores.csv``, ``sensitivity.csv``, ``qc.csv`` and ``overlay/*.png``.

    Parameters
    ----------
    result : SlideResult
    slide_id : str
        The first column of the cells.
    folder : path
        Made where it does not exist.

    Returns
    -------
    list of Path
        The files, in the order in which they were written.
    """
    root = Path(folder)
    (root / "overlay").mkdir(parents=True, exist_ok=True)
    written = [write_cells(result.cells, root / "cells.parquet", slide_id=slide_id)]
    tables = {
        "scores.csv": result.scores,
        "sensitivity.csv": result.sensitivity,
        "qc.csv": pd.DataFrame([result.qc]),
    }
    for name, frame in tables.items():
        write_table(frame, root / name)
        written.append(root / name)
    for name, image in (("overview.png", result.overview), ("field.png", result.field)):
        if image is not None:
            written.append(_write_png(image, root / "overlay" / name))
    return written


def join_slides(slides: Sequence[tuple[str, Path]], out: str | Path) -> list[Path]:
    """Put the files of several slides together: one table of cells, of scores, of QC; one folder of pictures.

    Parameters
    ----------
    slides : sequence of (slide id, folder)
        Folders as :func:`write_slide` leaves them.
    out : path

    Returns
    -------
    list of Path
        ``cells.parquet``, ``scores.csv``, ``sensitivity.csv``, ``qc.csv`` (each with the column ``slide``
        first) and ``overlay/<folder>-<picture>.png``.
    """
    root, written = Path(out), []
    with atomic_path(root / "cells.parquet") as partial:
        writer: pq.ParquetWriter | None = None
        for _, folder in slides:
            table = pq.read_table(folder / "cells.parquet")
            if writer is None:
                writer = pq.ParquetWriter(partial, table.schema, compression="zstd")
            writer.write_table(_in_schema(table, writer.schema))
        if writer is None:
            empty = pa.table({name: pa.array([], pa.string()) for name in CELL_FILE_COLUMNS})
            pq.write_table(empty, partial)
        else:
            writer.close()
    written.append(root / "cells.parquet")
    for name in ("scores.csv", "sensitivity.csv", "qc.csv"):
        with atomic_path(root / name) as partial:
            partial.write_text("".join(_joined_lines(slides, name)), encoding="utf-8", newline="")
        written.append(root / name)
    for _, folder in slides:
        for picture in sorted((folder / "overlay").glob("*.png")):
            target = root / "overlay" / f"{folder.name}-{picture.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(target) as partial:
                partial.write_bytes(picture.read_bytes())
            written.append(target)
    return written


def _in_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give a table the columns of another: slides with and without regions differ by ``border_um``."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _joined_lines(slides: Sequence[tuple[str, Path]], name: str) -> Iterator[str]:
    """Lines of several tables of one form, the slide before each."""
    header = ""
    for slide, folder in slides:
        first, *lines = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        if not header:
            header = first
            yield f"slide,{first}"
        label = pd.Series([slide]).to_csv(index=False, header=False).rstrip("\n")
        for line in lines:
            yield f"{label},{line}"


def cells_to_anndata(cells: pd.DataFrame, slide_id: str) -> AnnData:
    """Give the cells of a slide as AnnData, for spatial analysis.

    Parameters
    ----------
    cells : DataFrame
        As from :meth:`pdbiomarker.ihc.CellFinder.find`.
    slide_id : str

    Returns
    -------
    AnnData
        X: optical densities and nuclear area (cells x measures); obs: class, positive, compartment and the
        distance to the border where known; ``obsm["spatial"]``: x and y in um. Cell names are the slide's id
        and the cell's number.
    """
    measures = [name for name in ("dab_od_mean", "haematoxylin_od_mean", "area_um2") if name in cells]
    names = pd.Index([f"{slide_id}:{n}" for n in range(1, len(cells) + 1)], dtype=object)
    facts = [n for n in ("class", "positive", "compartment", "border_um", "cell_type") if n in cells]
    obs = cells[facts].set_axis(names, axis=0)
    obs.insert(0, "slide", slide_id)
    var = pd.DataFrame(index=pd.Index(measures, dtype=object))
    found = AnnData(X=cells[measures].to_numpy(dtype=np.float64), obs=obs, var=var)
    found.obsm["spatial"] = cells[["x_um", "y_um"]].to_numpy(dtype=np.float64)
    found.uns["spatial_unit"] = "um"
    return found


def write_cells_geojson(cells: pd.DataFrame, path: str | Path, *, mpp: float, slide_id: str = "") -> Path:
    """Write cells as QuPath reads detections: pixels of the full image, one feature a cell.

    The outline is a circle (12 corners) of the nucleus' area: where it is and what it was called, not its
    shape. Cells are written in portions, so that memory does not grow with their number.

    Parameters
    ----------
    cells : DataFrame
        x_um, y_um, area_um2, class; dab_od_mean and haematoxylin_od_mean where known.
    path : path
    mpp : float
        Micrometres per pixel of the full image.
    slide_id : str
        What the ids of the features are made from: same slide, same bytes.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write('{"type":"FeatureCollection","features":[')
        for start in range(0, len(cells), _CHUNK):
            lines = _feature_texts(cells.iloc[start : start + _CHUNK], start, mpp, slide_id)
            stream.write(("," if start else "") + ",".join(lines))
        stream.write("]}\n")
    return file


def _feature_texts(cells: pd.DataFrame, start: int, mpp: float, slide_id: str) -> Iterator[str]:
    angle = 2 * np.pi * np.arange(_CORNERS) / _CORNERS
    radius = np.sqrt(
        cells["area_um2"].to_numpy(dtype=np.float64) / (_CORNERS / 2 * np.sin(2 * np.pi / _CORNERS))
    )
    x = (cells["x_um"].to_numpy(dtype=np.float64)[:, None] + radius[:, None] * np.cos(angle)) / mpp
    y = (cells["y_um"].to_numpy(dtype=np.float64)[:, None] + radius[:, None] * np.sin(angle)) / mpp
    corners = np.stack([x, y], axis=2).round(1)
    rings = np.concatenate([corners, corners[:, :1]], axis=1).tolist()
    kept = {"dab_od_mean": "Nucleus: DAB OD mean", "haematoxylin_od_mean": "Nucleus: Hematoxylin OD mean"}
    names = [name for name in kept if name in cells]
    measured = [cells[name].to_numpy(dtype=np.float64).round(4).tolist() for name in names]
    heads = [f'"{kept[name]}":' for name in names]
    shells = [f'"classification":{{"name":"{label}","color":[{r},{g},{b}]}}' for label, (r, g, b) in _GRADES]
    base = uuid.uuid5(_NAMESPACE, slide_id).hex
    for place, grade in enumerate(cells["class"].tolist()):
        number = f"{start + place + 1:012x}"
        identity = f"{base[:8]}-{base[8:12]}-{base[12:16]}-{base[16:20]}-{number}"
        values = [m[place] for m in measured]
        told = ",".join(f"{h}{v}" for h, v in zip(heads, values, strict=True) if v == v)  # noqa: PLR0124
        ring = str(rings[place]).replace(" ", "")
        yield (
            f'{{"type":"Feature","id":"{identity}","geometry":{{"type":"Polygon","coordinates":[{ring}]}},'
            f'"properties":{{"objectType":"detection",{shells[int(grade)]},"measurements":{{{told}}}}}}}'
        )


def _write_png(image: npt.NDArray[np.uint8], path: Path) -> Path:
    done, data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION])
    if not done:
        raise OSError(f"{path.name} could not be encoded")
    with atomic_path(path) as partial:
        partial.write_bytes(data.tobytes())
    return path


def check_cells(path: str | Path) -> Problems:
    """Check a table of cells (Parquet): its columns, and that their values are possible."""
    file, problems = Path(path), Problems()
    if not file.is_file():
        problems.add("E-FILE-001", "There is no such file.", remedy="Correct the path.", file=file.name)
        return problems
    try:
        frame = pq.read_table(file).to_pandas()
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these
        problems.add(
            "E-FILE-005",
            f"The file is no Parquet table ({type(error).__name__}).",
            remedy="Give a cells.parquet.",
            file=file.name,
        )
        return problems
    for column in CELL_FILE_COLUMNS:
        if column not in frame:
            problems.add(
                "E-SHEET-001",
                f"The column {column!r} is missing.",
                remedy="Export the cells again.",
                file=file.name,
                column=column,
            )
    if problems.errors:
        return problems
    limits = {
        "x_um": (0, np.inf),
        "y_um": (0, np.inf),
        "area_um2": (0, 1e4),
        "dab_od_mean": (-4, 4),
        "haematoxylin_od_mean": (-4, 4),
        "class": (0, 3),
    }
    for column, (low, high) in limits.items():
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
        wrong = np.flatnonzero(~((values >= low) & (values <= high)))
        if wrong.size:
            row = int(wrong[0])
            problems.add(
                "E-SHEET-008",
                f"{wrong.size} values lie outside {low} to {high}; the first is in row {row + 1}.",
                remedy="Export the cells again.",
                file=file.name,
                row=row + 1,
                column=column,
                value=frame[column].iloc[row],
            )
    mismatch = np.flatnonzero((frame["class"].to_numpy() > 0) != frame["positive"].to_numpy(dtype=bool))
    if mismatch.size:
        problems.add(
            "E-SHEET-008",
            "A cell's class and its call contradict each other.",
            file=file.name,
            row=int(mismatch[0]) + 1,
            column="positive",
            remedy="Export the cells again.",
        )
    return problems
