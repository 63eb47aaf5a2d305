"""Slide files: pyramidal, tiled OME-TIFF, the same bytes for the same image."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import tifffile

from pdbiomarker.simulate.layout import CELL_KINDS, DAB_OD, Layout
from pdbiomarker.simulate.render import SlideStyle, render_image

__all__ = ["render_slide", "write_ome_tiff"]

_TILE: Final = (256, 256)
_SOFTWARE: Final = "pdbiomarker simulate"
_NAMESPACE: Final = uuid.UUID("5b0f6a52-3f0e-5c55-9c4f-0f3f3c7a7354")


def write_ome_tiff(
    path: str | Path,
    image: npt.NDArray[np.uint8],
    *,
    mpp: float | None = 0.5,
    levels: int = 3,
    quality: int = 88,
) -> Path:
    """Write an RGB image as a pyramidal, tiled OME-TIFF (JPEG inside).

    Parameters
    ----------
    path : path
        Where to; an existing file is replaced.
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    mpp : float or None
        Size of a pixel, um; None leaves it out of the file.
    levels : int
        Levels of the pyramid; each is a quarter of the width of the one before.
    quality : int
        JPEG quality, 1-100.

    Returns
    -------
    Path
        `path`. The file holds neither a date nor a random identifier.
    """
    path = Path(path)
    metadata: dict[str, Any] = {
        "axes": "YXS",
        "Name": path.name.split(".")[0],
        "UUID": f"urn:uuid:{uuid.uuid5(_NAMESPACE, path.name)}",
        "Creator": _SOFTWARE,
    }
    options: dict[str, Any] = {
        "photometric": "rgb",
        "tile": _TILE,
        "compression": "jpeg",
        "compressionargs": {"level": quality},
    }
    if mpp is not None:
        metadata |= {
            "PhysicalSizeX": mpp,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": mpp,
            "PhysicalSizeYUnit": "µm",
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for level in range(levels):
            factor = 4**level
            if level:
                size = (max(1, image.shape[1] // factor), max(1, image.shape[0] // factor))
                plane = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
            else:
                plane = image
            place: dict[str, Any] = (
                {"subfiletype": 1} if level else {"subifds": levels - 1, "metadata": metadata}
            )
            if mpp is not None:
                place |= {
                    "resolution": (1e4 / (mpp * factor), 1e4 / (mpp * factor)),
                    "resolutionunit": "CENTIMETER",
                }
            tiff.write(plane, software=_SOFTWARE, **options, **place)
    return path


def render_slide(
    path: str | Path,
    cells: pd.DataFrame,
    layout: Layout | None = None,
    *,
    seed: int | np.random.SeedSequence = 1,
    mpp: float | None = 0.5,
    shape: tuple[int, int] = (1024, 1024),
    style: SlideStyle | None = None,
) -> Path:
    """Draw a CD8 IHC slide with cells at known places, and write it as OME-TIFF.

    Parameters
    ----------
    path : path
        The file to write.
    cells : DataFrame
        ``x_um, y_um, positive``; whatever else :func:`place_cells` gives is used where it stands here:
        ``kind`` (default cd8 or lymphocyte, by `positive`), ``dab_level`` (3), ``dab_od``, ``major_um``,
        ``minor_um``, ``angle``.
    layout : Layout, optional
        Tissue and nests; default tissue on all of `shape` but a rim of glass 40 um wide.
    seed : int or SeedSequence
        Source of chance for textures and noise.
    mpp : float or None
        Size of a pixel, um; None draws at 0.5 um and does not say so in the file.
    shape : tuple of int
        Height and width in pixels, where no layout is given.
    style : SlideStyle, optional
        Stain and scanner.

    Returns
    -------
    Path
        `path`.

    Examples
    --------
    >>> import tempfile
    >>> cells = pd.DataFrame({"x_um": [60.0, 90.0], "y_um": [64.0, 64.0], "positive": [True, False]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     slide = render_slide(Path(folder) / "two.ome.tiff", cells, shape=(256, 256))
    ...     tifffile.imread(slide).shape
    (256, 256, 3)
    """
    if layout is None:
        pixel = mpp or 0.5
        rim = round(40 / pixel)
        tissue = np.zeros(shape, dtype=np.bool_)
        tissue[rim:-rim, rim:-rim] = True
        layout = Layout(tissue, np.zeros(shape, dtype=np.bool_), (), pixel)
    rng = np.random.default_rng(seed)
    image = render_image(_complete(cells), layout, rng=rng, style=style)
    return write_ome_tiff(path, image, mpp=mpp)


def _complete(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with every column that drawing needs."""
    positive = cells["positive"].to_numpy(dtype=bool)
    out = cells.reset_index(drop=True)
    defaults: dict[str, npt.NDArray[np.generic]] = {
        "kind": np.where(positive, "cd8", "lymphocyte"),
        "dab_level": np.where(positive, 3, 0),
        "major_um": np.full(len(cells), CELL_KINDS["cd8"][0]),
        "minor_um": np.full(len(cells), CELL_KINDS["cd8"][0] * CELL_KINDS["cd8"][2]),
        "angle": np.zeros(len(cells)),
    }
    for name, values in defaults.items():
        if name not in out:
            out = out.assign(**{name: values})
    if "dab_od" not in out:
        out = out.assign(dab_od=np.array(DAB_OD)[out["dab_level"].to_numpy(dtype=int)])
    return out
