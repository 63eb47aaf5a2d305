"""Measures of cells, against scipy, scikit-image and one mask at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi
from skimage import measure

from pdbiomarker.ihc.amounts import AMOUNT_UNITS
from pdbiomarker.ihc.labels import expand
from pdbiomarker.ihc.objects import measure_cells

RNG = np.random.default_rng(8)
SHAPE = (66, 71)
NUCLEI = measure.label(ndi.gaussian_filter(RNG.normal(size=SHAPE), 1.6) > 0.12, connectivity=2).astype(
    np.int32
)
CELLS = expand(NUCLEI, 3)
STAINS = tuple(RNG.integers(-AMOUNT_UNITS // 4, AMOUNT_UNITS, SHAPE).astype(np.int32) for _ in range(2))
INDEX = np.arange(1, NUCLEI.max() + 1)


def test_nuclei_are_measured_as_by_scikit_image() -> None:
    hematoxylin, dab = (plane / AMOUNT_UNITS for plane in STAINS)
    theirs = measure.regionprops_table(
        NUCLEI, np.dstack([hematoxylin, dab]), properties=("area", "centroid", "mean_intensity")
    )
    for cells in (None, CELLS):
        found = measure_cells(NUCLEI, cells, STAINS, origin=(1000, 30), width=2)
        np.testing.assert_array_equal(found.area, theirs["area"])
        np.testing.assert_allclose(found.y, theirs["centroid-0"] + 1000, rtol=1e-13)
        np.testing.assert_allclose(found.x, theirs["centroid-1"] + 30, rtol=1e-13)
        np.testing.assert_allclose(found.hematoxylin, theirs["mean_intensity-0"], atol=1e-12)
        np.testing.assert_allclose(found.nucleus, theirs["mean_intensity-1"], atol=1e-12)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_compartments_are_those_of_the_masks(width: int) -> None:
    found = measure_cells(NUCLEI, CELLS, STAINS, width=width, threshold=0.25)
    dab = STAINS[1] / AMOUNT_UNITS
    np.testing.assert_allclose(found.cell, ndi.mean(dab, CELLS, INDEX), atol=1e-12)
    ring = np.where(NUCLEI > 0, 0, CELLS)
    for label in INDEX:
        inside = ring == label
        expected = dab[inside].mean() if inside.any() else np.nan
        np.testing.assert_allclose(found.cytoplasm[label - 1], expected, atol=1e-12)
        # what lies beyond the image is neither inside nor outside the cell
        cell = np.equal(CELLS, label)
        rim = (ndi.distance_transform_edt(cell) <= width) & cell
        np.testing.assert_allclose(found.membrane[label - 1], dab[rim].mean(), atol=1e-12)
        np.testing.assert_allclose(
            found.membrane_p90[label - 1], np.percentile(dab[rim], 90, method="inverted_cdf"), atol=1e-12
        )
        np.testing.assert_allclose(found.membrane_stained[label - 1], (dab[rim] >= 0.25).mean(), atol=1e-6)


def test_a_cell_between_others_has_a_membrane_but_no_ring() -> None:
    nuclei = np.repeat(np.repeat(np.arange(1, 10).reshape(3, 3), 5, axis=0), 5, axis=1).astype(np.int32)
    dab = np.full(nuclei.shape, AMOUNT_UNITS, np.int32)
    found = measure_cells(nuclei, expand(nuclei, 2), (dab, dab), width=1)
    assert np.isnan(found.cytoplasm[4])
    assert (found.membrane[4], found.membrane_stained[4]) == (1, 1)


def test_labels_that_do_not_occur_are_empty() -> None:
    nuclei = np.zeros((6, 6), np.int32)
    nuclei[2:4, 2:4] = 3
    found = measure_cells(nuclei, None, (nuclei, nuclei))
    assert found.area.tolist() == [0, 0, 4]
    assert np.isnan(found.x[:2]).all()
    assert np.isnan(found.membrane).all()
    assert measure_cells(np.zeros((0, 0), np.int32), None, (nuclei, nuclei)).area.size == 0
