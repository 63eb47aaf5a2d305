"""Stain vectors estimated from slides: against those that a slide was painted with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import paint, write_tiff

from pdbiomarker.errors import AssayError
from pdbiomarker.ihc import estimate_stains, read_panel, stain_vectors

USUAL = ((0.65, 0.70, 0.29), (0.27, 0.57, 0.78))
#: As on a scanner with other colours, 15 and 10 degrees away from the usual ones.
OTHER = ((0.82, 0.50, 0.28), (0.43, 0.56, 0.71))


def unit(vector: tuple[float, ...] | np.ndarray) -> np.ndarray:
    return np.asarray(vector) / np.linalg.norm(vector)


def degrees(a: tuple[float, ...] | np.ndarray, b: tuple[float, ...] | np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(unit(a) @ unit(b), -1, 1))))


def pixels(
    vectors: tuple[tuple[float, ...], tuple[float, ...]], share: float, *, n: int = 20_000, seed: int = 1
) -> np.ndarray:
    """Densities of haematoxylin alone, and of DAB over a little haematoxylin, with a camera's noise."""
    rng = np.random.default_rng(seed)
    hematoxylin, dab = (unit(v) for v in vectors)
    stained = rng.random(n) < share
    h = np.where(stained, rng.uniform(0, 0.05, n), rng.uniform(0.2, 0.7, n))
    d = np.where(stained, rng.uniform(0.3, 1.1, n), rng.uniform(0, 0.02, n))
    density = h[:, None] * hematoxylin + d[:, None] * dab
    light = np.clip(np.rint(240 * 10**-density + rng.normal(0, 1.5, density.shape)), 1, 255)
    return np.maximum(-np.log10(light / 240), 0)


@pytest.mark.parametrize("vectors", [USUAL, OTHER])
@pytest.mark.parametrize("share", [0.03, 0.3, 0.9])
def test_vectors_are_found_whatever_the_share_of_stained_cells(
    vectors: tuple[tuple[float, ...], tuple[float, ...]], share: float
) -> None:
    hematoxylin, dab, used = stain_vectors([pixels(vectors, share), pixels(vectors, share, seed=2)])
    assert used > 20_000
    assert degrees(hematoxylin, vectors[0]) < 2.5
    assert degrees(dab, vectors[1]) < 2.5


def test_each_slide_has_the_same_weight() -> None:
    one, many = pixels(USUAL, 0.5, n=2000), pixels(OTHER, 0.5, n=40_000)
    alone = stain_vectors([pixels(OTHER, 0.5, n=40_000)])[0]
    both = stain_vectors([one, many])[0]
    assert degrees(both, USUAL[0]) < degrees(alone, USUAL[0]) - 4
    assert degrees(stain_vectors([one, many])[0], stain_vectors([many, one])[0]) < 1e-6


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ([pixels(USUAL, 0.0)], "DAB makes up 0.0 %"),
        ([pixels(USUAL, 1.0)], "haematoxylin makes up"),
        ([np.full((100, 3), 0.01)], "No stained pixel"),
        ([pixels(((0.29, 0.95, 0.1), (0.27, 0.57, 0.78)), 0.5)], "degrees from its usual colour|makes up"),
        ([pixels(((0.5, 0.65, 0.55), (0.36, 0.6, 0.71)), 0.5)], "cannot be told apart|makes up"),
    ],
    ids=["no DAB", "no haematoxylin", "pale", "red", "alike"],
)
def test_what_cannot_be_estimated_is_refused(samples: list[np.ndarray], told: str) -> None:
    with pytest.raises(AssayError, match=told) as caught:
        stain_vectors(samples)
    assert caught.value.problems[0].code == "E-SLIDE-023"


def test_the_panel_is_locked_and_reads_back(tmp_path: Path) -> None:
    slides = [
        write_tiff(tmp_path / f"{seed}.tif", paint(side=600, seed=seed, share=0.2).image) for seed in (1, 2)
    ]
    before = read_panel("ki67")
    found = estimate_stains(slides, before)
    assert found.stains == estimate_stains(slides, "ki67").stains  # the same pixels each time
    assert degrees(found.stains.hematoxylin, USUAL[0]) < 2
    # the painted DAB lies over haematoxylin (0.70 + 0.21): its purest pixels are that mixture
    painted = 0.70 * unit(USUAL[1]) + 0.21 * unit(USUAL[0])
    assert degrees(found.stains.dab, painted) < 2
    assert "2 slides" in found.stains.source
    assert found.hash != before.hash
    assert found.thresholds == before.thresholds
    path = found.to_yaml(tmp_path / "mine.yaml")
    assert path.read_text(encoding="utf-8").startswith(
        f"# Panel of Ki67. SHA-256 of its content: {found.hash}"
    )
    again = read_panel(path)
    assert again == found
    assert again.hash == found.hash


def test_slides_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"")
    with pytest.raises(AssayError) as caught:
        estimate_stains([tmp_path / "a.tif", tmp_path / "b.tif"], "ki67")
    assert [(p.code, p.file) for p in caught.value.problems] == [
        ("E-FILE-004", "a.tif"),
        ("E-FILE-001", "b.tif"),
    ]
    with pytest.raises(AssayError, match="No slide is given"):
        estimate_stains([], "ki67")


@pytest.mark.data
def test_real_fields_give_plausible_vectors(shared_data: Callable[[str], Path]) -> None:
    tiles = sorted(shared_data("ihc/bcdata_ki67/ihc").glob("*.png"))
    pooled = estimate_stains(tiles, "ki67", mpp=0.5).stains
    assert degrees(pooled.dab, USUAL[1]) < 6
    assert degrees(pooled.hematoxylin, USUAL[0]) < 18
    # alone, a tile with hardly any haematoxylin is refused: the vectors are the assay's, not the slide's
    with pytest.raises(AssayError, match="haematoxylin makes up"):
        estimate_stains([p for p in tiles if p.name == "799_2.png"], "ki67", mpp=0.5)
