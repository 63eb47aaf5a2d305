r"""Draw a brightfield image of a section stained with haematoxylin and DAB.

The image follows Beer and Lambert: ``pixel = white * 10 ** -(H * h + D * d)``, with the amounts H and D of
the two stains as optical densities (log10) and h, d their unit colour vectors (Ruifrok and Johnston,
Anal Quant Cytol Histol 2001;23:291-299). H and D are painted cell by cell, then the lens blurs, the lamp is
uneven and the sensor adds noise.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from pdbiomarker.simulate.layout import CELL_KINDS, DAB_OD, Layout, smooth_noise

__all__ = ["DAB", "HEMATOXYLIN", "SlideStyle", "render_image"]

Float = npt.NDArray[np.float32]

HEMATOXYLIN: Final = (0.65, 0.70, 0.29)
DAB: Final = (0.27, 0.57, 0.78)


@dataclasses.dataclass(frozen=True, slots=True)
class SlideStyle:
    """How a slide was stained and scanned.

    Attributes
    ----------
    white : tuple of float
        RGB of empty glass, 0-255.
    hematoxylin_scale, dab_scale : float
        Strength of the two stains, 1 = usual.
    blur_um : float
        Standard deviation of the lens's point spread, um.
    noise : float
        Standard deviation of the sensor's noise, grey values.
    shading : float
        Relative fall of the light from one corner to the other.
    """

    white: tuple[float, float, float] = (243.0, 243.0, 241.0)
    hematoxylin_scale: float = 1.0
    dab_scale: float = 1.0
    blur_um: float = 0.36
    noise: float = 1.3
    shading: float = 0.012


def render_image(
    cells: pd.DataFrame, layout: Layout, *, rng: np.random.Generator, style: SlideStyle | None = None
) -> npt.NDArray[np.uint8]:
    """Draw cells on tissue.

    Parameters
    ----------
    cells : DataFrame
        As :func:`pdbiomarker.simulate.place_cells` returns it.
    layout : Layout
        Tissue and nests; its shape is the image's.
    rng : Generator
        Source of chance for textures and noise.
    style : SlideStyle, optional
        Stain and scanner.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB.
    """
    style = style or SlideStyle()
    thickness, hematoxylin, dab = _background(rng, layout)
    hematoxylin += _membranes(cells, layout)
    hematoxylin, dab = hematoxylin * thickness, dab * thickness
    grain = _grain(rng, layout.mpp)
    for kind in CELL_KINDS:
        part = cells[cells["kind"] == kind]
        for start in range(0, len(part), 400):
            _paint(part.iloc[start : start + 400], hematoxylin, dab, grain, rng, layout.mpp)
    _haze_and_specks(dab, layout, rng)
    return _scan(hematoxylin * style.hematoxylin_scale, dab * style.dab_scale, rng, style, layout.mpp)


def _background(rng: np.random.Generator, layout: Layout) -> tuple[Float, Float, Float]:
    """Thickness of the tissue (0-1), and the amounts of both stains between the cells."""
    shape, mpp = layout.shape, layout.mpp
    fibres = _fibres(rng, shape, mpp)
    mottle = smooth_noise(rng, shape, 1.1 / mpp)
    cloud = smooth_noise(rng, shape, 28 / mpp)
    tissue = np.asarray(cv2.GaussianBlur(layout.tissue.astype(np.float32), (0, 0), 0.9 / mpp))
    nest = np.asarray(cv2.GaussianBlur(layout.nest.astype(np.float32), (0, 0), 1.6 / mpp))
    # Slits between collagen fibres, and small vacuoles anywhere: glass shows through.
    slits = _step(fibres + 0.7 * cloud, 2.15, 0.30) * (1 - nest)
    vacuoles = _step(smooth_noise(rng, shape, 2.2 / mpp) + 0.3 * cloud, 2.55, 0.16)
    thickness = tissue * (1 - 0.8 * np.maximum(slits, 0.9 * vacuoles))
    stroma = 0.062 - 0.015 * fibres + 0.011 * cloud + 0.007 * mottle
    cytoplasm = 0.098 + 0.012 * cloud + 0.016 * mottle
    hematoxylin = np.clip(stroma * (1 - nest) + cytoplasm * nest, 0.008, None)
    dab = np.clip(0.016 + 0.006 * cloud + 0.006 * mottle + 0.006 * nest, 0.0, None)
    # Torn edges hold more stain.
    edge = np.asarray(cv2.GaussianBlur(layout.tissue.astype(np.float32), (0, 0), 3.0 / mpp))
    rim = np.clip(1 - np.abs(edge - 0.62) / 0.35, 0, 1) * tissue
    return (
        thickness.astype(np.float32),
        (hematoxylin + 0.045 * rim).astype(np.float32),
        (dab + 0.028 * rim).astype(np.float32),
    )


def _membranes(cells: pd.DataFrame, layout: Layout) -> Float:
    """Tumour cells: cytoplasm denser near the nucleus, a pale line where two cells meet."""
    shape, mpp = layout.shape, layout.mpp
    centres = cells.loc[cells["kind"] == "tumor", ["x_um", "y_um"]].to_numpy(dtype=np.float64)
    out = np.zeros((shape[0] // 2 + 1, shape[1] // 2 + 1), dtype=np.float32)
    half = (out.shape[1], out.shape[0])
    nest = cv2.resize(layout.nest.astype(np.uint8), half, interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(np.asarray(nest))
    if len(centres) > 2 and rows.size:
        points = np.column_stack([columns + 0.5, rows + 0.5]) * 2 * mpp
        near, _ = cKDTree(centres).query(points, k=2)
        line = np.exp(-(((near[:, 1] - near[:, 0]) / 1.3) ** 2)) * (near[:, 0] < 12)
        dense = np.exp(-((near[:, 0] / 7.5) ** 2))
        out[rows, columns] = 0.030 * dense - 0.034 * line
    large = np.asarray(cv2.resize(out, (out.shape[1] * 2, out.shape[0] * 2), interpolation=cv2.INTER_LINEAR))
    return np.ascontiguousarray(large[: shape[0], : shape[1]], dtype=np.float32)


def _step(field: Float, threshold: float, width: float) -> Float:
    """0 below the threshold, 1 above, smooth between."""
    return np.asarray(np.clip((field - threshold) / width + 0.5, 0, 1), dtype=np.float32)


def _fibres(rng: np.random.Generator, shape: tuple[int, int], mpp: float) -> Float:
    """Wavy bundles: white noise drawn out along a slowly turning direction; variance 1."""
    half = (shape[0] // 2 + 1, shape[1] // 2 + 1)
    noise = smooth_noise(rng, half, 0.55 / mpp)
    direction = 0.55 * smooth_noise(rng, half, 35 / mpp)
    reach = max(2, round(9 / mpp))
    out = np.zeros(half, dtype=np.float32)
    angles = np.linspace(-1.2, 1.2, 7)
    for angle in angles:
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.float32)
        tip = (round(reach + reach * np.cos(angle)), round(reach + reach * np.sin(angle)))
        tail = (2 * reach - tip[0], 2 * reach - tip[1])
        cv2.line(kernel, tail, tip, 1.0, 1, cv2.LINE_AA)
        kernel = kernel / kernel.sum()
        drawn = np.asarray(cv2.filter2D(noise, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT))
        near = np.clip(1 - np.abs(np.clip(direction, -1.2, 1.2) - angle) / 0.4, 0, 1)
        out += near.astype(np.float32) * drawn
    out = (out - out.mean()) / out.std()
    # Collagen waves: shift what was drawn along smooth curves, while enlarging it.
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / 2
    shift = np.float32(1.3 / mpp) * smooth_noise(rng, shape, 7 / mpp)
    sway = np.float32(4.0 / mpp) * smooth_noise(rng, shape, 26 / mpp)
    return np.asarray(
        cv2.remap(
            out, columns + 0.4 * sway, rows + shift + sway, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        ),
        dtype=np.float32,
    )


def _grain(rng: np.random.Generator, mpp: float) -> Float:
    """A tile of chromatin texture, variance 1, that wraps around."""
    noise = rng.standard_normal((512, 512), dtype=np.float32)
    wrapped = np.pad(noise, 32, mode="wrap")
    fine = np.asarray(cv2.GaussianBlur(wrapped, (0, 0), 0.45 / mpp))[32:-32, 32:-32]
    coarse = np.asarray(cv2.GaussianBlur(wrapped, (0, 0), 1.1 / mpp))[32:-32, 32:-32]
    mixed = fine / fine.std() + 0.9 * coarse / coarse.std()
    return np.asarray(mixed / mixed.std(), dtype=np.float32)


@dataclasses.dataclass(frozen=True, slots=True)
class _Look:
    """How a kind of nucleus looks: amount of haematoxylin, its spread, rim and grain; nucleoli."""

    amount: float
    spread: float
    rim: float
    grain: float
    nucleoli: float
    edge_um: float


_LOOKS: Final = {
    "cd8": _Look(0.36, 0.18, 0.15, 0.22, 0.0, 0.38),
    "lymphocyte": _Look(0.44, 0.18, 0.18, 0.26, 0.0, 0.38),
    "tumor": _Look(0.25, 0.20, 0.38, 0.22, 0.60, 0.45),
    "fibroblast": _Look(0.30, 0.22, 0.15, 0.18, 0.0, 0.60),
}


def _paint(
    cells: pd.DataFrame, hematoxylin: Float, dab: Float, grain: Float, rng: np.random.Generator, mpp: float
) -> None:
    """Add cells of one kind to the stain fields, in place (they belong to the caller alone)."""
    if cells.empty:
        return
    look = _LOOKS[str(cells["kind"].iloc[0])]
    n = len(cells)
    major = cells["major_um"].to_numpy(dtype=np.float32)[:, None, None]
    minor = cells["minor_um"].to_numpy(dtype=np.float32)[:, None, None]
    size = round((float(major.max()) * 1.15 + (3.4 if cells["positive"].any() else 1.2)) / mpp) + 1
    centre = cells[["x_um", "y_um"]].to_numpy(dtype=np.float64) / mpp
    corner = np.floor(centre).astype(np.int64) - size
    steps = np.arange(2 * size + 1, dtype=np.float32)
    offset = (centre - corner - 0.5).astype(np.float32)
    dx = (steps[None, None, :] - offset[:, 0, None, None]) * np.float32(mpp)
    dy = (steps[None, :, None] - offset[:, 1, None, None]) * np.float32(mpp)
    angle = cells["angle"].to_numpy(dtype=np.float32)[:, None, None]
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = -dx * np.sin(angle) + dy * np.cos(angle)
    # Spindles bend; a bent ellipse is a sheared one.
    if cells["kind"].iloc[0] == "fibroblast":
        across = across + rng.normal(0, 0.014, (n, 1, 1)).astype(np.float32) * along**2
    around = np.arctan2(across / minor, along / major)
    outline = np.ones_like(around)
    for order, strength in ((2, 0.030), (3, 0.040), (4, 0.025), (5, 0.018)):
        size_of = rng.normal(0, strength, (n, 1, 1)).astype(np.float32)
        outline += size_of * np.cos(order * around + rng.uniform(0, 6.3, (n, 1, 1)).astype(np.float32))
    rho = np.hypot(along / major, across / minor) / outline
    patch = _patches(grain, n, len(steps), rng)
    nucleus = np.clip((1 - rho) * minor / np.float32(2 * look.edge_um) + 0.5, 0, 1)
    amount = look.amount * np.exp(look.spread * rng.standard_normal((n, 1, 1), dtype=np.float32))
    body = 1 + look.rim * np.exp(-(((rho - 0.88) / 0.14) ** 2)) + look.grain * patch
    for _ in range(2 if look.nucleoli else 0):
        at = rng.normal(0, 0.32, (2, n, 1, 1)).astype(np.float32)
        there = rng.uniform(0, 1, (n, 1, 1)).astype(np.float32) < 0.55
        gap = ((along - at[0] * major) ** 2 + (across - at[1] * minor) ** 2) / np.float32(0.75**2)
        body = body + there * np.float32(look.nucleoli) * np.exp(-gap)
    painted = amount * nucleus * np.clip(body, 0.25, None)
    brown = _dab(cells, rho, np.sqrt(major * minor), around, patch, rng) if cells["positive"].any() else None
    for k in range(n):
        rows, columns, inner = _window(corner[k], len(steps), hematoxylin.shape)
        under = hematoxylin[rows, columns]
        # A nucleus fills the section: what was there before is pushed aside, not added to.
        cover = nucleus[k][inner]
        under[:] = np.maximum(under * (1 - cover), 0) + np.maximum(painted[k][inner], under * cover)
        if brown is not None:
            dab[rows, columns] = np.maximum(dab[rows, columns], brown[k][inner])


def _dab(
    cells: pd.DataFrame,
    rho: Float,
    radius: Float,
    around: Float,
    patch: Float,
    rng: np.random.Generator,
) -> Float:
    """Amount of DAB of lymphocytes: a membrane around the nucleus, uneven; some in and over the nucleus."""
    n = len(cells)
    od = cells["dab_od"].to_numpy(dtype=np.float32)[:, None, None]
    outside = (rho - 1) * radius
    far = rng.uniform(0.5, 0.9, (n, 1, 1)).astype(np.float32)
    wide = rng.uniform(0.55, 0.85, (n, 1, 1)).astype(np.float32)
    turn = rng.uniform(0, 6.3, (2, n, 1, 1)).astype(np.float32)
    lean = rng.uniform(0.0, 0.45, (n, 1, 1)).astype(np.float32)
    # The cytoplasm of a lymphocyte lies to one side.
    bulge = far + 0.5 * lean * np.cos(around - turn[0])
    ring = np.exp(-(((outside - bulge) / wide) ** 2))
    uneven = 1 + lean * np.cos(around - turn[0]) * 0.6 + 0.22 * np.cos(3 * around - turn[1])
    over = rng.uniform(0.37, 0.64, (n, 1, 1)).astype(np.float32)
    filled = np.clip((bulge + 0.3 - outside) / 0.7, 0, 1)
    amount = od * (np.maximum(ring * np.clip(uneven, 0.35, 1.5), over * filled) * (1 + 0.13 * patch))
    return np.asarray(np.clip(amount, 0, None), dtype=np.float32)


def _patches(grain: Float, n: int, size: int, rng: np.random.Generator) -> Float:
    """`n` square cut-outs of the texture."""
    row, column = rng.integers(0, grain.shape[0], (2, n))
    rows = (row[:, None] + np.arange(size)) % grain.shape[0]
    columns = (column[:, None] + np.arange(size)) % grain.shape[1]
    return np.asarray(grain[rows[:, :, None], columns[:, None, :]], dtype=np.float32)


def _window(
    corner: npt.NDArray[np.int64], size: int, shape: tuple[int, ...]
) -> tuple[slice, slice, tuple[slice, slice]]:
    """Where a patch lies on the image, and which part of the patch that is."""
    x, y = int(corner[0]), int(corner[1])
    top, left = max(y, 0), max(x, 0)
    bottom, right = max(min(y + size, shape[0]), top), max(min(x + size, shape[1]), left)
    return (
        slice(top, bottom),
        slice(left, right),
        (slice(top - y, bottom - y), slice(left - x, right - x)),
    )


def _haze_and_specks(dab: Float, layout: Layout, rng: np.random.Generator) -> None:
    """A breath of DAB around stained cells, and a few grains of precipitate, in place."""
    strong = np.where(dab > 0.5 * DAB_OD[1], dab, np.float32(0))
    haze = np.asarray(cv2.GaussianBlur(strong, (0, 0), 2.6 / layout.mpp))
    np.maximum(dab, dab + 0.10 * haze * layout.tissue, out=dab)
    for _ in range(int(rng.integers(6, 16))):
        x, y = int(rng.integers(dab.shape[1])), int(rng.integers(dab.shape[0]))
        radius = max(1, round(rng.uniform(0.3, 0.8) / layout.mpp))
        spot = np.zeros((2 * radius + 3, 2 * radius + 3), dtype=np.float32)
        cv2.circle(spot, (radius + 1, radius + 1), radius, float(rng.uniform(0.15, 0.5)), cv2.FILLED)
        rows, columns, inner = _window(np.array([x, y]), len(spot), dab.shape)
        dab[rows, columns] = np.maximum(dab[rows, columns], spot[inner])


def _scan(
    hematoxylin: Float, dab: Float, rng: np.random.Generator, style: SlideStyle, mpp: float
) -> npt.NDArray[np.uint8]:
    """Light through the section, the lens, the lamp and the sensor."""
    height, width = hematoxylin.shape
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    tilt = rng.uniform(0, 2 * np.pi)
    lamp = 1 - np.float32(style.shading) * (x * np.float32(np.cos(tilt)) + y * np.float32(np.sin(tilt)))
    vectors = [np.array(v, dtype=np.float32) / np.float32(np.linalg.norm(v)) for v in (HEMATOXYLIN, DAB)]
    image = np.empty((height, width, 3), dtype=np.uint8)
    for channel in range(3):
        density = hematoxylin * vectors[0][channel] + dab * vectors[1][channel]
        light = np.exp(density * np.float32(-np.log(10)))
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), style.blur_um / mpp), dtype=np.float32)
        light *= np.float32(style.white[channel]) * lamp
        noise: Float = rng.standard_normal((height, width), dtype=np.float32)
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.6), dtype=np.float32)
        light += np.float32(style.noise / 0.48) * noise
        image[..., channel] = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return image
