"""Which compartment a cell lies in, how far from the border of the tumour, and how large each compartment is.

``tissue`` is everything evaluable; ``nest``, ``stroma`` and ``margin`` are parts of it, and no place belongs
to two of them. The area of an annotated compartment is what was drawn, less what is excluded, artefact or not
scanned; the area of a margin, and of what a mask or a classifier gave, is the evaluable tissue in it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.ihc.masks import MASK_SUFFIXES, read_mask, tumour_by_nuclei
from pdbiomarker.ihc.panel import Panel
from pdbiomarker.ihc.regions import Compartments, read_regions
from pdbiomarker.ihc.tiles import TILE_UM, Tiles
from pdbiomarker.ihc.tissue import Tissue

__all__ = ["Placed", "compartments_in", "find_regions", "is_mask", "place_cells", "read_compartments"]

_ALONE: Final = "tissue"


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """Cells with their places, and the areas that go with them.

    Attributes
    ----------
    cells : DataFrame
        Without those in excluded places, numbered anew; ``compartment``, and ``border_um`` where there is a
        tumour.
    areas_mm2 : dict
        Evaluable area by compartment, ``tissue`` first.
    tiles : Tiles
        The same areas by squares of the slide.
    excluded_mm2 : float
        Tissue left out because a reader excluded it.
    """

    cells: pd.DataFrame
    areas_mm2: dict[str, float]
    tiles: Tiles
    excluded_mm2: float


def find_regions(folder: str | Path, slide_id: str) -> Path | None:
    """Give the file of a slide's regions: ``<slide_id>.geojson``, or else a mask ``<slide_id>.mask.png``."""
    root = Path(folder)
    for suffix in (".geojson", *MASK_SUFFIXES):
        if (root / f"{slide_id}{suffix}").is_file():
            return root / f"{slide_id}{suffix}"
    return None


def is_mask(path: str | Path) -> bool:
    """Tell whether a file of regions is a mask, by its name."""
    return str(path).lower().endswith((".png", ".tif", ".tiff"))


def read_compartments(
    path: str | Path, *, shape: tuple[int, int], mpp: float, problems: Problems
) -> Compartments | None:
    """Read regions or a mask; None where the file cannot be used (told in `problems`)."""
    if is_mask(path):
        return read_mask(path, shape=shape, mpp=mpp, problems=problems)
    return read_regions(path, shape=shape, problems=problems)


def compartments_in(path: str | Path, panel: Panel) -> tuple[str, ...]:
    """Give the compartments that a file of regions can give under a panel, ``tissue`` aside.

    Only the outlines are read: what lies off the slide is known with the slide. A mask may hold any.
    """
    if is_mask(path):
        names: tuple[str, ...] = ("nest", "stroma")
    else:
        regions = read_regions(path, problems=Problems())
        names = () if regions is None else regions.names
    return (*names, "margin") if "nest" in names and panel.margin_um > 0 else names


def place_cells(
    cells: pd.DataFrame,
    tissue: Tissue,
    regions: Compartments | None,
    *,
    panel: Panel,
    shape: tuple[int, int],
    mpp: float,
) -> Placed:
    """Place the cells of a slide.

    Parameters
    ----------
    cells : DataFrame
        x_um, y_um, area_um2.
    tissue : Tissue
    regions : Compartments or None
        None: where the panel asks for it, the tumour is found by its nuclei; else all is tissue.
    panel : Panel
        Its margin, and its classifier.
    shape : tuple of int
        Height and width of the slide.
    mpp : float
        Micrometres per pixel of the slide.

    Returns
    -------
    Placed
    """
    if regions is None and panel.tumour is not None:
        regions = tumour_by_nuclei(cells, shape=shape, mpp=mpp, rule=panel.tumour)
    if regions is None:
        areas = {_ALONE: tissue.area_mm2}
        return Placed(cells, areas, _tiles(tissue, tissue.mask, {}, areas), 0.0)
    regions = regions.with_margin(panel.margin_um / mpp)
    x, y = (cells[name].to_numpy(dtype=np.float64) / mpp for name in ("x_um", "y_um"))
    where = regions.locate(x, y)
    kept = where != "excluded"
    cells = cells.assign(compartment=where, border_um=regions.border_um(x, y, mpp))[kept]
    cells = cells.reset_index(drop=True)
    if "cell" in cells:
        cells["cell"] = np.arange(1, len(cells) + 1, dtype=np.int32)
    inside = _by_pixel(tissue, regions, mpp)
    evaluable = tissue.mask & (inside != "excluded")
    pixel = tissue.mpp**2 * 1e-6
    areas = {_ALONE: float(evaluable.sum()) * pixel}
    drawn = regions.areas_mm2(mpp)
    lost = tissue.artefact | tissue.nodata
    for name in regions.names:
        own = inside == name
        if name in drawn:
            areas[name] = drawn[name] * (1 - float(lost[own].mean())) if own.any() else drawn[name]
        else:
            areas[name] = float((evaluable & own).sum()) * pixel
    parts = {name: inside == name for name in regions.names}
    excluded = float((tissue.mask & (inside == "excluded")).sum()) * pixel
    return Placed(cells, areas, _tiles(tissue, evaluable, parts, areas), excluded)


def _by_pixel(tissue: Tissue, regions: Compartments, mpp: float) -> npt.NDArray[np.object_]:
    """Compartment of every pixel of the tissue's mask."""
    rows, columns = (np.arange(n) + 0.5 for n in tissue.mask.shape)
    x, y = (axis.ravel() * tissue.mpp / mpp for axis in np.meshgrid(columns, rows))
    found: npt.NDArray[np.object_] = regions.locate(x, y).reshape(tissue.mask.shape)
    return found


def _tiles(
    tissue: Tissue,
    evaluable: npt.NDArray[np.bool_],
    parts: dict[str, npt.NDArray[np.bool_]],
    areas: dict[str, float],
) -> Tiles:
    """Spread the areas over squares, as the tissue is spread."""
    height, width = evaluable.shape
    rows, columns = (((np.arange(n) + 0.5) * tissue.mpp / TILE_UM).astype(np.int64) for n in (height, width))
    across = int(columns[-1]) + 1
    number = rows[:, None] * across + columns[None, :]
    total = (int(rows[-1]) + 1) * across
    found = {}
    for name, area in areas.items():
        own = evaluable & parts[name] if name in parts else evaluable
        pixels = np.bincount(number[own], minlength=total).astype(np.float64)
        found[name] = pixels * (area / pixels.sum()) if pixels.any() else pixels
    return Tiles(TILE_UM, across, found)
