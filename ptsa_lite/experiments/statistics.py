"""Is one condition better than another? Student's tests for few seeds, on numbers alone.

A condition is a label with one number for each seed. Where several tests are made the p values are corrected (`holm`);
where a difference was not found, `same_within` asks whether there is room for one, and `detectable` how large it would
have had to be.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats
from scipy.optimize import brentq

TINY = 1e-300  # stands for the error of seeds that agree to the last digit, by which one cannot divide


def paired_difference(one: Mapping[int, float], other: Mapping[int, float]) -> dict:
    """Mean over the seeds that both have of (one - other), with its interval of 95 % by Student's t.

    mean +- t(n - 1) sd / sqrt n, of differences within a seed: what a seed does to both falls out. Returns
    {"n", "mean", "sd", "low", "high", "p", "differences"}, p of the two-sided test of zero; "sd", "low", "high" and "p"
    are None for a single seed. Raises ValueError without a common seed. Source: Student (1908).
    """
    differences = {seed: one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())}
    if not differences:
        raise ValueError(f"no seed in common: {sorted(one)} and {sorted(other)}; run both with the same seeds")
    values = np.array(list(differences.values()))
    n, mean = len(values), float(values.mean())
    sd = float(values.std(ddof=1)) if n > 1 else None
    found = {"n": n, "mean": mean, "sd": sd, "differences": differences}
    return found | _interval(mean, (sd or 0.0) / math.sqrt(n), n - 1)


def _interval(mean: float, error: float, freedom: int) -> dict:
    """{"low", "high", "p"} of a mean by Student's t; all None without a degree of freedom."""
    if not freedom:
        return {"low": None, "high": None, "p": None}
    half = float(stats.t.ppf(0.975, freedom)) * error
    p = float(2 * stats.t.sf(abs(mean) / max(error, TINY), freedom))
    return {"low": mean - half, "high": mean + half, "p": p}


class TwoWay:
    """y = condition + seed + error, by least squares, of (condition, seed, y): cells may be missing, or be several.

    variance   the residual mean square: sum of e^2 / freedom
    freedom    observations less rank; (C - 1)(S - 1) where each of C conditions has each of S seeds once
    residual   the sum of e^2

    The error is pooled over all conditions, and so taken to be alike in each. Source: Fisher (1925), blocks.
    """

    def __init__(self, observations: Iterable[tuple[str, int, float]]):
        labels, seeds, values = zip(*observations, strict=True)
        self.labels, blocks = list(dict.fromkeys(labels)), list(dict.fromkeys(seeds))
        columns = np.array(labels)[:, None] == self.labels, np.array(seeds)[:, None] == blocks
        design = np.hstack(columns).astype(float)
        inverse = np.linalg.pinv(design)
        effects = inverse @ values
        self.effects = dict(zip(self.labels, effects, strict=False))  # the conditions' come first; up to a constant
        self._covariance = inverse @ inverse.T
        self.residual = float(np.sum((values - design @ effects) ** 2))
        self.freedom = len(values) - int(np.linalg.matrix_rank(design))
        self.variance = self.residual / self.freedom if self.freedom else math.nan

    def difference(self, one: str, other: str) -> dict:
        """{"mean", "low", "high", "p"} of one - other: effects' difference +- t(freedom) sqrt(variance c' (X'X)^- c).

        Of use for conditions that a seed, or a chain of seeds and conditions, joins. Without a degree of freedom all
        but the mean are None.
        """
        contrast = np.zeros(len(self._covariance))
        contrast[[self.labels.index(one), self.labels.index(other)]] = 1, -1
        mean = float(self.effects[one] - self.effects[other])
        error = math.sqrt(self.variance * float(contrast @ self._covariance @ contrast))
        return {"mean": mean} | _interval(mean, error, self.freedom)


def holm(ps: Sequence[float]) -> list[float]:
    """p values made larger so that the chance of any false finding among them stays below that of one test.

    The i-th smallest of m becomes max over j <= i of min(1, (m - j + 1) p_j). Source: Holm, "A simple sequentially
    rejective multiple test procedure" (1979).
    """
    order, m = np.argsort(ps), len(ps)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.arange(m, 0, -1) * np.asarray(ps, float)[order]))
    return adjusted.tolist()


def same_within(mean: float, sd: float, n: int, margin: float = 0.5) -> float:
    """p of two one-sided tests: a small one says that the true difference lies within +- margin.

    The larger of P(T > (mean + margin) / error) and P(T < (mean - margin) / error), with error = sd / sqrt n and n - 1
    degrees of freedom. Source: Schuirmann, "A comparison of the two one-sided tests procedure ..." (1987).
    """
    error = max(sd / math.sqrt(n), TINY)
    above, below = stats.t.sf((mean + margin) / error, n - 1), stats.t.cdf((mean - margin) / error, n - 1)
    return float(max(above, below))


def power_of(difference: float, sd: float, n: int, alpha: float = 0.05) -> float:
    """The chance that a paired t test of n seeds finds a true difference, with its sign.

    P(T' > t(n - 1) at 1 - alpha / 2), with T' of Student's noncentral distribution around |difference| sqrt n / sd.
    """
    around = abs(difference) * math.sqrt(n) / max(sd, TINY)
    return float(stats.nct.sf(stats.t.isf(alpha / 2, n - 1), n - 1, min(around, 1e6)))


def detectable(sd: float, n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The difference that n seeds find with this chance (`power_of`), where differences of a seed have this sd."""
    if n < 2 or not alpha / 2 < power < 1:
        words = f"give at least 2 seeds and a chance between {alpha / 2:g} and 1"
        raise ValueError(f"{words}, not {n} and {power}")
    largest = 10 * (1 + stats.t.isf(alpha / 2, n - 1))
    return sd * brentq(lambda difference: power_of(difference, 1.0, n, alpha) - power, 0, largest)


def seeds_needed(difference: float, sd: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """The fewest seeds, at least two, that find a difference with this chance (`power_of`).

    Raises ValueError for a difference of zero, which none would find.
    """
    if not difference:
        raise ValueError("no number of seeds finds a difference of 0; give the smallest one that would matter")
    if sd < 0 or not alpha / 2 < power < 1:
        raise ValueError(f"give an sd of at least 0 and a chance between {alpha / 2:g} and 1, not {sd} and {power}")
    normal = (stats.norm.isf(alpha / 2) + stats.norm.ppf(power)) * sd / abs(difference)
    fewest = max(2, math.ceil(normal**2))  # were sd known and not estimated; as it is, a few more
    return next(n for n in itertools.count(fewest) if power_of(difference, sd, n, alpha) >= power)
