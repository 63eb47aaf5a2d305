"""What keeps the report of a large study small: no clock is read here (benchmarks/report.py measures)."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from pdbiomarker.report import thumbnails

SLIDES = 300


def _image(path: Path, shape: tuple[int, int], seed: int) -> Path:
    """Blots and noise: an image that a JPEG cannot make small."""
    draw = np.random.default_rng(seed)
    rough = cv2.resize(draw.normal(0, 30, (shape[0] // 8, shape[1] // 8, 3)), shape[::-1])
    pixels = np.clip(190 + rough + draw.normal(0, 12, (*shape, 3)), 0, 255).astype(np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture(scope="module")
def many(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A result with 300 slides of 60 participants; the files of five are linked under all names."""
    folder = tmp_path_factory.mktemp("many")
    drawn = {
        (kind, k): _image(folder / f"{kind}{k}.png", shape, k)
        for kind, shape in (("overview", (160, 280)), ("field", (352, 352)))
        for k in range(5)
    }
    images = {}
    for n in range(SLIDES):
        item = {"participant_id": f"P{n % 60 + 1:02d}", "biopsy_id": f"B{n}", "visit": "screening"}
        for kind in ("overview", "field"):
            item[kind] = folder / f"S{n:03d}-{kind}.png"
            os.link(drawn[kind, n % 5], item[kind])
        images[f"S{n:03d}"] = item
    return dataclasses.replace(fake.make_result(n=60, genes=5), qc={}, images=images)


def _pictures(rows: Any) -> list[Any]:
    return [picture for row in rows for _, *both in row.images for picture in both if picture is not None]


def test_the_images_of_300_slides_fit_the_budget_and_use_it(many: Any) -> None:
    pictures = _pictures(thumbnails.thumbnail_rows(many))
    size = sum(len(picture.data) for picture in pictures)
    assert len(pictures) == 2 * SLIDES
    # In the page a third more: 6.7 of the 15 MB.
    assert 0.75 * thumbnails.BUDGET < size <= thumbnails.BUDGET == 5_000_000


def test_the_bytes_do_not_depend_on_how_many_threads_decode(
    many: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dataclasses.replace(many, images=dict(list(many.images.items())[:40]))
    monkeypatch.setattr(thumbnails, "_threads", lambda: 1)
    one = [row.images for row in thumbnails.thumbnail_rows(few)]
    monkeypatch.setattr(thumbnails, "_threads", lambda: 3)
    assert [row.images for row in thumbnails.thumbnail_rows(few)] == one


def test_a_file_that_is_no_image_leaves_its_place_empty(many: Any, tmp_path: Path) -> None:
    (slide, item), *_ = many.images.items()
    whole = Path(item["field"]).read_bytes()
    for k, data in enumerate((b"", b"no image", whole[:30], whole[:5000])):
        path = tmp_path / f"{k}.png"
        path.write_bytes(data)
        (row,) = thumbnails.thumbnail_rows(dataclasses.replace(many, images={slide: {**item, "field": path}}))
        ((_, overview, field),) = row.images
        assert overview is not None
        assert field is None
