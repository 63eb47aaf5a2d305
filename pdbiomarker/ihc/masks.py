"""Compartments from a mask: an image whose pixels say what is tumour.

A mask covers the whole slide, at any resolution. Two values, 0 and another: the other is tumour (nest), and
tissue elsewhere is stroma. More values: 0 nothing said, 1 nest, 2 stroma, 3 excluded.

The simple classifier makes such a mask from the nuclei themselves. It knows nothing of morphology: it calls
tumour where nuclei are, on average, large and close together. It is wrong where tumour nuclei are small
(lymphoma, small-cell carcinoma), where stroma is full of plump nuclei (granulation tissue, germinal centres),
and for single tumour cells. It is off unless a panel asks for it, and everything made with it says so.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import tifffile

from pdbiomarker.errors import Problems
from pdbiomarker.ihc.panel import TumourClassifier

__all__ = ["MASK_SUFFIXES", "MaskRegions", "read_mask", "tumour_by_nuclei"]

Float = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

MASK_SUFFIXES: Final = (".mask.png", ".mask.tif", ".mask.tiff")
_NAMES: Final = ("tissue", "nest", "stroma", "excluded", "margin")
_NEST, _STROMA, _EXCLUDED, _MARGIN = 1, 2, 3, 4
_MAX_PIXELS: Final = 100_000_000
_ASPECT: Final = 0.02
_GRID_UM: Final = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class MaskRegions:
    """Compartments of one slide as an image.

    Attributes
    ----------
    codes : array of uint8, shape (Y, X)
        0 tissue of no compartment, 1 nest, 2 stroma, 3 excluded, 4 margin; 3 wherever the slide ends.
    step : float
        Pixels of the full image to a pixel of `codes`.
    tumour : array of bool, shape (Y, X)
        The nests before a margin was cut out.
    """

    codes: Bytes
    step: float
    tumour: npt.NDArray[np.bool_]

    @property
    def names(self) -> tuple[str, ...]:
        """Compartments that there are, in the order in which they are scored."""
        return tuple(_NAMES[code] for code in (_NEST, _STROMA, _MARGIN) if (self.codes == code).any())

    def areas_mm2(self, mpp: float) -> dict[str, float]:  # noqa: ARG002 - a mask draws no area by itself
        """Nothing: a mask also covers glass, so the areas are those of the tissue in it."""
        return {}

    def locate(self, x: Float, y: Float) -> npt.NDArray[np.object_]:
        """Compartment of positions in pixels of the full image; ``tissue`` for none."""
        found: npt.NDArray[np.object_] = np.array(_NAMES, dtype=object)[self._at(self.codes, x, y)]
        return found

    def border_um(self, x: Float, y: Float, mpp: float) -> Float:
        """Distance to the border of the tumour in um, negative inside; exact to a pixel of the mask."""
        if not self.tumour.any() or self.tumour.all():
            return np.full(len(x), np.nan)
        depth = _depth(self.tumour)
        found: Float = self._at(depth, x, y).astype(np.float64) * self.step * mpp
        return found

    def with_margin(self, width: float) -> MaskRegions:
        """Cut a band of `width` pixels of the full image on both sides of the border out of the others."""
        if width <= 0 or not self.tumour.any() or self.tumour.all():
            return self
        band = np.abs(_depth(self.tumour)) <= width / self.step
        codes = np.where(band & (self.codes != _EXCLUDED), _MARGIN, self.codes).astype(np.uint8)
        return dataclasses.replace(self, codes=codes)

    def _at(self, image: npt.NDArray[np.generic], x: Float, y: Float) -> npt.NDArray[np.generic]:
        rows = np.clip((np.asarray(y) / self.step).astype(np.int64), 0, image.shape[0] - 1)
        columns = np.clip((np.asarray(x) / self.step).astype(np.int64), 0, image.shape[1] - 1)
        return image[rows, columns]


def _depth(tumour: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Distance to the border in pixels of the mask, negative inside; the border runs between two pixels."""
    inside, outside = (
        cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for mask in (tumour, ~tumour)
    )
    depth: npt.NDArray[np.float32] = np.where(tumour, 0.5 - inside, outside - 0.5).astype(np.float32)
    return depth


def read_mask(
    path: str | Path, *, shape: tuple[int, int], mpp: float, problems: Problems
) -> MaskRegions | None:
    """Read the mask of a slide.

    Parameters
    ----------
    path : path
        PNG or TIFF of one channel and 8 bits. It covers the whole slide; where a TIFF states its resolution,
        that must agree with the slide's.
    shape : tuple of int
        Height and width of the slide.
    mpp : float
        Micrometres per pixel of the slide.
    problems : Problems
        Takes E-REGION-006, for what cannot be used.

    Returns
    -------
    MaskRegions or None
        None when the mask cannot be used.
    """
    file = Path(path)

    def refuse(message: str, remedy: str) -> None:
        problems.add(
            "E-REGION-006", message, remedy=remedy, file=file.name, severity="quarantine", item=file.stem
        )

    try:
        image, stated = _pixels(file)
    except Exception as error:  # whatever a foreign or damaged image makes its decoder raise
        refuse(f"The mask cannot be read ({error}).", "Give a PNG or TIFF of one channel and 8 bits.")
        return None
    steps = shape[0] / image.shape[0], shape[1] / image.shape[1]
    slack = max(_ASPECT, 1 / min(image.shape))
    if abs(steps[0] / steps[1] - 1) > slack:
        sizes = f"{image.shape[1]} x {image.shape[0]} for a slide of {shape[1]} x {shape[0]}"
        refuse(f"The mask has another shape than the slide: {sizes}.", "Export it of the whole slide.")
        return None
    step = float(np.sqrt(steps[0] * steps[1]))
    if stated is not None and abs(stated / (step * mpp) - 1) > _ASPECT:
        refuse(
            f"The mask says {stated:g} um per pixel; covering the slide it has {step * mpp:g}.",
            "Export the mask of the whole slide, or correct its resolution.",
        )
        return None
    values = np.unique(image)
    if len(values) == 2 and values[0] == 0:
        tumour = image > 0
        codes = np.where(tumour, _NEST, _STROMA).astype(np.uint8)
    elif values.max() <= _EXCLUDED:
        codes = image.copy()
        tumour = codes == _NEST
    else:
        refuse(
            f"The mask holds the values {', '.join(map(str, values[:8]))}.",
            "Use 0 and one other value, or 0 nothing said, 1 tumour, 2 stroma, 3 excluded.",
        )
        return None
    return MaskRegions(codes, step, tumour)


def _check_chunks(data: bytes) -> None:
    """Walk a PNG to its end: the decoder gives pixels of a damaged one, and says so nowhere but on screen."""
    at = 8
    while data[at + 4 : at + 8] != b"IEND":
        if at + 12 > len(data):
            raise ValueError("it is cut short")
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if (
            end > len(data)
            or zlib.crc32(memoryview(data)[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]
        ):
            raise ValueError("it is cut short or damaged")
        at = end


def _pixels(file: Path) -> tuple[Bytes, float | None]:
    """Pixels of a mask and the micrometres per pixel that it states; its size is judged by its header."""
    if file.suffix.lower() == ".png":
        with file.open("rb") as stream:
            head = stream.read(33)
        if head[:8] != b"\x89PNG\r\n\x1a\n":
            raise ValueError("it is no PNG")
        width, height = struct.unpack(">II", head[16:24])
        _check_size(height, width)
        _check_chunks(file.read_bytes())
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise ValueError("its pixels cannot be decoded")
        stated = None
    else:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages.first
            _check_size(page.imagelength, page.imagewidth)
            image = page.asarray()
            stated = _tiff_um(page)
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError("it has more than one channel, or not 8 bits")
    return np.asarray(image, dtype=np.uint8), stated


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1 or height * width > _MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels are too few or too many")


def _tiff_um(page: tifffile.TiffPage) -> float | None:
    tags = page.tags
    if "XResolution" not in tags or "ResolutionUnit" not in tags:
        return None
    above, below = tags["XResolution"].value
    unit = {2: 25_400.0, 3: 10_000.0}.get(int(tags["ResolutionUnit"].value))
    return None if unit is None or above <= 0 or below <= 0 else unit * below / above


def tumour_by_nuclei(
    cells: pd.DataFrame, *, shape: tuple[int, int], mpp: float, rule: TumourClassifier
) -> MaskRegions:
    """Find the tumour by the size and density of nuclei: a simple classifier; see the limits above.

    Nuclei are summed on a grid of 10 um; round every place, within a Gaussian of half the rule's radius, it
    is tumour where their mean area and their density both reach the rule's limits. All else is stroma.

    Parameters
    ----------
    cells : DataFrame
        x_um, y_um, area_um2.
    shape : tuple of int
        Height and width of the slide in pixels.
    mpp : float
        Micrometres per pixel of the slide.
    rule : TumourClassifier
        Locked in the panel: nothing is fitted to the slide.

    Returns
    -------
    MaskRegions
    """
    height, width = (int(np.ceil(n * mpp / _GRID_UM)) for n in shape)
    rows = np.clip((cells["y_um"].to_numpy(dtype=np.float64) / _GRID_UM).astype(np.int64), 0, height - 1)
    columns = np.clip((cells["x_um"].to_numpy(dtype=np.float64) / _GRID_UM).astype(np.int64), 0, width - 1)
    place = rows * width + columns
    area = cells["area_um2"].to_numpy(dtype=np.float64)
    sums = [np.bincount(place, weights, height * width) for weights in (np.ones(len(area)), area)]
    sigma = rule.radius_um / 2 / _GRID_UM
    smooth = [
        cv2.GaussianBlur(total.reshape(height, width), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        for total in sums
    ]
    density = smooth[0] * 1e6 / _GRID_UM**2
    mean = smooth[1] / np.maximum(smooth[0], 1e-12)
    tumour = (mean >= rule.min_area_um2) & (density >= rule.min_density_mm2)
    codes = np.where(tumour, _NEST, _STROMA).astype(np.uint8)
    return MaskRegions(codes, _GRID_UM / mpp, tumour)
