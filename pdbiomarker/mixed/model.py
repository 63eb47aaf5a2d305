"""`fit`: the road from arrays to estimates, block by block of features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdbiomarker.errors import AssayError, FormulaError, Problem

from .compat import limma_fit
from .inference import DdfMethod, t_quantile, t_tail
from .inputs import Inputs, Options, RandomSlopes, check_contrasts, check_inputs
from .joint import JointTest, joint_test
from .prepare import Block, SharedLayout, aliased_columns, offsets, prepare, take
from .solver import Found, Optima, solve_any, solve_one_intercept
from .structure import number_effects

__all__ = ["MixedFit", "fit"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

#: Doubles that the largest array of one block of features may hold.
BLOCK_DOUBLES = 600_000


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MixedFit:
    """Fits of G features with k contrasts, p coefficients and K variances and covariances of random effects.

    Attributes
    ----------
    estimate, se, df, t, p : (G, k) arrays
        Each contrast with its standard error, degrees of freedom, t and two-sided p; NaN where the data do
        not tell it.
    estimable : (G, k) array of bool
        Whether the feature's observations determine the contrast.
    coefficients : (G, p) array
        Coefficients of X; NaN where one is not estimable by itself (an aliased column).
    aliased : (G, p) array of bool
        Columns of X that add nothing to those before them, over the feature's observations (as in R's lm).
    sigma2 : (G,) array
        Residual variance at weight 1, without the known variances.
    theta : (G, K) array
        Variances and covariances of the terms over the residual variance (lme4's theta is their root).
    variance : (G, K) array
        The same, not divided by the residual variance.
    singular : (G, K) array of bool
        Which of them lie on the bound of their range, or are not told by the data.
    loglik : (G,) array
        REML log-likelihood, as lme4's logLik of a REML fit.
    rdf : (G,) array
        tr((I - H)^2), H the hat matrix of fixed and random effects: the residual degrees of freedom that
        dream moderates with.
    status : (G,) array of str
        ``ok``; ``singular``: a component lies on the bound of its range, or the data do not tell it, or
        nothing is left around the fit (the same change in everybody: sigma2 is 0, the estimates stand, and
        se, df, t and p are NaN), or some contrasts have no test;
        ``not_estimable``: no contrast is, or the estimates stand but none has a test, because the variance
        of none is told. With one intercept that is so by rank where the columns of X use up all degrees of
        freedom within groups (observations - groups - rank of X within groups <= 0): se, df, t and p of
        contrasts within groups are NaN then, and of all contrasts where theta runs out of its range;
        ``too_few``: no residual degree of freedom, one group only, or as many random effects of a term with
        slopes as observations;
        ``constant``: all responses are equal, so estimates stand, with se 0 and without a test;
        ``not_converged``: no maximum was found (also where the sums of all pairs are equal and theta may be
        negative).
    n_obs, n_groups : (G,) arrays of int
        Observations used, and groups of the first term among them.
    terms : tuple of str
        Names of the columns of theta: a term's intercept bears its name, a slope ``participant.slope1``, a
        covariance ``cov(participant, participant.slope1)``.
    ddf : {"kenward-roger", "satterthwaite", "residual"}
        How se and df were found.
    inputs : Inputs
        The arrays that were fitted, not copied: `joint` and `contrast` read them again.
    """

    estimate: Array
    se: Array
    df: Array
    t: Array
    p: Array
    estimable: Flags
    coefficients: Array
    aliased: Flags
    sigma2: Array
    theta: Array
    variance: Array
    singular: Flags
    loglik: Array
    rdf: Array
    status: NDArray[np.str_]
    n_obs: NDArray[np.int64]
    n_groups: NDArray[np.int64]
    terms: tuple[str, ...]
    ddf: DdfMethod
    inputs: Inputs = dataclasses.field(repr=False)

    def confint(self, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper confidence limits of each contrast, (G, k) each; NaN where there is no test.

        Raises
        ------
        AssayError
            A level that is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise AssayError(
                [
                    Problem(
                        "E-MODEL-002", "A confidence level lies between 0 and 1.", "use a level such as 0.95",
                        column="level", value=str(level),
                    )
                ]
            )  # fmt: skip
        half = t_quantile(0.5 + 0.5 * level, self.df) * self.se
        return self.estimate - half, self.estimate + half

    def contrast(self, contrasts: ArrayLike) -> MixedFit:
        """The same fit with other contrasts, (k, p).

        Raises
        ------
        AssayError
            Contrasts of another shape, or values that are not finite.
        """
        rows = check_contrasts(contrasts, self.coefficients.shape[1])
        return _run(dataclasses.replace(self.inputs, contrasts=rows), self._optima())

    def joint(self, contrasts: ArrayLike) -> JointTest:
        """Test that all contrasts, (k, p), are 0 at once: one F test a feature.

        Kenward-Roger scales F and finds its denominator as published (1997); Satterthwaite averages over the
        principal directions as lmerTest does; residual uses n - p. Rows that depend on others count once.
        """
        rows = check_contrasts(contrasts, self.coefficients.shape[1])
        if self.inputs.compat == "limma":
            raise FormulaError(
                [
                    Problem(
                        "E-FORMULA-006",
                        "limma's joint tests are moderated and rest on approximate standard errors.",
                        "fit without compat for a joint test",
                        column="compat",
                        value="limma",
                    )
                ]
            )
        inputs = dataclasses.replace(self.inputs, contrasts=rows)
        found = joint_test(inputs, self._optima())
        if inputs.one_intercept:
            # A hypothesis with a row that has no test of its own has none either.
            lost = np.isnan(_run(inputs, self._optima()).se).any(axis=1)
            for values in (found.F, found.num_df, found.den_df, found.p):
                values[lost] = np.nan
        return found

    def _optima(self) -> Optima:
        usable = np.isin(self.status, ["ok", "singular", "not_estimable"]) & np.isfinite(self.loglik)
        return Optima(self.sigma2, self.variance, self.singular, usable)


def fit(  # noqa: PLR0913 - every option of a model is a name of its own
    Y: ArrayLike,
    X: ArrayLike,
    groups: ArrayLike | Mapping[str, ArrayLike],
    *,
    weights: ArrayLike | None = None,
    known_variance: ArrayLike | None = None,
    slopes: Mapping[str, ArrayLike | RandomSlopes] | None = None,
    contrasts: ArrayLike | None = None,
    ddf: str = "kenward-roger",
    allow_negative_icc: bool = False,
    compat: Literal["lmerTest", "dream", "limma"] | None = None,
) -> MixedFit:
    """Fit y = X b + sum of random effects + e to every feature by REML, and test contrasts of b.

    Parameters
    ----------
    Y : (G, n) array
        Features x observations; NaN = missing, for that feature only.
    X : (n, p) array
        Design matrix shared by the features. Aliased columns are allowed: contrasts that need them are not
        estimable, the others are right.
    groups : (n,) array of labels, or mapping of terms' names to them
        A random intercept for each group of each term: the participant of each observation; participant and
        lesion; participant and batch. Labels of a term named ``participant/lesion`` are read within those of
        ``participant``; all others as they are.
    weights : (G, n) array, optional
        Known relative precisions, Var(e) = sigma2 / w; 0 = missing. Their scale moves sigma2 and theta,
        nothing else.
    known_variance : (G, n) array, optional
        Known variances that add to it, Var(e) = sigma2 / w + v.
    slopes : mapping of a term's name to an (n, k) array or RandomSlopes, optional
        Covariates whose slope varies between the groups of that term, correlated with its intercept unless
        RandomSlopes says otherwise.
    contrasts : (k, p) array, optional
        Default: each coefficient.
    ddf : {"kenward-roger", "satterthwaite", "residual"}
        Kenward-Roger enlarges the standard errors and uses the expected information; Satterthwaite uses the
        observed information and, where theta is 0, gives n - p as lmerTest does; residual is n - p. The
        mathematics stand in `pdbiomarker.mixed.inference`.
    allow_negative_icc : bool
        Let observations of one group be less alike than those of different groups (compound symmetry): theta
        may fall below 0 as long as the covariance is positive definite. Complete pairs then give the paired
        t-test. Where one group alone would reach that bound, because its weights are the largest, theta stops
        at 99 % of it, with status ``singular``. For one intercept only.
    compat : {"lmerTest", "dream", "limma"}, optional
        A peer's definitions where they differ from these; `pdbiomarker.mixed.compat` tells each.

    Returns
    -------
    MixedFit
        One row for each feature, in order; a feature that cannot be fitted has a status and NaN.

    Raises
    ------
    AssayError
        Shapes that do not fit, infinite values, negative weights or variances, missing labels, an unknown
        `ddf` or `compat`.
    FormulaError
        No grouping term, slopes of a term that is not there, or what the model asked for does not have.

    Examples
    --------
    >>> import numpy as np
    >>> change = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])       # R's sleep data
    >>> first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    >>> visit = np.repeat([0.0, 1.0], 10)
    >>> X = np.column_stack([np.ones(20), visit])
    >>> sleep = fit([np.concatenate([first, first + change])], X, np.tile(np.arange(10), 2))
    >>> [float(x[0, 1].round(6)) for x in (sleep.estimate, sleep.se, sleep.df, sleep.p)]
    [1.58, 0.388959, 9.0, 0.002833]
    """
    options = Options(weights, known_variance, slopes, contrasts, ddf, allow_negative_icc, compat)
    return _run(check_inputs(Y, X, groups, options))


def _run(inputs: Inputs, optima: Optima | None = None) -> MixedFit:
    """Fit checked inputs, or return to optima that are known."""
    if inputs.compat == "limma":
        return _as_limma(inputs)
    # One intercept is searched again: that is as fast as returning to its optimum.
    general = not inputs.one_intercept or inputs.compat is not None
    layout = SharedLayout(inputs, general=general)
    result = _empty(inputs)
    if not len(layout.starts):
        return result
    size = max(1, BLOCK_DOUBLES // max(1, layout.doubles))
    for start in range(0, len(inputs.Y), size):
        rows = np.arange(start, min(start + size, len(inputs.Y)))
        _fit_block(inputs, layout, rows, result, optima)
    return result


def _as_limma(inputs: Inputs) -> MixedFit:
    """Limma's fit at the consensus correlation, as a result of `fit`."""
    found, coefficients, rho = limma_fit(inputs)
    observed = ~np.isnan(inputs.Y)
    if inputs.weights is not None:
        observed &= inputs.weights > 0
    starts = np.argsort(inputs.terms[0].codes, kind="stable")
    firsts = np.flatnonzero(np.diff(inputs.terms[0].codes[starts], prepend=-1))
    result = _empty(inputs)
    result.n_obs[:] = observed.sum(axis=1)
    result.n_groups[:] = np.logical_or.reduceat(observed[:, starts], firsts, axis=1).sum(axis=1)
    result.estimate[:], result.coefficients[:] = found.estimate, coefficients.estimate
    result.estimable[:] = np.isfinite(found.estimate)
    result.sigma2[:] = found.sigma2
    result.theta[:] = rho / (1.0 - rho)
    result.variance[:, 0] = rho * found.sigma2
    result.rdf[:] = found.df_residual
    result.aliased[:] = aliased_columns(inputs.X, observed)
    se = np.sqrt(found.sigma2)[:, None] * found.unscaled_sd
    tested = (se > 0) & (found.df_residual > 0)[:, None]
    result.se[:] = se
    result.df[:] = np.where(tested, found.df_residual[:, None], np.nan)
    result.t[:] = np.divide(found.estimate, se, out=np.full(se.shape, np.nan), where=tested)
    result.p[:] = t_tail(result.t, result.df)
    flat = np.isfinite(se).any(axis=1) & ~tested.any(axis=1)
    top = np.where(observed, inputs.Y, -np.inf).max(axis=1, initial=-np.inf)
    equal = top == np.where(observed, inputs.Y, np.inf).min(axis=1, initial=np.inf)
    result.se[flat & ~equal] = np.nan
    result.status[:] = np.select(
        [found.df_residual <= 0, ~result.estimable.any(axis=1), flat & equal, flat],
        ["too_few", "not_estimable", "constant", "singular"],
        "ok",
    )
    return result


def _empty(inputs: Inputs) -> MixedFit:
    """A result in which nothing is known yet."""
    features, k, p = len(inputs.Y), len(inputs.contrasts), inputs.X.shape[1]
    names = number_effects(inputs.terms).names

    def unknown(*shape: int) -> Array:
        return np.full(shape, np.nan)

    return MixedFit(
        estimate=unknown(features, k),
        se=unknown(features, k),
        df=unknown(features, k),
        t=unknown(features, k),
        p=unknown(features, k),
        estimable=np.zeros((features, k), dtype=bool),
        coefficients=unknown(features, p),
        sigma2=unknown(features),
        aliased=np.zeros((features, p), dtype=bool),
        theta=unknown(features, len(names)),
        variance=unknown(features, len(names)),
        singular=np.zeros((features, len(names)), dtype=bool),
        loglik=unknown(features),
        rdf=unknown(features),
        status=np.full(features, "too_few", dtype="<U13"),
        n_obs=np.zeros(features, dtype=np.int64),
        n_groups=np.zeros(features, dtype=np.int64),
        terms=names,
        ddf=inputs.ddf,
        inputs=inputs,
    )


def _fit_block(
    inputs: Inputs, layout: SharedLayout, rows: Indices, result: MixedFit, optima: Optima | None
) -> None:
    """Fit the features `rows` and write them into `result`."""
    block = prepare(inputs, layout, rows)
    k = len(inputs.contrasts)
    n_obs = block.observed.sum(axis=1)
    n_groups = np.logical_or.reduceat(block.observed, layout.starts, axis=1).sum(axis=1)
    enough = (n_obs > block.basis.kept.sum(axis=1)[block.pattern]) & (n_groups > 1)
    enough &= ~_saturated(inputs, layout, block, n_obs)
    told = block.estimable[block.pattern] & enough[:, None]
    flat = np.abs(block.residual).max(axis=1) <= block.rounding
    status = np.select(
        [~enough, ~told[:, :k].any(axis=1), flat & ~block.varies, flat],
        ["too_few", "not_estimable", "constant", "singular"],
        "ok",
    )

    result.n_obs[rows] = n_obs
    result.n_groups[rows] = n_groups
    result.estimable[rows] = block.estimable[block.pattern][:, :k]
    result.aliased[rows] = block.aliased[block.pattern]
    result.status[rows] = status
    result.sigma2[rows[enough & flat]] = 0.0
    _store(result, rows, np.where(told, offsets(block, layout), np.nan))
    result.se[rows] = np.where(told[:, :k] & (flat & ~block.varies)[:, None], 0.0, np.nan)
    live = np.flatnonzero(enough & ~flat)
    if len(live):
        _fit_live(inputs, layout, rows[live], take(block, live), result, optima)


def _saturated(inputs: Inputs, layout: SharedLayout, block: Block, n_obs: NDArray[np.int64]) -> Flags:
    """Features with as many random effects of one sloped term as observations: they leave no residual."""
    out = np.zeros(len(block.observed), dtype=bool)
    if inputs.known_variance is not None:
        return out
    for term in inputs.terms:
        if term.effects > 1:
            member = term.codes[layout.rows][:, None] == np.arange(term.groups)
            seen = ((block.observed.astype(float) @ member) > 0).sum(axis=1)
            out |= n_obs <= seen * term.effects
    return out


def _fit_live(
    inputs: Inputs,
    layout: SharedLayout,
    rows: Indices,
    block: Block,
    result: MixedFit,
    optima: Optima | None,
) -> None:
    """Fit features that have residual degrees of freedom and variation."""
    if layout.slots is None:
        found = solve_one_intercept(inputs, layout, block)
    else:
        found = solve_any(inputs, layout, block, None if optima is None else optima.take(rows))
    exact, failed = found.exact, ~found.converged
    size, table = block.scale, found.table
    k = len(inputs.contrasts)
    told = block.estimable[block.pattern] & ~failed[:, None]
    _store(result, rows, np.where(told, offsets(block, layout) + table.estimate * size[:, None], np.nan))
    told = told[:, :k]
    result.se[rows] = np.where(told & ~exact[:, None], table.se[:, :k] * size[:, None], np.nan)
    tested = told & (result.se[rows] > 0)
    result.df[rows] = np.where(tested, table.df[:, :k], np.nan)
    t = np.divide(result.estimate[rows], result.se[rows], out=np.full(told.shape, np.nan), where=tested)
    result.t[rows] = t
    result.p[rows] = t_tail(t, result.df[rows])
    untested = told & ~tested
    fate = np.select(
        [
            failed,
            exact,
            (tested | ~told).all(axis=1) & ~found.edge,
            ~tested.any(axis=1) & untested.any(axis=1),
        ],
        ["not_converged", "singular", "ok", "not_estimable"],
        "singular",
    )
    named = result.status[rows] != "ok"
    result.status[rows] = np.where(named, result.status[rows], fate)
    _store_variances(rows, found, block, result)
    result.loglik[rows] = np.where(failed | exact, np.nan, _log_likelihood(found, block))


def _store_variances(rows: Indices, found: Found, block: Block, result: MixedFit) -> None:
    """Write s2, the components and what goes with them."""
    failed, gone = ~found.converged, found.exact
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        unit = block.scale * block.scale
        s2 = found.s2 * unit * found.norm
        if found.profiled:
            theta = found.components / found.norm[:, None]
            variance = np.where(found.components == 0, 0.0, theta * s2[:, None])
        else:
            variance = found.components * unit[:, None]
            theta = np.where(variance == 0, 0.0, variance / s2[:, None])
    result.theta[rows] = np.where(failed[:, None], np.nan, theta)
    result.variance[rows] = np.where((failed | gone)[:, None], np.nan, variance)
    result.sigma2[rows] = np.where(failed, np.nan, np.where(gone, 0.0, s2))
    result.singular[rows] = found.singular & ~failed[:, None]
    result.rdf[rows] = np.where(failed | gone, np.nan, found.rdf)


def _log_likelihood(found: Found, block: Block) -> Array:
    """REML log-likelihood of the responses as they were given."""
    pick = slice(None) if len(block.basis.kept) == 1 else block.pattern
    pivots = np.abs(np.diagonal(block.basis.triangle, axis1=1, axis2=2))
    log_x = 2.0 * np.where(block.basis.kept, np.log(pivots), 0.0).sum(axis=1)[pick]
    log_w = np.log(np.where(found.weights > 0, found.weights, 1.0)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        deviance = found.criterion + log_x - log_w
    if found.profiled:
        deviance += found.dof * (1.0 - np.log(found.dof))
    deviance += found.dof * (np.log(2.0 * np.pi) + 2.0 * np.log(block.scale))
    return np.asarray(-0.5 * deviance)


def _store(result: MixedFit, rows: Indices, values: Array) -> None:
    """Write contrasts and coefficients, (G, k + p)."""
    k = result.estimate.shape[1]
    result.estimate[rows], result.coefficients[rows] = values[:, :k], values[:, k:]
