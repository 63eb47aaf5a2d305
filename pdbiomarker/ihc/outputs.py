"""What one slide leaves on disk: cells, scores, QC, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pdbiomarker.errors import Problems
from pdbiomarker.ihc.cells import CELL_COLUMNS
from pdbiomarker.ihc.measure import SlideResult
from pdbiomarker.provenance import atomic_path
from pdbiomarker.tables import write_table

__all__ = ["check_cells", "write_slide"]

_PNG_COMPRESSION: Final = 6


def write_slide(result: SlideResult, slide_id: str, folder: str | Path) -> list[Path]:
    """Write ``cells.parquet``, ``scores.csv``, ``qc.csv`` and ``overlay/*.png`` of one slide.

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
    cells = result.cells.copy()
    cells.insert(0, "slide", np.full(len(cells), slide_id, dtype=object))
    table = pa.Table.from_pandas(cells, preserve_index=False)
    written = [root / "cells.parquet"]
    with atomic_path(written[0]) as partial:
        pq.write_table(table, partial, compression="zstd")
    for name, frame in (("scores.csv", result.scores), ("qc.csv", pd.DataFrame([result.qc]))):
        write_table(frame, root / name)
        written.append(root / name)
    for name, image in (("overview.png", result.overview), ("field.png", result.field)):
        if image is not None:
            written.append(_write_png(image, root / "overlay" / name))
    return written


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
    for column in CELL_COLUMNS:
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
