"""The constant prediction is as good as pixels counted by hand say."""

import pytest
import torch

from ptsa_lite.metrics.constant import constant_prediction
from ptsa_lite.tasks import IGNORE, NYUD, PASCAL


def test_most_frequent_class_all_positive_and_mean_label():
    parts = torch.tensor([[[0, 0, 0, 3], [0, 0, 3, IGNORE]]])  # 5 of 7 labelled pixels are background
    assert constant_prediction(PASCAL["human_parts"], [parts]) == pytest.approx(100 * (5 / 7 + 0) / 2)
    salient = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    assert constant_prediction(PASCAL["saliency"], [salient]) == pytest.approx(25)
    depth = torch.tensor([[[[1.0, 3.0, IGNORE]]]])
    assert constant_prediction(NYUD["depth"], [depth]) == pytest.approx(1)


def test_a_normal_that_all_pixels_share_is_met_exactly():
    up = torch.zeros(2, 3, 2, 2)
    up[:, 2] = 1
    assert constant_prediction(PASCAL["normals"], [up]) == pytest.approx(0, abs=0.1)
