r"""Laplace approximation of the marginal likelihood, with its exact gradient.

For participant i with biopsies b and observations j,

    eta_ijb = x'g + offset + s_u u_i + s_v v_ib,      u, v ~ N(0, 1) independent,
    l(y | eta)   one of the families of `pdbiomarker.mixed.glmm.families`;

the biopsy intercept s_v v is optional. With h(z) = sum l - z'z / 2, z = (u, v), the approximation of
log integral exp(h) dN is

    L = h(z^) - 1/2 log det H,    z^ = argmax h,    H = -h''(z^).

The intercepts are standardised, so s_u = 0 is an ordinary point: L is an even, smooth function of s_u. (The
value is that of the intercepts on their own scale, as in glmmTMB: the approximation does not depend on it.)

H is an arrow. With W_b = -sum l'' over a biopsy, D_b = 1 + s_v^2 W_b and S_i = 1 + s_u^2 sum_b W_b / D_b,

    log det H = sum log D_b + sum log S_i,
    d log det H / dW_b = c_b = s_v^2 / D_b + s_u^2 / (S_i D_b^2)     (the posterior variance of eta).

By the implicit function theorem dz^/dpsi = H^-1 dh'/dpsi. Its effect on log det H is gathered by one adjoint
solve: with q = -c l''' / 2 an observation, lambda = H^-1 Z'q and a = Z lambda, the gradient is

    g:    X'r,   r = l' - q - a l'';
    d:    sum l_d + c l_eed / 2 - a l_ed;
    s_u:  sum r u - sum_i lambda_i sum l' - s_u sum_i (sum_b W_b / D_b) / S_i;
    s_v:  sum r v - sum_b lambda_b sum l' - s_v sum_b (W_b / D_b) (1 - s_u^2 W_b / (S_i D_b)).

Sources: Tierney and Kadane 1986, doi:10.1080/01621459.1986.10478240; Kristensen and others 2016,
doi:10.18637/jss.v070.i05 (the approximation in TMB). The gradient was derived for this module.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .families import Family

__all__ = ["Laplace", "Levels"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

INNER_ITERATIONS = 60
#: Steps of the intercepts below this are taken and end the search: Newton's next one is its square.
INNER_STEP = 1e-7
LONGEST_INNER_STEP = 5.0


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Sums over, and spreading back to, biopsies and participants; observations are sorted by both.

    Attributes
    ----------
    biopsy_starts, biopsy_of : arrays of int, or None
        First observation of each biopsy; biopsy of each observation. None without a biopsy intercept: each
        observation then is its own.
    starts, participant_of : arrays of int
        First biopsy of each participant; participant of each biopsy.
    """

    biopsy_starts: Indices | None
    biopsy_of: Indices | None
    starts: Indices
    participant_of: Indices

    @classmethod
    def of(cls, participants: Indices, biopsies: Indices | None) -> Levels:
        """Levels of sorted codes, one an observation."""
        if biopsies is None:
            return cls(None, None, _starts(participants), _ranks(participants))
        starts = _starts(biopsies)
        upper = participants[starts]
        return cls(starts, _ranks(biopsies), _starts(upper), _ranks(upper))

    def over_biopsies(self, values: Array) -> Array:
        """(..., n) -> (..., biopsies)."""
        return values if self.biopsy_starts is None else np.add.reduceat(values, self.biopsy_starts, axis=-1)

    def over_participants(self, values: Array) -> Array:
        """(..., biopsies) -> (..., participants)."""
        return np.asarray(np.add.reduceat(values, self.starts, axis=-1))

    def to_biopsies(self, values: Array) -> Array:
        """(..., participants) -> (..., biopsies)."""
        return values[..., self.participant_of]

    def to_observations(self, values: Array) -> Array:
        """(..., biopsies) -> (..., n)."""
        return values if self.biopsy_of is None else values[..., self.biopsy_of]


def _starts(sorted_codes: Indices) -> Indices:
    return np.flatnonzero(np.diff(sorted_codes, prepend=-1))


def _ranks(sorted_codes: Indices) -> Indices:
    return np.cumsum(np.diff(sorted_codes, prepend=-1) != 0) - 1


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Latent:
    """Intercepts z^ and the pieces of H there, all on the levels of participants (u, S) and biopsies."""

    u: Array
    v: Array | None
    eta: Array


@dataclasses.dataclass(slots=True, eq=False)
class Laplace:
    """Minus the Laplace log-likelihood of M runs; an `Objective`.

    Parameters of a run: g (p), s_u, s_v (only with a biopsy intercept), log dispersion (only in a family
    that has one).

    Attributes
    ----------
    family : Family
    levels : Levels
    y : (M, n) array
        0 where not observed.
    size : (M, n) array or None
        Numbers of trials.
    seen : (M, n) array of 0 and 1, or None
        None when everything is observed.
    offset : (M or 1, n) array
    design : (M or 1, n, p) array
    u, v : arrays, (M, participants), (M, biopsies) or None
        Where the search for the intercepts starts: the last ones found at a single set of parameters.
    """

    family: Family
    levels: Levels
    y: Array
    size: Array | None
    seen: Array | None
    offset: Array
    design: Array
    u: Array
    v: Array | None

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return int(self.design.shape[2])

    def take(self, rows: Indices) -> Laplace:
        """Those runs."""
        return Laplace(
            self.family,
            self.levels,
            self.y[rows],
            None if self.size is None else self.size[rows],
            None if self.seen is None else self.seen[rows],
            self.offset if len(self.offset) == 1 else self.offset[rows],
            self.design if len(self.design) == 1 else self.design[rows],
            self.u[rows],
            None if self.v is None else self.v[rows],
        )

    def fixed(self, coefficients: Array) -> Array:
        """Sum offset + X g, (..., M, n)."""
        if len(self.design) == 1:
            return np.asarray(coefficients @ self.design[0].T + self.offset)
        return np.asarray(np.matmul(self.design, coefficients[..., None])[..., 0] + self.offset)

    def evaluate(self, parameters: Array) -> tuple[Array, Array]:
        """See `Objective`; a call with (M, P) parameters moves the start of the intercepts."""
        p = self.p
        s_u = parameters[..., p, None]
        s_v = parameters[..., p + 1, None] if self.v is not None else np.zeros(1)
        d = parameters[..., -1, None] if self.family.limit else np.zeros(1)
        latent = self._mode(self.fixed(parameters[..., :p]), s_u, s_v, d)
        if parameters.ndim == 2:
            usable = np.isfinite(latent.u).all(axis=-1, keepdims=True)
            self.u = np.where(usable, latent.u, 0.0)
            if latent.v is not None:
                self.v = np.where(usable, latent.v, 0.0)
        return self._value_and_gradient(latent, s_u, s_v, d)

    def _observed(self, values: Array) -> Array:
        return values if self.seen is None else values * self.seen

    def _mode(self, fixed: Array, s_u: Array, s_v: Array, d: Array) -> _Latent:
        """Newton's method for all intercepts, a step halved where a participant's h would fall."""
        levels = self.levels
        lead = fixed.shape[:-1]
        u = np.broadcast_to(self.u, (*lead, self.u.shape[-1])).copy()
        v = None if self.v is None else np.broadcast_to(self.v, (*lead, self.v.shape[-1])).copy()
        best = np.full(u.shape, -np.inf)
        keep_u, keep_v = u, v
        step_u = np.zeros_like(u)
        step_v = None if v is None else np.zeros_like(v)
        for _ in range(INNER_ITERATIONS):
            eta = fixed + self._random(u, v, s_u, s_v)
            value, e, ee = (self._observed(x) for x in self.family.inner(eta, d, self.y, self.size))
            within = levels.over_biopsies(value)
            E, W = levels.over_biopsies(e), -levels.over_biopsies(ee)
            if v is not None:
                within = within - 0.5 * v * v
            h = levels.over_participants(within) - 0.5 * u * u
            better = h >= best - 1e-11 * (1.0 + np.abs(h))
            # Newton's step from here, used where h has risen; elsewhere half of the last step is tried.
            r_v = None if v is None else s_v * E - v
            D = np.maximum(1.0 + s_v * s_v * W, 0.25)
            S = np.maximum(1.0 + s_u * s_u * levels.over_participants(W / D), 0.25)
            new_u, new_v = self._solve((s_u * levels.over_participants(E) - u, r_v), W, (D, S), (s_u, s_v))
            new_u = np.clip(new_u, -LONGEST_INNER_STEP, LONGEST_INNER_STEP)
            step_u = np.where(better, new_u, 0.5 * step_u)
            keep_u, best = np.where(better, u, keep_u), np.where(better, h, best)
            longest = np.abs(step_u).max(initial=0.0)
            u = keep_u + step_u
            if v is not None and new_v is not None and step_v is not None and keep_v is not None:
                better_v = better[..., levels.participant_of]
                new_v = np.clip(new_v, -LONGEST_INNER_STEP, LONGEST_INNER_STEP)
                step_v = np.where(better_v, new_v, 0.5 * step_v)
                keep_v = np.where(better_v, v, keep_v)
                longest = max(longest, np.abs(step_v).max(initial=0.0))
                v = keep_v + step_v
            if not longest > INNER_STEP:
                break
        return _Latent(u, v, fixed + self._random(u, v, s_u, s_v))

    def _random(self, u: Array, v: Array | None, s_u: Array, s_v: Array) -> Array:
        part = self.levels.to_biopsies(s_u * u)
        return self.levels.to_observations(part if v is None else part + s_v * v)

    def _solve(
        self,
        right: tuple[Array, Array | None],
        W: Array,
        pivots: tuple[Array, Array],
        deviations: tuple[Array, Array],
    ) -> tuple[Array, Array | None]:
        """H^-1 of a right side (participants, biopsies)."""
        (r_u, r_v), (D, S), (s_u, s_v) = right, pivots, deviations
        if r_v is None:
            return r_u / S, None
        link = s_u * s_v * W
        u = (r_u - self.levels.over_participants(link * r_v / D)) / S
        return u, (r_v - link * self.levels.to_biopsies(u)) / D

    def _value_and_gradient(self, at: _Latent, s_u: Array, s_v: Array, d: Array) -> tuple[Array, Array]:
        """Minus L and its gradient."""
        levels, observed = self.levels, self._observed
        found = self.family.full(at.eta, d, self.y, self.size)
        e, ee = observed(found.e), observed(found.ee)
        E, W = levels.over_biopsies(e), -levels.over_biopsies(ee)
        D = 1.0 + s_v * s_v * W
        S = 1.0 + s_u * s_u * levels.over_participants(W / D)
        S_b = levels.to_biopsies(S)
        value = observed(found.value).sum(axis=-1) - 0.5 * np.square(at.u).sum(axis=-1)
        value -= 0.5 * np.log(S).sum(axis=-1)
        if at.v is not None:
            value -= 0.5 * (np.square(at.v) + np.log(D)).sum(axis=-1)

        variance = levels.to_observations(s_v * s_v / D + s_u * s_u / (S_b * D * D))
        q = -0.5 * variance * observed(found.eee)
        q_b = levels.over_biopsies(q)
        adjoint_u, adjoint_v = self._solve(
            (s_u * levels.over_participants(q_b), None if at.v is None else s_v * q_b), W, (D, S), (s_u, s_v)
        )
        a = self._random(adjoint_u, adjoint_v, s_u, s_v)
        r = e - q - a * ee
        if len(self.design) == 1:
            by_g = r @ self.design[0]
        else:
            by_g = np.matmul(r[..., None, :], self.design)[..., 0, :]
        r_b = levels.over_biopsies(r)
        share = levels.over_participants(W / D) / S
        by_u = (levels.over_participants(r_b) * at.u - adjoint_u * levels.over_participants(E)).sum(axis=-1)
        by_u -= (s_u * share).sum(axis=-1)
        columns = [by_g, by_u[..., None]]
        if at.v is not None and adjoint_v is not None:
            by_v = r_b * at.v - adjoint_v * E - s_v * W / D * (1.0 - s_u * s_u * W / (S_b * D))
            columns.append(by_v.sum(axis=-1, keepdims=True))
        if found.d is not None and found.ed is not None and found.eed is not None:
            by_d = observed(found.d + 0.5 * variance * found.eed - a * found.ed)
            columns.append(by_d.sum(axis=-1, keepdims=True))
        return -value, -np.concatenate(columns, axis=-1)
