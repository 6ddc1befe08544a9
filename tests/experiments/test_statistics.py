"""Student's tests, against cases computed by hand and against other formulas for the same numbers."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from ptsa_lite.experiments.statistics import (
    TwoWay,
    detectable,
    holm,
    paired_difference,
    power_of,
    same_within,
    seeds_needed,
)

DRAWN = np.random.default_rng(0).normal(0, 1, (4, 6)) + np.arange(6)  # conditions, seeds with luck of their own


def observed(table):
    return [(f"c{c}", seed, y) for c, row in enumerate(table) for seed, y in enumerate(row)]


def test_a_difference_is_paired_by_seed_with_students_interval():
    found = paired_difference({0: 3.0, 1: 5.0, 2: 4.0, 7: 99.0}, {0: 2.0, 1: 3.0, 2: 1.0})
    assert found["n"] == 3 and found["differences"] == {0: 1.0, 1: 2.0, 2: 3.0} and found["mean"] == 2.0
    assert found["high"] - 2.0 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)  # t(2) at 0.975, sd 1
    assert found["low"] == pytest.approx(4.0 - found["high"]) and found["sd"] == pytest.approx(1.0)
    assert found["p"] == pytest.approx(stats.ttest_rel([3, 5, 4], [2, 3, 1]).pvalue)
    assert paired_difference({0: 1.0}, {0: 0.0})["low"] is None
    with pytest.raises(ValueError, match="no seed in common"):
        paired_difference({0: 1.0}, {1: 1.0})


def test_seeds_that_agree_to_the_last_digit_divide_nothing_by_zero():
    same, apart = paired_difference({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}), paired_difference({0: 3, 1: 3}, {0: 1, 1: 1})
    assert (same["p"], apart["p"]) == (1.0, 0.0) and same_within(0.0, 0.0, 2) == 0.0 and same_within(1.0, 0.0, 2) == 1.0
    assert detectable(0.0, 3) == 0.0 and seeds_needed(1.0, 0.0) == 2


def test_the_pooled_error_of_a_whole_table_is_that_of_its_doubly_centred_residuals():
    fit, (c, s) = TwoWay(observed(DRAWN)), DRAWN.shape
    rest = DRAWN - DRAWN.mean(0) - DRAWN.mean(1, keepdims=True) + DRAWN.mean()
    assert fit.freedom == (c - 1) * (s - 1) and fit.residual == pytest.approx((rest**2).sum())
    found, half = fit.difference("c0", "c2"), stats.t.ppf(0.975, 15) * math.sqrt(2 * fit.variance / s)
    mean = DRAWN[0].mean() - DRAWN[2].mean()
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((mean, mean - half, mean + half))
    assert found["p"] == pytest.approx(2 * stats.t.sf(abs(mean) / math.sqrt(2 * fit.variance / s), 15))


def test_two_conditions_have_the_paired_interval_and_a_seed_that_one_alone_has_changes_nothing():
    paired = paired_difference(dict(enumerate(DRAWN[0])), dict(enumerate(DRAWN[1])))
    for more in ([], [("c0", 99, 1e3)]):
        fit = TwoWay(observed(DRAWN[:2]) + more)
        pooled = fit.difference("c0", "c1")
        assert fit.freedom == 5 and pooled == pytest.approx({key: paired[key] for key in pooled})


def test_a_cell_that_is_missing_takes_a_degree_of_freedom_and_biases_nothing():
    additive = [("a", 0, 1.0), ("a", 1, 5.0), ("b", 0, 3.0), ("b", 1, 7.0), ("c", 1, 6.0), ("c", 0, 2.0), ("c", 2, 9.0),
                ("b", 2, 10.0)]  # fmt: skip
    fit = TwoWay(additive)
    assert fit.freedom == 3 and fit.residual == pytest.approx(0, abs=1e-20)
    assert fit.difference("a", "c")["mean"] == pytest.approx(-1.0)  # a is without seed 2, the luckiest
    alone = TwoWay([("a", 0, 1.0), ("b", 0, 3.0)]).difference("a", "b")
    assert alone["mean"] == pytest.approx(-2.0) and alone["low"] is None and alone["p"] is None


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # 3 p, 1 p but not below 2 p, 4 p
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([0.03]) == [0.03] and holm([]) == []


def test_sameness_is_the_worse_of_two_one_sided_tests():
    values = DRAWN[0] - DRAWN[1]
    mean, sd = values.mean(), values.std(ddof=1)
    for margin in (0.1, 1.0, 5.0):
        above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(values, margin, alternative="less").pvalue
        assert same_within(mean, sd, len(values), margin) == pytest.approx(max(above, below))
    assert same_within(0.5, 0.1, 12, 0.5) == pytest.approx(0.5), "at the margin it is even"


@pytest.mark.parametrize("difference, sd, n, alpha", [(1.0, 1.0, 5, 0.05), (-0.3, 0.5, 12, 0.05), (2.0, 1.0, 3, 0.01)])
def test_power_is_the_normals_averaged_over_what_sd_is_estimated_as(difference, sd, n, alpha):
    least, shift = stats.t.isf(alpha / 2, n - 1), abs(difference) / sd * math.sqrt(n)
    estimated = stats.chi(n - 1, scale=1 / math.sqrt(n - 1))  # the estimated sd over the true one
    expected, _ = integrate.quad(lambda u: stats.norm.sf(least * u - shift) * estimated.pdf(u), 0, 20)
    assert power_of(difference, sd, n, alpha) == pytest.approx(expected, rel=1e-6)


def test_what_can_be_seen_and_how_many_seeds_it_takes_are_inverse():
    for n in (2, 3, 12):
        for alpha in (0.05, 0.01):
            seen = detectable(1.7, n, 0.8, alpha)
            assert power_of(seen, 1.7, n, alpha) == pytest.approx(0.8) and seen > detectable(1.7, n + 1, 0.8, alpha)
            assert seeds_needed(seen * 1.0001, 1.7, 0.8, alpha) == n
    assert (seeds_needed(1.0, 1.0), seeds_needed(0.5, 1.0)) == (10, 34)  # what tables of power for d = 1, 0.5 say
    assert seeds_needed(-1.0, 1.0, power=0.5) < 10
    with pytest.raises(ValueError, match="no number of seeds finds a difference of 0"):
        seeds_needed(0.0, 1.0)


@pytest.mark.parametrize("call", [
    lambda: detectable(1.0, 1), lambda: detectable(1.0, 5, power=80), lambda: seeds_needed(0.5, -0.5),
    lambda: seeds_needed(0.5, 0.5, power=80),
])  # fmt: skip
def test_a_power_or_a_number_of_seeds_that_cannot_be_is_told(call):
    with pytest.raises(ValueError, match="give .* and a chance between 0.025 and 1"):
        call()
