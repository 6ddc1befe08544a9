"""odsF: hand-made cases, scikit-image's thinning, and a matching that tries every pair."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.morphology import thin as skimage_thin

from ptsa_lite.metrics import make_meter
from ptsa_lite.metrics.boundary import best_f, match_counts, thin
from ptsa_lite.tasks import IGNORE, NYUD

SIDE = 40
PIXEL = 1 / math.hypot(SIDE, SIDE)  # one pixel, as a share of the diagonal


def lines(*columns, value=1.0):
    """Upright lines from top to bottom."""
    drawn = np.zeros((SIDE, SIDE))
    drawn[:, list(columns)] = value
    return drawn


def counted(probability, label, distance):
    return match_counts(thin(torch.from_numpy(probability)[None])[0].numpy(), label, distance)


def f_measure(probability, label, distance=2.5 * PIXEL):
    return best_f(counted(probability, label > 0, distance))


def test_lines_that_lie_where_they_should_have_100():
    assert f_measure(lines(5, 20, value=0.3), lines(5, 20)) == 100


@pytest.mark.parametrize(("shift", "expected"), [(1, 100), (2, 100), (3, 0)])
def test_a_shift_counts_only_beyond_the_distance(shift, expected):
    assert f_measure(lines(20 + shift), lines(20)) == expected


def test_the_distance_is_a_share_of_the_diagonal_and_reaches_in_every_direction():
    label, drawn = np.zeros((300, 400)), np.zeros((300, 400))  # the diagonal is 500
    label[100, 100] = drawn[103, 104] = 1  # 5 apart
    assert f_measure(drawn, label, 0.01) == 100
    assert f_measure(drawn, label, 0.0099) == 0


def test_a_second_line_beside_the_first_finds_no_partner():
    counts = counted(lines(19, 21), lines(20) > 0, 2.5 * PIXEL)
    assert counts[:, 0].tolist() == [SIDE, 2 * SIDE, SIDE]
    assert best_f(counts) == pytest.approx(200 / 3)  # precision 1/2, recall 1
    counts = counted(lines(20), lines(19, 21) > 0, 2.5 * PIXEL)  # and the label is counted as thick as it is
    assert best_f(counts) == pytest.approx(200 / 3)


def test_a_thick_prediction_is_thinned_to_its_middle():
    thick = lines(*range(16, 25))
    matched, drawn, labelled = counted(thick, lines(20) > 0, 0.0)[:, 0]
    assert labelled == SIDE and SIDE - 8 <= matched == drawn <= SIDE  # thinning shortens the ends


def test_no_prediction_has_0_and_no_label_has_no_f():
    assert f_measure(lines(), lines(20)) == 0
    assert math.isnan(f_measure(lines(20), lines()))


def test_a_pixel_is_drawn_where_its_probability_reaches_the_threshold():
    drawn = counted(lines(5, value=0.29) + lines(20, value=0.3), lines(20) > 0, 0.0)[1]
    assert drawn[:29].tolist() == [2 * SIDE] * 29  # thresholds 0.01 to 0.29
    assert drawn[29:].tolist() == [SIDE] + [0] * 69


def test_one_threshold_is_best_for_the_whole_set():
    first = counted(lines(5, value=0.3) + lines(30, value=0.1), lines(5) > 0, 0.0)
    second = counted(lines(5, value=0.8) + lines(30, value=0.6), lines(5) > 0, 0.0)
    assert best_f(first) == best_f(second) == 100
    # together: 4 lines drawn up to 0.1, 3 up to 0.3 of which 2 are right, then 2 with 1 right, then 1 with 1 right
    assert best_f(first + second) == pytest.approx(100 * 2 * 2 / (3 + 2))


def test_the_meter_takes_logits_at_the_distance_of_nyud_and_leaves_ignored_pixels_out():
    def measured(shift, ignored=()):
        logits, label = torch.full((1, 1, 200, 200), -9.0), torch.zeros(1, 1, 200, 200)
        label[..., 100], logits[..., 100 + shift] = 1, 9
        for column in ignored:
            label[..., column], logits[..., column] = IGNORE, 9
        meter = make_meter(replace(NYUD["edge"], metric="odsF"))
        meter.update(logits, label)
        return meter.compute()

    # 0.011 of the diagonal are 3.1 pixels
    assert measured(3) == measured(3, ignored=(20, 50)) == 100
    assert measured(4) == 0


def smooth_map(seed, shape=(31, 26)):
    generator = np.random.default_rng(seed)
    noise = gaussian_filter(generator.random(shape), seed % 4)
    return (noise - noise.min()) / np.ptp(noise)


@pytest.mark.parametrize("seed", range(6))
def test_thinning_equals_scikit_images_at_every_threshold(seed):
    probability = smooth_map(seed)
    other = smooth_map(seed + 1)  # thinned in the same batch
    bits = thin(torch.from_numpy(np.stack([other, probability])))[1].numpy()
    for k, threshold in enumerate(np.arange(1, 100) / 100):
        ours = (bits[k // 64] >> (k % 64) & 1).astype(bool)
        assert np.array_equal(ours, skimage_thin(probability >= threshold)), threshold


def most_pairs(mine, theirs, radius):
    """By augmenting paths, one pixel of mine at a time."""
    partner = {}

    def find(pixel, seen):
        for other in theirs:
            if other not in seen and math.dist(pixel, other) <= radius:
                seen.add(other)
                if other not in partner or find(partner[other], seen):
                    partner[other] = pixel
                    return True
        return False

    return sum(find(pixel, set()) for pixel in mine)


@pytest.mark.parametrize("seed", range(4))
def test_as_many_pairs_are_made_as_a_search_over_all_of_them_finds(seed):
    probability, label = smooth_map(seed), smooth_map(seed + 4) > 0.7
    radius = 2.5
    matched, drawn, labelled = counted(probability, label, radius / math.hypot(*label.shape))
    theirs = list(map(tuple, np.argwhere(label)))
    assert labelled.tolist() == [len(theirs)] * 99
    for k in range(9, 99, 20):
        mine = list(map(tuple, np.argwhere(skimage_thin(probability >= (k + 1) / 100))))
        assert (matched[k], drawn[k]) == (most_pairs(mine, theirs, radius), len(mine))
