"""Copies of slides without what names a person, the proof of it, and what a slide is said to hold."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
import pytest
import tifffile
from dicom_slides import write_dicom
from marked_slides import MARK, marked_jpeg, profile, write_ome, write_plain, write_svs
from small_study import draw_slide
from typer.testing import CliRunner
from vendor_slides import write_ndpi

from pdbiomarker import ihc
from pdbiomarker.cli import app
from pdbiomarker.errors import InputError, ItemError, Problems
from pdbiomarker.ihc.privacy import copies
from pdbiomarker.ihc.privacy.directories import read_layout
from pdbiomarker.ihc.privacy.kept import ALLOWED
from pdbiomarker.ihc.privacy.profile import clean_profile
from pdbiomarker.ihc.privacy.segments import clean_segment
from pdbiomarker.tables import read_table

WRITERS: dict[str, Callable[..., Path]] = {
    "svs": write_svs,
    "svs-jpeg": lambda path, image: write_svs(path, image, jpeg=True),
    "ome-tiff": write_ome,
    "tiff": write_plain,
}
SUFFIX = {"svs": ".svs", "svs-jpeg": ".svs", "ome-tiff": ".ome.tiff", "tiff": ".tiff"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray[Any, Any]:
    path = draw_slide(tmp_path_factory.mktemp("drawn") / "drawn.tif", seed=4, positive=30)
    return tifffile.imread(path)


@pytest.fixture(params=list(WRITERS))
def slide(request: pytest.FixtureRequest, image: Any, tmp_path: Path) -> Path:
    return WRITERS[request.param](tmp_path / f"{MARK}{SUFFIX[request.param]}", image)


def holds(data: bytes) -> bool:
    return MARK.encode() in data or b"Jane" in data or b"1985" in data


def test_a_copy_holds_nothing_that_names_a_person(slide: Path, tmp_path: Path) -> None:
    before = slide.read_bytes()
    assert holds(before)
    (copy,) = ihc.deidentify(slide, tmp_path / "out")
    assert copy.name == "slide-0001" + "".join(slide.suffixes)
    assert slide.read_bytes() == before  # never in place
    assert not holds(copy.read_bytes())
    with tifffile.TiffFile(copy) as tiff:  # another reader than the one that proves it
        pages = list(tiff.pages)
        subs = [sub for page in pages for sub in page.pages or ()]
        for page in [*pages, *subs]:
            assert {tag.code for tag in page.tags} <= ALLOWED
    with ihc.open_slide(slide) as original:
        assert len(pages) + len(subs) == len(original.levels)
    assert [row for row in ihc.slide_holdings(copy) if not row.kept] == []


def test_a_copy_gives_the_same_pixels_size_and_scores(slide: Path, tmp_path: Path) -> None:
    (copy,) = ihc.deidentify([slide], tmp_path / "out")
    with ihc.open_slide(slide) as old, ihc.open_slide(copy) as new:
        assert (old.mpp, old.levels, old.facts) == (new.mpp, new.levels, new.facts)
        for level, (height, width) in enumerate(old.levels):
            whole = (0, 0, height, width)
            assert np.array_equal(old.read(*whole, level=level), new.read(*whole, level=level))


def test_a_copy_gives_the_same_cells(image: Any, tmp_path: Path) -> None:
    slide = write_svs(tmp_path / "a.svs", image, jpeg=True)
    (copy,) = ihc.deidentify(slide, tmp_path / "out")
    panel = ihc.read_panel("cd8")
    old, new = (ihc.quantify_slide(path, panel) for path in (slide, copy))
    assert len(old.cells) > 50
    pd.testing.assert_frame_equal(old.cells, new.cells, check_exact=True)


def test_tiles_are_copied_byte_for_byte(image: Any, tmp_path: Path) -> None:
    slide = write_svs(tmp_path / "a.svs", image)
    (copy,) = ihc.deidentify(slide, tmp_path / "out")
    old, new = slide.read_bytes(), copy.read_bytes()
    for a, b in zip(read_layout(slide).directories[::2], read_layout(copy).directories, strict=False):
        tiles = [old[at : at + n] for at, n in a.segments()]
        assert tiles == [new[at : at + n] for at, n in b.segments()]


def test_magnification_and_pixel_size_stay_in_words_that_others_read(image: Any, tmp_path: Path) -> None:
    openslide = pytest.importorskip("openslide")
    (svs,) = ihc.deidentify(write_svs(tmp_path / "a.svs", image, mpp=0.2525), tmp_path / "1")
    with openslide.OpenSlide(svs) as read:
        assert read.properties["openslide.mpp-x"] == "0.2525"
        assert read.properties["openslide.objective-power"] == "20"
        assert dict(read.associated_images) == {}
    (ome,) = ihc.deidentify(write_ome(tmp_path / "a.ome.tiff", image), tmp_path / "2")
    with tifffile.TiffFile(ome) as tiff:
        assert tiff.is_ome
        assert 'NominalMagnification="20.0"' in (tiff.pages[0].description or "")


def test_copies_get_neutral_names_and_a_table_apart(image: Any, tmp_path: Path) -> None:
    slides = [write_svs(tmp_path / "b.svs", image), write_plain(tmp_path / "a.tif", image)]
    made = ihc.deidentify(slides, tmp_path / "out")
    assert [path.name for path in made] == ["slide-0001.svs", "slide-0002.tiff"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["slide-0001.svs", "slide-0002.tiff"]
    table = read_table(tmp_path / "out-names.csv", problems=Problems())
    assert table is not None
    assert table["original"].tolist() == [str(slide) for slide in slides]
    assert table["copy"].tolist() == ["slide-0001.svs", "slide-0002.tiff"]


def test_places_that_could_mix_or_overwrite_are_refused(image: Any, tmp_path: Path) -> None:
    slide = write_plain(tmp_path / "a.tif", image)
    before = slide.read_bytes()
    for out, names in (
        (tmp_path, None),  # not empty: it holds the slide
        (tmp_path / "new", tmp_path / "new" / "names.csv"),
        (tmp_path / "new", slide),
        (slide, None),
    ):
        with pytest.raises(InputError, match="E-PHI-004"):
            ihc.deidentify(slide, out, names=names)
    assert slide.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif"]


def test_other_formats_are_refused_and_nothing_is_written(image: Any, tmp_path: Path) -> None:
    good = write_plain(tmp_path / "good.tif", image)
    png = tmp_path / "a.png"
    png.write_bytes(imagecodecs.png_encode(image))
    bad = [png, write_ndpi(tmp_path / "a.ndpi", image), write_dicom(tmp_path / "a.dcm", image)]
    with pytest.raises(InputError) as caught:
        ihc.deidentify([good, *bad, tmp_path / "none.svs", Path("/dev/zero")], tmp_path / "out")
    told = [(p.code, p.file) for p in caught.value.problems]
    assert told == [
        ("E-PHI-001", "a.png"),
        ("E-PHI-001", "a.ndpi"),
        ("E-PHI-001", "a.dcm"),
        ("E-FILE-001", "none.svs"),
        ("E-FILE-002", "zero"),
    ]
    assert not (tmp_path / "out").exists()


def test_a_copy_that_cannot_be_proved_is_removed(
    image: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = write_plain(tmp_path / "a.tif", image)
    real = copies.write_tiff

    def leaking(source: Any, target: Path, images: Any, *, below: bool) -> None:
        real(source, target, images, below=below)
        with target.open("ab") as stream:
            stream.write(MARK.encode())

    monkeypatch.setattr(copies, "write_tiff", leaking)
    with pytest.raises(InputError, match=r"E-PHI-003 .*bytes that belong to no image"):
        ihc.deidentify(slide, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []

    def tagging(source: Any, target: Path, images: Any, *, below: bool) -> None:
        images[0].tags[315] = (2, MARK.encode() + b"\0", len(MARK) + 1)  # type: ignore[index]
        real(source, target, images, below=below)

    monkeypatch.setattr(copies, "write_tiff", tagging)
    with pytest.raises(InputError, match=r"E-PHI-003 .*tag 315.*the words 'Jane Doe MRN 12345'"):
        ihc.deidentify(slide, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_slide_holds_is_listed_without_its_words(image: Any, tmp_path: Path) -> None:
    slide = write_svs(tmp_path / "a.svs", image, jpeg=True)
    held = {(row.image, row.what) for row in ihc.slide_holdings(slide) if not row.kept}
    level = {what for where, what in held if where == "level 0"}
    assert {"ImageDescription (270)", "Software (305)", "DateTime (306)", "XMP (700)", "tag 65000"} <= level
    assert "comments or other parts beside the pixels of tiles" in level
    assert sum(what == "image that is no level of the slide" for _, what in held) == 3
    assert ("", "bytes that belong to no image") in held
    done = _check(slide)
    assert done.exit_code == 3
    assert "XMP (700)" in done.stdout
    assert "E-PHI-002" in done.stderr
    assert MARK not in done.stdout + done.stderr
    (copy,) = ihc.deidentify(slide, tmp_path / "out")
    done = _check(copy, "--json")
    assert (done.exit_code, json.loads(done.stdout)["problems"]) == (0, [])


def _check(slide: Path, *options: str) -> Any:
    return CliRunner().invoke(app, ["deidentify", "--check", str(slide), *options], env={"COLUMNS": "200"})


def test_what_a_vendors_file_holds_is_listed_though_it_cannot_be_copied(image: Any, tmp_path: Path) -> None:
    rows = ihc.slide_holdings(write_ndpi(tmp_path / "a.ndpi", image))
    assert any("65442" in row.what and not row.kept for row in rows)
    with pytest.raises(ItemError, match="E-PHI-001"):
        ihc.slide_holdings(write_dicom(tmp_path / "a.dcm", image))


# --- parts ---


def test_a_jpeg_tile_keeps_its_pixels_and_loses_the_rest(image: Any) -> None:
    tile = np.ascontiguousarray(image[:128, :128])
    marked = marked_jpeg(tile)
    clean = clean_segment(marked, 7, 0)
    assert not holds(clean)
    assert clean == imagecodecs.jpeg8_encode(tile, level=95)
    assert clean_segment(clean, 7, 0) == clean
    for damaged in (marked[:-40], b"\xff\xd8" + MARK.encode(), clean[:30]):
        with pytest.raises(ValueError, match="JPEG tile"):
            clean_segment(damaged, 7, 0)


def test_a_jpeg_2000_tile_loses_its_comments(image: Any) -> None:
    tile = np.ascontiguousarray(image[:128, :128])
    plain = imagecodecs.jpeg2k_encode(tile, codecformat="j2k", level=0)
    comment = struct.pack(">HHH", 0xFF64, len(MARK) + 4, 1) + MARK.encode()
    end_of_sizes = 2 + 2 + struct.unpack(">H", plain[4:6])[0]
    marked = plain[:end_of_sizes] + comment + plain[end_of_sizes:] + MARK.encode()
    clean = clean_segment(marked, 33005, 0)
    assert not holds(clean)
    assert np.array_equal(imagecodecs.jpeg2k_decode(clean), tile)


def test_what_follows_a_deflated_tile_is_cut(image: Any) -> None:
    packed = imagecodecs.zlib_encode(image.tobytes())
    assert clean_segment(packed + MARK.encode(), 8, image.nbytes) == packed
    assert clean_segment(image.tobytes() + MARK.encode(), 1, image.nbytes) == image.tobytes()
    with pytest.raises(ValueError, match="no end"):
        clean_segment(packed[:-9], 8, image.nbytes)


def test_a_profile_keeps_its_colours_only() -> None:
    from PIL import ImageCms

    marked = profile()
    clean = clean_profile(marked)
    assert not holds(clean)
    assert b"wtpt" in clean
    assert struct.pack(">3i", 63190, 65536, 54061) in clean
    whole = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kept = ImageCms.ImageCmsProfile(io.BytesIO(clean_profile(whole)))
    assert ImageCms.getProfileDescription(kept).strip() == "colour profile"
    same = ImageCms.ImageCmsProfile(io.BytesIO(whole)).profile
    assert kept.profile.red_colorant == same.red_colorant
    assert clean_profile(b"no profile") == b""
    assert clean_profile(clean) == clean


@pytest.mark.parametrize("fault", ["circle", "beyond", "many tags", "large value", "no image", "text"])
def test_a_damaged_layout_is_refused_at_once(fault: str, tmp_path: Path) -> None:
    head = struct.pack("<2sHI", b"II", 42, 8)
    body = {
        "circle": head + struct.pack("<HI", 0, 8),
        "beyond": head + struct.pack("<HHHII", 1, 270, 2, 4000, 4000),
        "many tags": head + struct.pack("<H", 65000),
        "large value": head + struct.pack("<HHHIII", 1, 270, 2, 0xFFFFFFFF, 8, 0),
        "no image": struct.pack("<2sHI", b"II", 42, 0),
        "text": b"Jane Doe",
    }[fault]
    path = tmp_path / "a.tif"
    path.write_bytes(body)
    with pytest.raises(ValueError, match=r"circle|beyond|claims|no image|begin"):
        read_layout(path)
    with pytest.raises(InputError, match="E-PHI-001"):
        ihc.deidentify(path, tmp_path / "out")
