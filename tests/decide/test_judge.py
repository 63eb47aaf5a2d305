"""Rules on data, by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pdbiomarker.decide import BayesRate, Participant, preset
from pdbiomarker.decide.judge import CONSIDER, GO, NOT_EVALUABLE, STOP, Trials, judge


def trials(change, *, baseline=None, baselines=None, sigma=0.5, df=np.inf, scale="log2") -> Trials:
    d = np.atleast_2d(np.asarray(change, dtype=float))
    b = np.zeros_like(d) if baseline is None else np.atleast_2d(np.asarray(baseline, dtype=float))
    every = b if baselines is None else np.atleast_2d(np.asarray(baselines, dtype=float))
    return Trials(b, b + d, every, np.full(len(d), sigma), df, scale)


def count(**more):
    return preset("x_of_n").model_copy(update=more)


def test_x_of_n_counts_those_beyond_fold_and_noise():
    rule = count(go_at_least=2, of=4, consider_at_least=1, min_evaluable=2)
    # The limit is 2 ** (1.96 sqrt2 .5) = 2.61: a doubling alone is not enough.
    found = judge(rule, trials([[1.5, 1.4, 1.2, 0.0], [1.5, 1.2, 1.2, 1.2], [1.2, 1.2, 1.0, 1.0]]))
    assert found.verdict.tolist() == [GO, CONSIDER, STOP]
    assert found.observed.tolist() == [2.0, 1.0, 0.0]
    np.testing.assert_allclose(found.limit, 1.959964 * np.sqrt(2) * 0.5, rtol=1e-6)


def test_fewer_participants_are_judged_only_where_the_others_could_not_matter():
    rule = count(go_at_least=2, of=3, consider_at_least=None, min_evaluable=2)
    found = judge(rule, trials([[2.0, 2.0], [2.0, 0.0], [0.0, 0.0]]))
    assert found.verdict.tolist() == [GO, NOT_EVALUABLE, STOP]
    assert "2 evaluable instead of 3" in found.reason


def test_more_participants_raise_the_number_needed():
    rule = count(go_at_least=2, of=3, consider_at_least=None, min_evaluable=2)
    # Two of three becomes four of five.
    found = judge(rule, trials([[2.0] * 3 + [0.0] * 2, [2.0] * 4 + [0.0]]))
    assert found.verdict.tolist() == [STOP, GO]
    assert "at least 4 needed" in found.reason


def test_a_doubling_counted_exactly_is_a_doubling():
    rule = preset("x_of_n").model_copy(
        update={"participant": preset("x_of_n").participant.model_copy(update={"beyond_noise": None})}
    )
    d = np.log2(np.array([200.0, 30.0, 14.0])) - np.log2(np.array([100.0, 15.0, 7.0]))
    assert judge(rule.model_copy(update={"min_evaluable": 2}), trials(d)).observed.tolist() == [3.0]


def test_rubinstein_uses_the_spread_of_all_baselines():
    baselines = [4.0, 5.0, 6.0, 7.0, 8.0]
    rule = preset("rubinstein_2010")
    limit = 1.812 * np.std(baselines, ddof=1)
    found = judge(
        rule, trials([limit + 0.01, limit + 0.01, limit - 0.01], baselines=[baselines], sigma=np.nan)
    )
    assert found.verdict.tolist() == [GO]
    assert found.observed.tolist() == [2.0]
    # Where baselines hardly differ, the 2-fold change is what counts.
    close = judge(rule, trials([1.1, 1.1, 0.9], baselines=[[5.0, 5.1, 5.0]], sigma=np.nan))
    assert close.observed.tolist() == [2.0]


def test_gmr_margin_is_scipys_one_sided_t_test():
    random = np.random.default_rng(1)
    d = random.normal(0.9, 1.0, size=(50, 9))
    rule = preset("gmr_margin")
    found = judge(rule, trials(d))
    p = stats.ttest_1samp(d, np.log2(1.25), axis=1, alternative="greater").pvalue
    np.testing.assert_allclose(found.observed, p, rtol=1e-10)
    expected = np.where(p <= 0.05, GO, np.where(d.mean(axis=1) > np.log2(1.25), CONSIDER, STOP))
    assert found.verdict.tolist() == expected.tolist()
    falls = judge(rule.model_copy(update={"direction": "down"}), trials(-d))
    np.testing.assert_allclose(falls.observed, p, rtol=1e-10)


def test_bayes_go_is_the_posterior_by_sampling():
    """sigma^2 | d ~ scaled inverse chi-squared, mean | sigma ~ normal: 400,000 draws."""
    d = np.array([0.2, 1.1, 0.4, 1.6, 0.9, 0.3])
    random = np.random.default_rng(3)
    sigma = np.sqrt(5 * d.var(ddof=1) / random.chisquare(5, 400_000))
    mean = d.mean() + sigma / np.sqrt(6) * random.standard_normal(400_000)
    found = judge(preset("bayes_go"), trials(d))
    assert found.observed[0] == pytest.approx(np.mean(mean > np.log2(1.5)), abs=0.003)


@pytest.mark.parametrize(
    ("k", "n", "rate", "p"), [(6, 12, 0.3, 0.93), (5, 10, 0.3, 0.912), (8, 20, 0.3, 0.836)]
)
def test_bayes_rate_reproduces_the_printed_figures(k, n, rate, p):
    """P(rate > .3) with the Jeffreys prior: 6/12 .93, 5/10 .912, 8/20 .836."""
    rule = BayesRate(
        name="rate",
        title="rate",
        source="our own",
        criterion="bayes_rate",
        participant=Participant(fold=2.0),
        rate=rate,
        go_above=0.9,
        stop_below=0.1,
    )
    found = judge(rule, trials([1.5] * k + [0.0] * (n - k)))
    assert round(float(found.observed[0]), len(str(p)) - 2) == p
    assert found.observed[0] == pytest.approx(stats.beta.sf(rate, k + 0.5, n - k + 0.5), rel=1e-10)


def test_rcv_fraction_is_the_binomial_test():
    d = np.array([[2.0] * k + [0.0] * (12 - k) for k in range(4)])
    found = judge(preset("rcv_fraction"), trials(d))
    p = [stats.binomtest(k, 12, 0.025, alternative="greater").pvalue for k in range(4)]
    expected = [GO if x <= 0.05 else CONSIDER if x <= 0.2 else STOP for x in p]
    assert found.verdict.tolist() == expected
    assert expected == [STOP, STOP, GO, GO]
    # Prediction limits: with 5 df a change has to be larger.
    assert judge(preset("rcv_fraction"), trials([1.5] * 12, df=5.0)).observed.tolist() == [0.0]


def test_the_activity_rule_wants_both_and_never_says_go():
    rule = preset("dejardin_2024")
    high, low = np.log2(300.0), np.log2(100.0)
    both = judge(rule, trials([1.5] * 4, baseline=[high] * 4))
    assert both.verdict.tolist() == [CONSIDER]
    assert judge(rule, trials([1.5] * 4, baseline=[low] * 4)).verdict.tolist() == [
        STOP
    ]  # 283/mm2 on treatment
    assert judge(rule, trials([0.0] * 4, baseline=[np.log2(900.0)] * 4)).verdict.tolist() == [STOP]
    assert judge(rule, trials([1.5] * 4, scale="logit")).verdict.tolist() == [NOT_EVALUABLE]


@pytest.mark.parametrize("name", ["x_of_n", "rcv_fraction"])
def test_without_noise_rules_of_noise_are_not_evaluable(name):
    found = judge(preset(name), trials([2.0] * 10, sigma=np.nan))
    assert found.verdict.tolist() == [NOT_EVALUABLE]
    assert found.reason == "the noise of the feature is not known"


@pytest.mark.parametrize("name", ["x_of_n", "gmr_margin", "bayes_go", "rubinstein_2010"])
def test_scales_without_folds_need_points(name):
    found = judge(preset(name), trials([30.0] * 10, scale="identity", baselines=[[1.0, 2.0, 3.0]]))
    assert found.verdict.tolist() == [NOT_EVALUABLE]
    assert "identity scale" in found.reason


def test_too_few_pairs_are_not_judged():
    found = judge(preset("gmr_margin"), trials([2.0, 2.0, 2.0]))
    assert found.verdict.tolist() == [NOT_EVALUABLE]
    assert found.reason == "3 evaluable pairs, the rule needs 4"


def test_the_number_to_consider_grows_with_the_participants_and_no_further():
    """1 of 3 is 2 of 6, and go at 2 of 3 is 4 of 6: exact multiples stay what they are."""
    rule = count(go_at_least=2, of=3, consider_at_least=1, min_evaluable=2)
    found = judge(rule, trials([[2.0] * k + [0.0] * (6 - k) for k in range(7)]))
    assert found.verdict.tolist() == [STOP, STOP, CONSIDER, CONSIDER, GO, GO, GO]


def test_the_threshold_on_treatment_is_reached_by_the_threshold_itself():
    rule = preset("dejardin_2024")
    at = np.log2(rule.on_treatment)
    found = judge(rule, trials([[2.0] * 4, [2.0] * 4], baseline=[[at - 2.0] * 4, [at - 2.001] * 4]))
    assert found.verdict.tolist() == [CONSIDER, STOP]
