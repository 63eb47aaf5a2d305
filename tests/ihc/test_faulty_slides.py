"""Slides that look like slides and are not fit: padding, blur, inverted colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pictures import paint, write_tiff
from scipy.ndimage import gaussian_filter
from small_study import draw_slide

from pdbiomarker.errors import ItemError
from pdbiomarker.ihc import SlideOptions, SlideResult, open_slide, quantify_slide

QUICK = SlideOptions(overlay=False)


def drawn(folder: Path, copies: int = 1) -> np.ndarray:
    """The small study's slide, side by side `copies` times in both directions."""
    image = tifffile.imread(draw_slide(folder / "drawn.tif", seed=1, positive=36))
    return np.tile(image, (copies, copies, 1))


def scored(folder: Path, image: np.ndarray, **options: object) -> SlideResult:
    return quantify_slide(write_tiff(folder / "a.tif", image, **options), "cd8", options=QUICK)


def density(result: SlideResult) -> float:
    return float(result.scores.set_index("feature").at["CD8_density_tissue", "value"])


def codes(result: SlideResult) -> list[str]:
    return [p.code for p in result.problems]


# -- padding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jpeg", [False, True])
@pytest.mark.parametrize("grey", [0, 60, 128, 200])
def test_a_filled_area_is_no_tissue(tmp_path: Path, grey: int, jpeg: bool) -> None:
    options = {"compression": "jpeg", "compressionargs": {"level": 88}} if jpeg else {}
    image = drawn(tmp_path, 3)
    whole = scored(tmp_path, image, **options)
    assert whole.qc["nodata_share"] == 0
    assert codes(whole) == []
    image[:, :300] = grey  # the first column of copies: the others are as they were
    result = scored(tmp_path, image, **options)
    assert result.qc["nodata_share"] == pytest.approx(1 / 3, abs=0.02)
    assert codes(result) == ["E-SLIDE-012"]
    assert density(result) == pytest.approx(density(whole), rel=0.03)
    assert float(result.qc["tissue_mm2"]) == pytest.approx(float(whole.qc["tissue_mm2"]) * 2 / 3, rel=0.03)


def test_a_filled_area_within_tissue(tmp_path: Path) -> None:
    image = paint(side=900, seed=5).image
    whole = quantify_slide(write_tiff(tmp_path / "w.tif", image), "ki67", options=QUICK)
    image[300:600, 300:600] = 0
    result = quantify_slide(write_tiff(tmp_path / "a.tif", image), "ki67", options=QUICK)
    values = [r.scores.set_index("feature").at["Ki67_density_tissue", "value"] for r in (whole, result)]
    assert values[1] == pytest.approx(values[0], rel=0.08)  # another field of the same painting
    assert result.qc["nodata_share"] == pytest.approx(1 / 9, abs=0.015)
    for tile in (97, 400):
        again = quantify_slide(tmp_path / "a.tif", "ki67", options=SlideOptions(tile=tile, overlay=False))
        assert again.cells.equals(result.cells)
        assert again.qc == result.qc


def test_black_with_the_noise_of_a_camera(tmp_path: Path) -> None:
    image = drawn(tmp_path, 3)
    image[:, :300] = np.random.default_rng(1).integers(0, 3, (900, 300, 3))
    result = scored(tmp_path, image)
    assert result.qc["nodata_share"] == pytest.approx(1 / 3, abs=0.02)
    assert codes(result) == ["E-SLIDE-012"]


@pytest.mark.parametrize("width", [64, 256, 1200])
def test_white_padding_is_not_the_glass(tmp_path: Path, width: int) -> None:
    image = drawn(tmp_path)
    plain = scored(tmp_path, image)
    padded = scored(tmp_path, np.pad(image, ((0, 0), (0, width), (0, 0)), constant_values=255))
    for channel in ("red", "green", "blue"):
        assert abs(float(padded.qc[f"white_{channel}"]) - float(plain.qc[f"white_{channel}"])) <= 1
    # the thumbnail of a wider slide is coarser, so the rim of the tissue is too
    assert float(padded.qc["tissue_mm2"]) == pytest.approx(float(plain.qc["tissue_mm2"]), rel=0.04)
    assert codes(padded) == ["E-SLIDE-012"]


def test_glass_without_noise_is_still_glass(tmp_path: Path) -> None:
    image = drawn(tmp_path)
    image[:30], image[270:], image[:, :30], image[:, 270:] = 243, 243, 243, 243
    result = scored(tmp_path, image)
    assert result.qc["white_green"] == 243
    assert result.qc["nodata_share"] == 0
    assert codes(result) == []


# -- inverted ------------------------------------------------------------------------------------------------


def test_an_inverted_image_is_refused(tmp_path: Path) -> None:
    for image in (drawn(tmp_path, 2), paint(side=500).image):
        with pytest.raises(ItemError) as caught:
            scored(tmp_path, 255 - image)
        assert caught.value.problem.code == "E-SLIDE-008"
        assert "inverted" in caught.value.problem.message


# -- focus ---------------------------------------------------------------------------------------------------

REAL = (
    "bcdata_ki67/ihc/22_2.png",
    "bcdata_ki67/ihc/34_3.png",
    "bcdata_ki67/ihc/6_2.png",
    "bcdata_ki67/ihc/799_2.png",
    "skimage_ihc/ihc.png",
    "os2_two_scanners/OS-2-ndpi.ome.tif",
    "os2_two_scanners/OS-2-vsi.ome.tif",
    "lymphoid_cytoplasmic/ROI_127.png",
)


def judged(folder: Path, image: np.ndarray, mpp: float, blur_um: float) -> bool:
    """Whether the slide is refused as out of focus, blurred by a Gaussian of that standard deviation."""
    if blur_um:
        image = gaussian_filter(image, (blur_um / mpp, blur_um / mpp, 0))
    try:
        result = quantify_slide(write_tiff(folder / "b.tif", image, mpp=mpp), "ki67", options=QUICK)
    except ItemError as error:
        if error.problem.code == "E-SLIDE-014" and "has no fine detail" in error.problem.message:
            return True
        raise
    assert result.qc["lost_blur_mm2"] == 0
    assert codes(result) in ([], ["E-SLIDE-008"])  # without glass in the field its white is declared
    return False


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_fields_are_sharp_until_they_are_blurred(
    shared_data: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    path = shared_data(f"ihc/{name}")
    with open_slide(path, mpp=None if path.suffix == ".tif" else 0.5) as slide:
        height, width = (min(side, 1600) for side in slide.shape)
        image, mpp = slide.read(0, 0, height, width), slide.mpp
    assert not judged(tmp_path, image, mpp, 0.0)
    assert not judged(tmp_path, image, mpp, 0.5)
    assert judged(tmp_path, image, mpp, 1.5)  # 3 pixels of 0.5 um
    assert judged(tmp_path, image, mpp, 3.0)


def test_painted_slides_are_sharp_until_they_are_blurred(tmp_path: Path) -> None:
    for image in (drawn(tmp_path, 2), paint(side=600, seed=8).image):
        assert not judged(tmp_path, image, 0.5, 0.0)
        assert judged(tmp_path, image, 0.5, 1.5)
        assert judged(tmp_path, image, 0.5, 3.0)


def test_the_noise_of_the_camera_does_not_hide_the_blur(tmp_path: Path) -> None:
    image = gaussian_filter(drawn(tmp_path, 2).astype(float), (6, 6, 0))
    image += np.random.default_rng(2).normal(0, 1.5, image.shape)
    assert judged(tmp_path, np.clip(np.rint(image), 0, 255).astype(np.uint8), 0.5, 0.0)
