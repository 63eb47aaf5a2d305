"""The contract of segmenters, and the wrappers over packages that are not there."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from pictures import paint, write_tiff
from skimage import measure

from pdbiomarker.errors import AssayError, MissingExtraError
from pdbiomarker.ihc import (
    Segmenter,
    SlideOptions,
    cellpose,
    instanseg,
    optical_density,
    problems_of,
    quantify,
    quantify_slide,
    segment,
    stardist,
)
from pdbiomarker.ihc.segmenters import checked

Density = NDArray[np.float32]
DENSITY = optical_density(paint(side=340, seed=3).image, (243.0, 243.0, 241.0))


def by_threshold(density: Density, pixel_um: float) -> NDArray[np.int32]:
    """A plain segmenter, at the top level of a module."""
    return measure.label(density.sum(axis=-1) > 0.3).astype(np.int32)


class FakeTensor:
    def __init__(self, values: NDArray[np.float32]) -> None:
        self.values = values

    def cpu(self) -> FakeTensor:
        return self

    def numpy(self) -> NDArray[np.float32]:
        return self.values


def dark(image: NDArray[np.generic]) -> NDArray[np.int32]:
    """Labels of what is dark in an image of 0-1 or 0-255, channels last."""
    grey = image.mean(axis=-1)
    return measure.label(grey < 0.8 * grey.max()).astype(np.int32)


def fake_torch() -> dict[str, types.ModuleType]:
    class Model:
        def eval(self) -> Model:
            return self

        def __call__(self, batch: FakeTensor) -> FakeTensor:
            assert batch.values.shape[:2] == (1, 3)
            assert batch.values.dtype == np.float32
            assert 0 <= batch.values.min() <= batch.values.max() <= 1
            return FakeTensor(dark(np.moveaxis(batch.values[0], 0, -1))[None, None].astype(np.float32))

    class NoGrad:
        def __enter__(self) -> None: ...
        def __exit__(self, *args: object) -> None: ...

    torch = types.ModuleType("torch")
    torch.jit = types.SimpleNamespace(load=lambda path, map_location: Model())  # type: ignore[attr-defined]
    torch.no_grad = NoGrad  # type: ignore[attr-defined]
    torch.from_numpy = FakeTensor  # type: ignore[attr-defined]
    return {"torch": torch}


def fake_stardist() -> dict[str, types.ModuleType]:
    class StarDist2D:
        def __init__(self, config: None, name: str, basedir: str) -> None:
            assert (Path(basedir) / name).exists()

        def predict_instances(self, image: NDArray[np.float32]) -> tuple[NDArray[np.int32], dict[str, int]]:
            return dark(image), {}

    models = types.ModuleType("stardist.models")
    models.StarDist2D = StarDist2D  # type: ignore[attr-defined]
    return {"stardist": types.ModuleType("stardist"), "stardist.models": models}


def fake_cellpose() -> dict[str, types.ModuleType]:
    class CellposeModel:
        def __init__(self, gpu: bool, pretrained_model: str) -> None:
            assert Path(pretrained_model).exists()

        def eval(self, image: NDArray[np.uint8], diameter: float) -> tuple[NDArray[np.int32], None, None]:
            assert image.dtype == np.uint8
            assert diameter > 0
            return dark(image), None, None

    models = types.ModuleType("cellpose.models")
    models.CellposeModel = CellposeModel  # type: ignore[attr-defined]
    return {"cellpose": types.ModuleType("cellpose"), "cellpose.models": models}


WRAPPERS = [(instanseg, fake_torch), (stardist, fake_stardist), (cellpose, fake_cellpose)]


@pytest.fixture
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Segmenter:
    """A segmenter; those of absent packages over fakes of them."""
    if request.param is by_threshold:
        return by_threshold
    if request.param is None:
        return segment
    wrapper, fakes = request.param
    for name, module in fakes().items():
        monkeypatch.setitem(sys.modules, name, module)
    weights = tmp_path / "weights"
    weights.touch()
    return wrapper(weights)


@pytest.mark.parametrize("made", [None, by_threshold, *WRAPPERS], indirect=True)
@pytest.mark.parametrize("pixel_um", [0.5, 0.25])
def test_every_segmenter_keeps_the_contract(made: Segmenter, pixel_um: float) -> None:
    before = DENSITY.copy()
    labels = checked(made, DENSITY, pixel_um)
    assert labels.shape == DENSITY.shape[:2]
    assert labels.dtype == np.int32
    assert 20 < labels.max() < 80  # about 36 painted nuclei
    np.testing.assert_array_equal(labels, checked(made, DENSITY.copy(), pixel_um))
    np.testing.assert_array_equal(DENSITY, before)


@pytest.mark.parametrize(
    ("wrapper", "extra"), [(instanseg, "instanseg"), (stardist, "stardist"), (cellpose, "cellpose")]
)
def test_the_line_that_installs_a_package_is_named(
    wrapper: Callable[[str], Segmenter], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "stardist", "cellpose"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    with pytest.raises(MissingExtraError, match=rf"pip install 'pdbiomarker\[{extra}\]'"):
        wrapper("weights")


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in fake_torch().items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(AssayError) as caught:
        instanseg("nowhere/model.pt")
    assert [p.code for p in caught.value.problems] == ["E-FILE-001"]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ([[0, 1]], "no array"),
        (np.zeros((3, 3), np.int32), "shape"),
        (np.zeros(DENSITY.shape, np.int32), "shape"),
        (np.zeros(DENSITY.shape[:2], np.float32), "int32"),
        (np.zeros(DENSITY.shape[:2], np.int64), "int32"),
        (np.full(DENSITY.shape[:2], -1, np.int32), "negative"),
    ],
)
def test_what_breaks_the_contract_is_refused(result: object, told: str) -> None:
    with pytest.raises(AssayError, match=told) as caught:
        checked(lambda density, pixel_um: result, DENSITY, 0.5)  # type: ignore[arg-type, return-value]
    assert {p.code for p in caught.value.problems} == {"E-PANEL-003"}


def test_quantify_takes_a_segmenter(tmp_path: Path) -> None:
    sheet = pd.DataFrame({"slide_id": ["a", "b"], "biopsy_id": ["P1", "P2"]}).assign(path=["a.tif", "b.tif"])
    for seed, name in enumerate(sheet["path"], start=1):
        write_tiff(tmp_path / name, paint(side=300, seed=seed).image)
    sheet["path"] = [str(tmp_path / name) for name in sheet["path"]]
    one = quantify(sheet, panel="ki67", segmenter=by_threshold)
    alone = quantify_slide(
        sheet["path"][0], "ki67", options=SlideOptions(segmenter=by_threshold, overlay=False)
    )
    assert problems_of(one) is not None
    row = alone.scores.set_index("feature").loc["Ki67_density_tissue"]
    assert one.layers["numerator"][0, list(one.var_names).index("Ki67_density_tissue")] == row["numerator"]
    with pytest.raises(AssayError, match="segmenter"):
        quantify(sheet, panel="ki67", segmenter=lambda density, um: by_threshold(density, 2 * um), workers=2)
    with pytest.raises(AssayError, match="shape"):
        quantify(sheet, panel="ki67", segmenter=lambda density, um: by_threshold(density, um)[1:])
