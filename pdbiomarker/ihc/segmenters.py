"""Segmenters: the contract that any of them keeps, and wrappers of three deep ones.

A segmenter is any callable ``(density (Y, X, 3) float32, pixel size um) -> labels (Y, X) int32``: decadic
optical density in, 0 outside and 1..n inside the nuclei out. It must depend on nothing but its arguments: a
slide is given to it in overlapping tiles, and the same pixels must give the same labels, or the result
changes from run to run. Its own reach must not exceed the overlap
(:data:`pdbiomarker.ihc.nuclei.REACH_UM`).

The wrappers load weights from a file that the user names: none come with this package and none are
downloaded. Networks on a graphics card are not bound to the same bytes on another machine.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from pdbiomarker.errors import AssayError, MissingExtraError, Problems

__all__ = ["Segmenter", "cellpose", "check_portable", "checked", "instanseg", "stardist"]

Density = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

#: Optical density (Y, X, 3) float32 and pixel size in micrometres -> labels (Y, X) int32.
Segmenter = Callable[[Density, float], Labels]

_EXTRAS: Final = {
    "instanseg": "instanseg",
    "torch": "instanseg",
    "stardist": "stardist",
    "cellpose": "cellpose",
}
_STARDIST_UM: Final = 0.5  # the published haematoxylin-eosin model
_CELLPOSE_NUCLEUS_UM: Final = 8.5


def checked(segmenter: Segmenter, density: Density, pixel_um: float) -> Labels:
    """Call a segmenter and check what it returns.

    Parameters
    ----------
    segmenter : callable
    density : array of float32, shape (Y, X, 3)
    pixel_um : float

    Returns
    -------
    array of int32, shape (Y, X)

    Raises
    ------
    AssayError
        E-PANEL-003: not an array, another shape, another type than int32, or negative labels; all at once.
    """
    name = getattr(segmenter, "__name__", type(segmenter).__name__)
    problems = Problems()

    def wrong(what: str, remedy: str, value: object) -> None:
        problems.add("E-PANEL-003", what, remedy=remedy, column="segmenter", value=f"{name}: {value}")

    labels: Any = segmenter(density, pixel_um)
    if not isinstance(labels, np.ndarray):
        wrong("The segmenter returned no array.", "Return a NumPy array of labels.", type(labels).__name__)
        raise AssayError(problems)
    if labels.shape != density.shape[:2]:
        wrong(
            f"The labels must have the shape of the image, {density.shape[:2]}.",
            "Return one label per pixel, at the resolution that was given.",
            labels.shape,
        )
    if labels.dtype != np.int32:
        wrong("The labels must be of type int32.", "Return labels.astype(numpy.int32).", labels.dtype)
    elif labels.size and int(labels.min()) < 0:
        wrong("Labels must not be negative.", "Use 0 for what lies outside.", int(labels.min()))
    problems.raise_if_any(AssayError)
    return np.ascontiguousarray(labels)


def check_portable(segmenter: Segmenter | None) -> None:
    """Check that another process can find a segmenter: that it is a function of a module.

    Raises
    ------
    AssayError
        E-PANEL-003: it is a lambda, a function within a function or an object.
    """
    if segmenter is None:
        return
    home = sys.modules.get(getattr(segmenter, "__module__", ""))
    name = getattr(segmenter, "__qualname__", type(segmenter).__name__)
    if home is not None and home.__name__ != "__main__" and getattr(home, name, None) is segmenter:
        return
    problems = Problems()
    problems.add(
        "E-PANEL-003",
        "Other processes cannot find this segmenter.",
        remedy="Use workers=1, or give a function that a module defines at its top level.",
        column="segmenter",
        value=name,
    )
    raise AssayError(problems)


def instanseg(weights: str | Path, *, pixel_um: float = 0.5) -> Segmenter:
    """InstanSeg, from a TorchScript file.

    Parameters
    ----------
    weights : path
        The TorchScript model, such as ``instanseg_brightfield.pt``.
    pixel_um : float
        The resolution the model was made for.

    Returns
    -------
    callable
        A segmenter. Nuclei are the first channel of the model's output.

    Raises
    ------
    MissingExtraError
        PyTorch is not installed.
    AssayError
        E-FILE-001: there are no weights at that place.
    """
    torch, file = _module("torch"), _weights(weights)
    model = torch.jit.load(str(file), map_location="cpu").eval()

    def segment_instanseg(density: Density, given_um: float) -> Labels:
        image = np.moveaxis(_pixels(density, given_um, pixel_um), -1, 0)[None].astype(np.float32) / 255
        with torch.no_grad():
            found = model(torch.from_numpy(np.ascontiguousarray(image)))
        return _back(np.asarray(found.cpu().numpy())[0, 0], density)

    return segment_instanseg


def stardist(weights: str | Path, *, pixel_um: float = _STARDIST_UM) -> Segmenter:
    """StarDist, from the folder of a trained two-dimensional model.

    Parameters
    ----------
    weights : path
        The model's folder, with ``config.json`` and its weights.
    pixel_um : float
        The resolution the model was made for.

    Returns
    -------
    callable
        A segmenter.

    Raises
    ------
    MissingExtraError
        StarDist is not installed.
    AssayError
        E-FILE-001: there are no weights at that place.
    """
    models, folder = _module("stardist.models"), _weights(weights)
    model = models.StarDist2D(None, name=folder.name, basedir=str(folder.parent))

    def segment_stardist(density: Density, given_um: float) -> Labels:
        image = _pixels(density, given_um, pixel_um).astype(np.float32) / 255
        labels, _ = model.predict_instances(image)
        return _back(np.asarray(labels), density)

    return segment_stardist


def cellpose(weights: str | Path, *, nucleus_um: float = _CELLPOSE_NUCLEUS_UM) -> Segmenter:
    """Cellpose, from a file of trained weights.

    Parameters
    ----------
    weights : path
    nucleus_um : float
        Typical diameter of a nucleus.

    Returns
    -------
    callable
        A segmenter.

    Raises
    ------
    MissingExtraError
        Cellpose is not installed.
    AssayError
        E-FILE-001: there are no weights at that place.
    """
    models, file = _module("cellpose.models"), _weights(weights)
    model = models.CellposeModel(gpu=False, pretrained_model=str(file))

    def segment_cellpose(density: Density, given_um: float) -> Labels:
        found = model.eval(_pixels(density, given_um, given_um), diameter=nucleus_um / given_um)
        return _back(np.asarray(found[0]), density)

    return segment_cellpose


def _module(name: str) -> ModuleType:
    """An optional package, or the line that installs it."""
    package = name.split(".", maxsplit=1)[0]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(package, _EXTRAS[package]) from error


def _weights(path: str | Path) -> Path:
    file = Path(path)
    if not file.exists():
        problems = Problems()
        problems.add(
            "E-FILE-001",
            "There are no weights at that place.",
            remedy="Name the file or folder of weights; none come with this package.",
            file=file.name,
        )
        raise AssayError(problems)
    return file


def _pixels(density: Density, given_um: float, wanted_um: float) -> npt.NDArray[np.uint8]:
    """The image as 8-bit pixels on white glass, at another resolution."""
    rgb = np.rint(255 * 10 ** -density.astype(np.float64)).astype(np.uint8)
    if abs(given_um / wanted_um - 1) < 0.02:
        return rgb
    size = tuple(max(1, round(n * given_um / wanted_um)) for n in (rgb.shape[1], rgb.shape[0]))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _back(labels: npt.NDArray[Any], density: Density) -> Labels:
    """Labels at the resolution that was asked for."""
    whole = np.ascontiguousarray(np.rint(labels)).astype(np.int32)
    height, width = density.shape[:2]
    if whole.shape == (height, width):
        return whole
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.int32)
