"""DICOM, NDPI and MRXS slides: levels, offsets, missing parts, and what is never read."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from dicom_slides import TILE, write_dicom
from vendor_slides import write_mrxs, write_ndpi

from pdbiomarker.errors import ItemError, MissingExtraError
from pdbiomarker.ihc import check_slide, open_slide, slide_hash
from pdbiomarker.ihc.reader import load_extra

pytest.importorskip("openslide")
pytest.importorskip("wsidicom")

Y, X = np.mgrid[:256, :384]
IMAGE = np.stack([40 + X / 3, 30 + Y / 2, 220 - X / 4], -1).astype(np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (300, 420, 3), dtype=np.uint8)
MAGENTA = np.full((TILE, TILE, 3), (255, 0, 255), np.uint8)


def refused(path: Path, mpp: float | None = None) -> tuple[str, str]:
    with pytest.raises(ItemError) as caught:  # noqa: SIM117 - the reading is what may fail
        with open_slide(path, mpp=mpp) as slide:
            slide.read(0, 0, *slide.shape)
    problem = caught.value.problem
    assert problem.remedy
    assert problem.severity == "quarantine"
    return problem.code, problem.message


def halved(image: np.ndarray) -> np.ndarray:
    h, w = image.shape[:2]
    return np.rint(image.reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3))).astype(np.uint8)


# -- DICOM ---------------------------------------------------------------------------------------------------


@pytest.fixture
def dicom_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "slide"
    folder.mkdir()
    write_dicom(folder / "2.dcm", NOISE)
    write_dicom(folder / "1.dcm", halved(NOISE), mpp=(1.0, 1.0))
    write_dicom(folder / "label.dcm", MAGENTA, kind="LABEL")
    write_dicom(folder / "macro.dcm", MAGENTA, kind="OVERVIEW")
    (folder / "notes.txt").write_text("not DICOM", encoding="utf-8")
    return folder


def test_a_folder_and_a_file_are_the_same_dicom_slide(dicom_folder: Path) -> None:
    for path in (dicom_folder, dicom_folder / "1.dcm"):
        with open_slide(path) as slide:
            assert slide.levels == ((300, 420), (150, 210))
            assert slide.mpp == pytest.approx(0.5)
            assert (slide.facts.format, slide.facts.icc_profile) == ("dicom", True)
            np.testing.assert_array_equal(slide.read(0, 0, 300, 420), NOISE)
            np.testing.assert_array_equal(slide.read(101, 7, 99, 300), NOISE[101:200, 7:307])
            np.testing.assert_array_equal(slide.read(0, 0, 150, 210, level=1), halved(NOISE))
    assert slide_hash(dicom_folder) == slide_hash(dicom_folder / "2.dcm")


def test_the_levels_alone_make_the_hash_of_a_dicom_slide(dicom_folder: Path) -> None:
    before = slide_hash(dicom_folder)
    (dicom_folder / "label.dcm").unlink()
    assert slide_hash(dicom_folder) == before
    (dicom_folder / "1.dcm").unlink()
    assert slide_hash(dicom_folder) != before


def test_missing_frames_are_no_data(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", IMAGE, jpeg=True, missing=(1, 4))  # of 2 rows of 3 tiles
    with open_slide(tmp_path / "a.dcm") as slide:
        pixels, missing = slide.read_masked(0, 0, 256, 384)
    assert missing is not None
    expected = np.zeros((256, 384), bool)
    expected[:128, 128:256] = expected[128:, 128:256] = True
    np.testing.assert_array_equal(missing, expected)
    assert (pixels[missing] == 255).all()
    assert np.abs(pixels.astype(int) - IMAGE)[~missing].mean() < 1.5


def test_pixel_size_of_a_dicom_slide(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", IMAGE, mpp=(0.25, 0.25))
    assert refused(path, 0.26)[0] == "E-SLIDE-004"
    (tmp_path / "b").mkdir()
    path = write_dicom(tmp_path / "b" / "a.dcm", IMAGE, mpp=(0.25, 0.3))
    code, message = refused(path)
    assert code == "E-SLIDE-010"
    assert "0.25 x 0.3" in message


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"TotalPixelMatrixColumns": 10**7}, "E-SLIDE-006", "claims 10000000 x 256 px"),
        ({"TotalPixelMatrixRows": 100_000, "TotalPixelMatrixColumns": 100_000}, "E-SLIDE-006", "needs"),
        ({"NumberOfFrames": 5}, "E-SLIDE-006", "needs 6 tiles and lists 5"),
        ({"NumberOfFrames": 10**8, "TotalPixelMatrixRows": 10**6}, "E-SLIDE-006", "tiles"),
        ({"TotalPixelMatrixFocalPlanes": 3}, "E-SLIDE-006", "focal planes"),
        ({"BitsAllocated": 16}, "E-SLIDE-005", "16 bits"),
        ({"PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 1}, "E-SLIDE-005", "1 channel"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "E-SLIDE-001", "no DICOM whole slide"),
        ({"ImageType": ["DERIVED", "PRIMARY", "LABEL", "NONE"]}, "E-SLIDE-001", "no DICOM whole slide"),
    ],
)
def test_dicom_claims(tmp_path: Path, changes: dict[str, object], code: str, told: str) -> None:
    found, message = refused(write_dicom(tmp_path / "a.dcm", IMAGE, changes=changes))
    assert found == code
    assert told in message


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("jpeg", [False, True])
def test_a_truncated_dicom_slide_is_named(tmp_path: Path, share: float, jpeg: bool) -> None:
    path = write_dicom(tmp_path / "a.dcm", NOISE, jpeg=jpeg)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert refused(path)[0] in {"E-SLIDE-001", "E-SLIDE-002", "E-SLIDE-006"}


def test_a_dicom_frame_that_ends_early(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", IMAGE, jpeg=True)
    data = path.read_bytes()
    end = data.rindex(b"\xff\xd9")
    path.write_bytes(data[: end - 200] + bytes(202) + data[end + 2 :])
    with open_slide(path) as slide:
        slide.read(0, 0, 128, 128)  # the other tiles are whole
    code, message = refused(path)
    assert code == "E-SLIDE-002"
    assert "Tile 5 is damaged" in message


def test_a_dicom_frame_that_is_damaged_inside(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", IMAGE, jpeg=True)
    data = bytearray(path.read_bytes())
    start = data.rindex(b"\xff\xda") + 14  # the coded data of the last frame
    middle, stop = (start + data.rindex(b"\xff\xd9")) // 2, data.rindex(b"\xff\xd9")
    data[middle:stop] = bytes(stop - middle)
    path.write_bytes(data)
    code, message = refused(path)
    assert code == "E-SLIDE-002"
    assert message.startswith("Tile 5 is damaged")


def test_a_damaged_level_is_not_passed_over(dicom_folder: Path) -> None:
    """Without its finest level the slide would be read as another one at half the resolution."""
    data = (dicom_folder / "2.dcm").read_bytes()
    (dicom_folder / "2.dcm").write_bytes(data[:3000])
    assert refused(dicom_folder)[0] in {"E-SLIDE-001", "E-SLIDE-002"}


def test_folders_that_are_no_single_slide(tmp_path: Path) -> None:
    assert refused(tmp_path)[0] == "E-FILE-002"
    for k in (1, 2):
        write_dicom(tmp_path / f"{k}.dcm", IMAGE, uids={"SeriesInstanceUID": f"1.2.3.{k}"})
    code, message = refused(tmp_path)
    assert code == "E-SLIDE-006"
    assert "2 slides" in message
    with open_slide(tmp_path / "1.dcm") as slide:
        assert slide.levels == ((256, 384),)


# -- openslide -----------------------------------------------------------------------------------------------


def test_ndpi(tmp_path: Path) -> None:
    with open_slide(write_ndpi(tmp_path / "a.ndpi", IMAGE, mpp=0.46)) as slide:
        assert slide.levels[0] == (256, 384)
        assert slide.mpp == pytest.approx(0.46, rel=1e-5)
        assert slide.facts.format == "openslide:hamamatsu"
        pixels, missing = slide.read_masked(10, 20, 200, 300)
        assert missing is None
        assert np.abs(pixels.astype(int) - IMAGE[10:210, 20:320]).mean() < 2
        small, _ = slide.resample(0, 0, 58, 88, 2.0)
        middle = IMAGE.astype(float)[: int(58 * 2 / 0.46), : int(88 * 2 / 0.46)].mean((0, 1))
        np.testing.assert_allclose(small.mean((0, 1)), middle, atol=2)


def test_mrxs_is_cut_to_what_was_scanned(tmp_path: Path) -> None:
    image = IMAGE.copy()
    image[64:128, 128:192] = 0  # a tile that was not scanned
    with open_slide(write_mrxs(tmp_path / "a.mrxs", image)) as slide:
        assert slide.levels == ((256, 384), (128, 192))
        assert slide.mpp == pytest.approx(0.5)
        pixels, missing = slide.read_masked(0, 0, 256, 384)
        part, _ = slide.read_masked(130, 200, 40, 50)
        coarse, _ = slide.read_masked(10, 20, 30, 40, level=1)
    assert missing is not None
    np.testing.assert_array_equal(missing, image.max(-1) == 0)
    assert (pixels[missing] == 255).all()
    assert np.abs(pixels.astype(int) - image)[~missing].mean() < 1.5
    np.testing.assert_array_equal(part, pixels[130:170, 200:250])
    assert (
        np.abs(coarse.astype(int) - halved(image)[10:40, 20:60]).mean() < 2
    )  # the same corner at each level


def test_an_mrxs_without_its_folder(tmp_path: Path) -> None:
    path = write_mrxs(tmp_path / "a.mrxs", IMAGE)
    before = slide_hash(path)
    data = tmp_path / "a" / "Data0000.dat"
    changed = bytearray(data.read_bytes())
    changed[500] ^= 1
    data.write_bytes(bytes(changed))
    assert slide_hash(path) != before
    (tmp_path / "a" / "Slidedat.ini").unlink()
    code, message = refused(path)
    assert code == "E-SLIDE-002"
    assert "folder 'a'" in message


@pytest.mark.parametrize("name", ["a.mrxs", "a.ndpi"])
def test_a_truncated_vendor_slide_is_named(tmp_path: Path, name: str) -> None:
    path = (write_mrxs if name == "a.mrxs" else write_ndpi)(tmp_path / name, IMAGE)
    data = path if name == "a.ndpi" else tmp_path / "a" / "Data0000.dat"
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    assert refused(path)[0] in {"E-SLIDE-001", "E-SLIDE-002", "E-SLIDE-005"}


def test_a_compression_that_only_openslide_reads(tmp_path: Path) -> None:
    """Aperio's JPEG 2000 of luminance and chroma: the colours must come out converted."""
    red, green, blue = np.moveaxis(IMAGE.astype(float), 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = np.stack([luma, 128 + (blue - luma) * 0.564, 128 + (red - luma) * 0.713], -1)
    options = {"tile": (128, 128), "photometric": "rgb", "compression": 33003, "metadata": None}
    header = "Aperio Image Library v11\n384x256 [0,0 384x256] (128x128) J2K|AppMag = 20|MPP = 0.5"
    for name, text in (("a.svs", header), ("b.tif", "no vendor")):
        tifffile.imwrite(tmp_path / name, np.rint(chroma).astype(np.uint8), description=text, **options)
    with open_slide(tmp_path / "a.svs") as slide:
        assert slide.facts.format == "openslide:aperio"
        assert np.abs(slide.read(0, 0, 256, 384).astype(int) - IMAGE).mean() < 3
    code, message = refused(tmp_path / "b.tif")
    assert code == "E-SLIDE-005"
    assert "scheme 33003" in message
    assert "nor by openslide" in message


# -- extras --------------------------------------------------------------------------------------------------


def test_a_missing_extra_names_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'pdbiomarker\[dicom\]'"):
        load_extra("no_such_module_at_all", "wsidicom", "dicom")
    path = write_ndpi(tmp_path / "a.ndpi", IMAGE)
    other = write_dicom(tmp_path / "a.dcm", IMAGE)
    real = importlib.import_module

    def none_of_them(name: str, package: str | None = None) -> object:
        if name.startswith(("openslide", "wsidicom", "pydicom")):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", none_of_them)
    assert slide_hash(other) == hashlib.sha256(other.read_bytes()).hexdigest()
    for file, extra in ((path, "openslide"), (other, "dicom")):
        (problem,) = check_slide(file).errors
        assert problem.code == "E-SLIDE-020"
        assert problem.remedy == f"pip install 'pdbiomarker[{extra}]'"
