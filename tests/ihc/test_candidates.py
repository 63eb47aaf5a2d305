"""Basins, sums and joins, against one mask at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage as ndi

from pdbiomarker.ihc import SegmentOptions
from pdbiomarker.ihc.basins import CRACK_UNITS, find_basins, measure_basins
from pdbiomarker.ihc.candidates import choose, size_table

Int = NDArray[np.int64]
OPTIONS = SegmentOptions(levels=6, min_area_um2=2.0, typical_area_um2=8.0, max_area_um2=60.0)
PIXEL_UM = 0.5


def scene(
    seed: int, shape: tuple[int, int] = (44, 52), *, noise: float = 0.0, step: int = 20_000
) -> tuple[NDArray[np.int32], ...]:
    """Signal with plateaus and ties (few distinct values), its levels, and an edge strength."""
    rng = np.random.default_rng(seed)
    smooth = ndi.gaussian_filter(rng.normal(size=shape), 2.2)
    smooth = smooth / smooth.std() + noise * ndi.gaussian_filter(rng.normal(size=shape), 0.6)
    z = np.rint(smooth * (800_000 / step)).astype(np.int32) * step
    thresholds = np.linspace(100_000, 1_600_000, OPTIONS.levels)
    level = np.searchsorted(thresholds, z, side="right").astype(np.uint8)
    return z, level, rng.integers(0, 1001, shape).astype(np.uint16)


def climb(z: NDArray[np.int32], inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Steepest ascent, pixel by pixel; of equal neighbours the later in reading order is the higher."""
    height, width = z.shape

    def above(y: int, x: int) -> tuple[int, int]:
        near = itertools.product(
            range(max(y - 1, 0), min(y + 2, height)), range(max(x - 1, 0), min(x + 2, width))
        )
        return max((z[p], p) for p in near if inside[p])[1]

    tops = {}
    for start in zip(*np.nonzero(inside), strict=True):
        at = start
        while (higher := above(*at)) != at:
            at = higher
        tops[start] = at
    numbers = {top: i for i, top in enumerate(sorted(set(tops.values())))}
    basin = np.full(z.shape, -1, np.int32)
    for start, top in tops.items():
        basin[start] = numbers[top]
    return basin


def cracks_of(shape: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """All pairs of neighbouring pixels."""
    pairs = []
    for y, x in np.ndindex(shape):
        pairs += [((y, x), (v, u)) for v, u in ((y + 1, x), (y, x + 1)) if v < shape[0] and u < shape[1]]
    return pairs


class Plain:
    """The same joins, each candidate measured on its own mask."""

    def __init__(self, images: tuple[NDArray[np.int32], ...], basin: NDArray[np.int32]) -> None:
        self.z, self.level, self.edge = images
        self.basin = basin
        self.peaks = [int(self.z[basin == b].max()) for b in range(basin.max() + 1)]
        self.height = dict(enumerate(self.peaks))
        self.group = {b: {b} for b in self.height}
        self.sizes = size_table(PIXEL_UM, OPTIONS)
        self.cracks = [(p, q) for p, q in cracks_of(basin.shape) if basin[p] >= 0 or basin[q] >= 0]

    def weight(self, p: tuple[int, int], q: tuple[int, int]) -> int:
        """Edge of a crack as seen from p."""
        strength = int(self.edge[p]) + int(self.edge[q])
        b, c = self.basin[p], self.basin[q]
        if c < 0 or b == c:
            return strength * 64
        peak = self.peaks[b]
        return strength * min(max((peak - int(min(self.z[p], self.z[q]))) * 160 // peak, 0), 64)

    def sums(self, members: set[int], k: int) -> Int:
        mask = np.isin(self.basin, list(members)) & (self.level >= k)
        ys, xs = np.nonzero(mask)
        rim = [(p, q) for a, b in self.cracks for p, q in ((a, b), (b, a)) if mask[p] and not mask[q]]
        moments = [len(xs), xs.sum(), ys.sum(), (xs * xs).sum(), (ys * ys).sum(), (xs * ys).sum()]
        return np.array([*moments, len(rim), sum(self.weight(p, q) for p, q in rim)], np.int64)

    def score(self, members: set[int], k: int) -> float:
        s = self.sums(members, k)
        area = int(s[0])
        if not 0 < area < len(self.sizes):
            return 0.0
        mean = s[1:3] / area
        cov = np.array([[s[3], s[5]], [s[5], s[4]]]) / area - np.outer(mean, mean) + np.eye(2) / 12
        low, high = np.linalg.eigvalsh(cov)
        fill, aspect = area / (4 * np.pi * np.sqrt(low * high)), np.sqrt(high / low)
        shape = np.clip((fill - 0.88) / 0.11, 0, 1) * np.clip((4 - aspect) / 1.5, 0, 1)
        edge = s[7] / (max(s[6], 1) * CRACK_UNITS)
        return float(self.sizes[area] * (0.1 + 0.9 * shape) * edge**2 * (shape > 0))

    def best(self, members: set[int]) -> float:
        return max(self.score(members, k) for k in range(1, OPTIONS.levels + 1))

    def passes(self) -> dict[tuple[int, int], int]:
        """Neighbouring groups and the height of the pass between them."""
        owner = {b: g for g, members in self.group.items() for b in members}
        found: dict[tuple[int, int], int] = {}
        for p, q in self.cracks:
            if self.basin[p] < 0 or self.basin[q] < 0:
                continue
            a, b = sorted((owner[self.basin[p]], owner[self.basin[q]]))
            if a != b:
                found[a, b] = max(found.get((a, b), -(2**40)), int(min(self.z[p], self.z[q])))
        return dict(sorted(found.items()))

    def join(self, members: list[int]) -> None:
        first = min(members)
        self.height[first] = max(self.height[m] for m in members)
        for m in members:
            if m != first:
                self.group[first] |= self.group.pop(m)

    def join_mutual(self, gain: dict[tuple[int, int], float]) -> None:
        choice: dict[int, tuple[int, int]] = {}
        for pair, value in gain.items():
            for end in pair:
                if end not in choice or value > gain[choice[end]]:
                    choice[end] = pair
        for pair in gain:
            if choice[pair[0]] == choice[pair[1]] == pair:
                self.join(list(pair))

    def run(self) -> None:
        ripple = int(OPTIONS.min_depth * 65536 * 100)
        for _ in range(2):
            deep = {p: min(self.height[p[0]], self.height[p[1]]) - way for p, way in self.passes().items()}
            self.join_mutual({p: self.passes()[p] for p, depth in deep.items() if depth < ripple})
        for percent in (3, 6, 12, 25):
            links = [
                (a, b)
                for (a, b), way in self.passes().items()
                if (min(self.height[a], self.height[b]) - way) * 100
                < percent * min(self.height[a], self.height[b])
            ]
            for cluster in connected(list(self.group), links):
                parts = [self.group[g] for g in cluster]
                if len(cluster) > 1 and self.best(set().union(*parts)) > max(map(self.best, parts)):
                    self.join(cluster)
        for _ in range(2):
            gain = {}
            for a, b in self.passes():
                more = self.best(self.group[a] | self.group[b]) - max(
                    self.best(self.group[a]), self.best(self.group[b])
                )
                if more > 1e-12:
                    gain[a, b] = more
            self.join_mutual(gain)


def connected(nodes: list[int], links: list[tuple[int, int]]) -> list[list[int]]:
    near: dict[int, set[int]] = {n: set() for n in nodes}
    for a, b in links:
        near[a].add(b)
        near[b].add(a)
    seen: set[int] = set()
    parts = []
    for node in nodes:
        if node in seen:
            continue
        part, queue = set(), [node]
        while queue:
            n = queue.pop()
            if n not in part:
                part.add(n)
                queue += near[n]
        seen |= part
        parts.append(sorted(part))
    return parts


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_basins_are_those_of_steepest_ascent(seed: int) -> None:
    z, level, _ = scene(seed)
    basin, peaks = find_basins(z, level)
    np.testing.assert_array_equal(basin, climb(z, level > 0))
    np.testing.assert_array_equal(peaks, [z[basin == b].max() for b in range(len(peaks))])


def test_a_plateau_has_one_peak() -> None:
    flat = np.full((9, 7), 500_000, np.int32)
    basin, peaks = find_basins(flat, np.ones((9, 7), np.uint8))
    assert not basin.any()
    assert peaks.tolist() == [500_000]
    assert len(find_basins(flat, np.zeros((9, 7), np.uint8))[1]) == 0


def test_sums_are_those_of_each_mask() -> None:
    z, level, edge = scene(3, (30, 34))
    basin, peaks = find_basins(z, level)
    sums, (first, second, passes, shared) = measure_basins(basin, level, (z, edge), peaks, OPTIONS.levels)
    plain = Plain((z, level, edge), basin)
    for b, k in itertools.product(range(len(peaks)), range(1, OPTIONS.levels + 1)):
        np.testing.assert_array_equal(sums[b, k - 1], plain.sums({b}, k))
    assert (
        dict(zip(zip(first.tolist(), second.tolist(), strict=True), passes.tolist(), strict=True))
        == plain.passes()
    )
    for i, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        union = sums[a] + sums[b]
        union[:, 6] -= 2 * shared[i, :, 0]
        union[:, 7] -= shared[i, :, 1]
        expected = [plain.sums({a, b}, k) for k in range(1, OPTIONS.levels + 1)]
        np.testing.assert_array_equal(union, expected)


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_joins_and_outlines_are_those_of_the_masks(seed: int) -> None:
    z, level, edge = scene(seed, (36, 40), noise=1.0, step=5_000)
    basin, peaks = find_basins(z, level)
    sums, pairs = measure_basins(basin, level, (z, edge), peaks, OPTIONS.levels)
    group, chosen, kept = choose(sums, pairs, peaks, PIXEL_UM, OPTIONS)
    plain = Plain((z, level, edge), basin)
    plain.run()
    owner = {b: g for g, members in plain.group.items() for b in members}
    assert [owner[b] for b in range(len(peaks))] == group.tolist()
    assert len(plain.group) < len(peaks) - 3  # joins there were
    for g, members in plain.group.items():
        scores = [plain.score(members, k) for k in range(1, OPTIONS.levels + 1)]
        assert kept[g] == (max(scores) > OPTIONS.min_score)
        if kept[g]:
            assert scores[chosen[g] - 1] == pytest.approx(max(scores), rel=1e-9)


def test_the_prior_on_the_area_is_wider_above_its_mode() -> None:
    sizes = size_table(1.0, SegmentOptions(min_area_um2=10, typical_area_um2=50, max_area_um2=200))
    assert len(sizes) == 201
    assert not sizes[:10].any()
    assert sizes[50] == 1
    assert sizes[100] == pytest.approx(np.exp(-0.5 * (np.log(2) / 1.1) ** 2))
    assert sizes[25] == pytest.approx(np.exp(-0.5 * (np.log(2) / 0.65) ** 2))
