r"""Random effects of several terms: which observations they join, and how their variances are numbered.

A term has an intercept and c - 1 slopes for each of its groups. Its effects have the covariance s2 T with T
(c x c) shared by all groups; y has V = s2 (W^-1 + sum_k g_k G_k), where the **components** g_k are the
entries T_ab, a >= b, of all terms (T_aa alone for independent effects) and

    G_k = Z_a Z_a'  for a = b,      G_k = Z_a Z_b' + Z_b Z_a'  for a > b.

V is linear in the components. What is searched are the entries of the lower triangular root R of T = R R'
(lme4's theta), which keep T positive semidefinite without bounds: g is a quadratic form in them,

    g_k = r' D_k r / 2,     dg_k / dr = D_k r,      d2 g_k / dr dr' = D_k,

with constant D. They are numbered as the components are.

Observations are laid out in **blocks** that no inner term crosses: slot j of block i. An inner term has its
groups within blocks (lesions within participants, participants themselves); the covariance is then a block
diagonal of small matrices. The other terms (a batch that many participants share) are crossed: they enter by
their columns Z, as many as they have groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Effects", "Layout", "Term", "arrange", "number_effects"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

#: A diagonal entry of the root this small (of a root near 1) is zero.
ZERO_ROOT = 1e-5


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One grouping term: its name, the group of each of n observations, and covariates with random slopes.

    Attributes
    ----------
    name : str
    codes : (n,) array of int
        Group, 0 to q - 1.
    slopes : (n, k) array
        Covariates whose slope varies between groups; k = 0 for an intercept alone.
    correlated : bool
        Whether slopes are correlated with the intercept and with each other.
    """

    name: str
    codes: Indices
    slopes: Array
    correlated: bool

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.codes.max(initial=-1)) + 1

    @property
    def effects(self) -> int:
        """Columns of effects of each group: the intercept and the slopes."""
        return 1 + int(self.slopes.shape[1])


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """The K components of all terms.

    Attributes
    ----------
    names : tuple of str
        ``participant`` (its intercept's variance), ``participant.slope1``,
        ``cov(participant, participant.slope1)``.
    owner : (K,) array of int
        The term of each.
    pair : tuple of (int, int)
        a >= b, the effects of that term that it relates.
    form : (K, K, K) array
        D.
    unit : (K,) array
        sqrt(u_a u_b): components of columns divided by sqrt(u) are those of the columns times this.
    """

    names: tuple[str, ...]
    owner: Indices
    pair: tuple[tuple[int, int], ...]
    form: Array
    unit: Array

    @property
    def diagonal(self) -> Flags:
        """Which components are variances."""
        return np.array([a == b for a, b in self.pair], dtype=bool)

    def components(self, root: Array) -> Array:
        """G of roots (..., K)."""
        return np.asarray(0.5 * np.einsum("...c,kcd,...d->...k", root, self.form, root))

    def jacobian(self, root: Array) -> Array:
        """dg_k / dr_c of roots (..., K): (..., K, K)."""
        return np.asarray(np.einsum("kcd,...d->...kc", self.form, root))

    def root(self, components: Array) -> Array:
        """Roots, with a diagonal that is not negative, of components (G, K)."""
        root = np.zeros_like(components)
        index = {(int(t), a, b): k for k, (t, (a, b)) in enumerate(zip(self.owner, self.pair, strict=True))}
        for (t, a, b), k in index.items():
            rest = components[:, k].copy()
            for c in range(b):
                left, right = index.get((t, a, c)), index.get((t, b, c))
                if left is not None and right is not None:
                    rest -= root[:, left] * root[:, right]
            if a == b:
                # What is left of a variance after rounding is nothing.
                root[:, k] = np.sqrt(np.where(rest > 1e-14 * components[:, k], rest, 0.0))
            else:
                pivot = root[:, index[t, b, b]]
                root[:, k] = np.divide(rest, pivot, out=np.zeros_like(rest), where=pivot > 0)
        return root

    def column(self, k: int) -> list[int]:
        """Entries of the root in the column of entry k; their sign is one."""
        same = self.owner == self.owner[k]
        return [i for i in np.flatnonzero(same).tolist() if self.pair[i][1] == self.pair[k][1]]


def number_effects(terms: Sequence[Term], *, residual: bool = False) -> Effects:
    """Number the components of the terms, row by row of each T; the residual variance last, if wanted."""
    names: list[str] = []
    owner: list[int] = []
    pair: list[tuple[int, int]] = []
    unit: list[float] = []
    for t, term in enumerate(terms):
        columns = [term.name, *(f"{term.name}.slope{a}" for a in range(1, term.effects))]
        size = _units(term)
        for a in range(term.effects):
            for b in range(a + 1) if term.correlated else (a,):
                names.append(columns[a] if a == b else f"cov({columns[b]}, {columns[a]})")
                owner.append(t)
                pair.append((a, b))
                unit.append(float(np.sqrt(size[a] * size[b])))
    if residual:
        names.append("residual")
        owner.append(len(terms))
        pair.append((0, 0))
        unit.append(1.0)
    count = len(names)
    form = np.zeros((count, count, count))
    for k, (a, b) in enumerate(pair):
        for i, (row, column) in enumerate(pair):
            for j, (other, same) in enumerate(pair):
                together = owner[k] == owner[i] == owner[j] and column == same
                form[k, i, j] = together * (float(row == a and other == b) + float(row == b and other == a))
    return Effects(tuple(names), np.array(owner, dtype=np.intp), tuple(pair), form, np.array(unit))


def _units(term: Term) -> Array:
    """For each effect, the largest sum of squares of its column in one group."""
    squares = np.column_stack([np.ones(len(term.codes)), np.square(term.slopes)])
    sums = np.zeros((term.groups, term.effects))
    np.add.at(sums, term.codes, squares)
    largest = sums.max(axis=0, initial=0.0)
    return np.where(largest > 0, largest, 1.0)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Blocks of observations: m slots in q blocks.

    Attributes
    ----------
    rows : (m q,) array of int
        Observation of each slot, slot by slot (slot j of all blocks, then slot j + 1); n where a slot is
        empty.
    slots, blocks : int
        m and q.
    patterns : mapping of component to (m, m, q) array
        G_k within each block, of unit weights and columns divided by sqrt(unit); inner terms.
    columns : mapping of component to a pair of (groups, m q) arrays
        Z_a and Z_b, so divided; crossed terms.
    """

    rows: Indices
    slots: int
    blocks: int
    patterns: dict[int, Array]
    columns: dict[int, tuple[Array, Array]]

    def place(self, values: Array) -> Array:
        """(..., n) to (..., m q); empty slots are 0."""
        padded = np.concatenate([values, np.zeros((*values.shape[:-1], 1))], axis=-1)
        return np.take(padded, self.rows, axis=-1)


def arrange(terms: Sequence[Term], effects: Effects, coefficients: int) -> Layout:
    """Choose blocks that cost least to work with, and lay the observations out in them.

    Parameters
    ----------
    terms : sequence of Term
    effects : Effects
        Of these terms.
    coefficients : int
        Columns of X.
    """
    n = len(terms[0].codes)
    candidates = [term.codes for term in terms] + [_joined(terms)]
    cost = [_cost(codes, terms, coefficients) for codes in candidates]
    blocks = candidates[int(np.argmin(cost))]
    order = np.argsort(blocks, kind="stable")
    sizes = np.bincount(blocks)
    m, q = int(sizes.max()), len(sizes)
    slot = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = np.full((m, q), n, dtype=np.intp)
    rows[slot, blocks[order]] = order
    layout = Layout(rows.reshape(-1), m, q, {}, {})
    for t, term in enumerate(terms):
        columns = _columns(term)
        inner = _nested(term.codes, blocks)
        codes = np.concatenate([term.codes, [-1]])[rows]
        same = (codes[:, None] == codes[None, :]) & (codes >= 0)[:, None]
        for k, (a, b) in enumerate(effects.pair):
            if effects.owner[k] != t:
                continue
            if inner:
                za, zb = (layout.place(columns[:, e]).reshape(m, q) for e in (a, b))
                product = za[:, None] * zb[None, :]
                pattern = product if a == b else product + product.transpose(1, 0, 2)
                layout.patterns[k] = np.where(same, pattern, 0.0)
            else:
                indicator = np.arange(term.groups)[:, None] == term.codes
                za = layout.place(indicator * columns[:, a])
                layout.columns[k] = (za, za if a == b else layout.place(indicator * columns[:, b]))
    return layout


def _columns(term: Term) -> Array:
    """The intercept and the slopes of a term, (n, c), divided by sqrt(unit)."""
    columns = np.column_stack([np.ones(len(term.codes)), term.slopes])
    return np.asarray(columns / np.sqrt(_units(term)))


def _nested(fine: Indices, coarse: Indices) -> bool:
    """Whether every level of `fine` lies in one level of `coarse`."""
    if not len(fine):
        return True
    pairs = np.unique(np.column_stack([fine, coarse]), axis=0)
    return len(pairs) == int(fine.max()) + 1


def _joined(terms: Sequence[Term]) -> Indices:
    """The finest partition in which every term is nested: observations connected through shared groups."""
    label = np.arange(len(terms[0].codes))
    while True:
        before = label
        for term in terms:
            lowest = np.full(term.groups, len(label), dtype=label.dtype)
            np.minimum.at(lowest, term.codes, label)
            label = lowest[term.codes]
        if (label == before).all():
            return np.unique(label, return_inverse=True)[1].reshape(-1).astype(np.intp)


def _cost(codes: Indices, terms: Sequence[Term], coefficients: int) -> float:
    """Rough count of multiplications of one evaluation."""
    crossed = sum(term.groups * term.effects for term in terms if not _nested(term.codes, codes))
    sizes = np.bincount(codes)
    m, q = int(sizes.max(initial=1)), len(sizes)
    width = coefficients + 1 + crossed
    return float(q * m**3 * len(terms) + 2 * q * m * m * width + 6 * q * m * width**2)
