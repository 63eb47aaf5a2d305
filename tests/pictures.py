"""Slides painted for tests: elliptical nuclei at known places, by Beer and Lambert."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

HEMATOXYLIN = np.array([0.65, 0.70, 0.29]) / np.linalg.norm([0.65, 0.70, 0.29])
DAB = np.array([0.27, 0.57, 0.78]) / np.linalg.norm([0.27, 0.57, 0.78])
GLASS = (243.0, 243.0, 241.0)


@dataclasses.dataclass(frozen=True)
class Painting:
    """An image and what was painted: centres in um, and who is positive."""

    image: Pixels
    centres_um: NDArray[np.float64]
    positive: NDArray[np.bool_]
    mpp: float


def paint(
    *, side: int = 600, mpp: float = 0.5, spacing_um: float = 15.0, share: float = 0.3, seed: int = 1
) -> Painting:
    """Nuclei of 7-9 um on a jittered grid, in pale tissue with a rim of glass of 30 um."""
    rng = np.random.default_rng(seed)
    grid = np.arange(45.0, side * mpp - 45.0, spacing_um)
    centres = np.array([(y, x) for y in grid for x in grid])
    centres += rng.uniform(-1.2, 1.2, centres.shape)
    positive = rng.random(len(centres)) < share
    hematoxylin = np.zeros((side, side))
    dab = np.zeros((side, side))
    rim = int(30 / mpp)
    hematoxylin[rim:-rim, rim:-rim] = 0.06
    y, x = (np.mgrid[:side, :side] + 0.5) * mpp
    for (cy, cx), stained in zip(centres, positive, strict=True):
        a, b, angle = rng.uniform(3.7, 4.5), rng.uniform(3.3, 3.7), rng.uniform(0, np.pi)
        near = (
            slice(int((cy - 8) / mpp), int((cy + 8) / mpp)),
            slice(int((cx - 8) / mpp), int((cx + 8) / mpp)),
        )
        dy, dx = y[near] - cy, x[near] - cx
        u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        inside = 1 / (1 + np.exp((np.sqrt((u / a) ** 2 + (v / b) ** 2) - 1) * 12))
        hematoxylin[near] += inside * (0.15 if stained else 0.35)
        dab[near] += inside * (0.7 if stained else 0.0)
    density = hematoxylin[..., None] * HEMATOXYLIN + dab[..., None] * DAB
    noisy = np.array(GLASS) * 10**-density + rng.normal(0, 1.2, density.shape)
    return Painting(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), centres, positive, mpp)


def write_tiff(path: Path, image: NDArray[np.generic], *, mpp: float | None = 0.5, **options: object) -> Path:
    """A tiled, deflated TIFF with its pixel size in the resolution tags."""
    kwargs: dict[str, object] = {"photometric": "rgb", "tile": (256, 256), "compression": "zlib"}
    if mpp is not None:
        kwargs |= {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    kwargs |= options
    tifffile.imwrite(path, image, **{k: v for k, v in kwargs.items() if v is not None})
    return path
