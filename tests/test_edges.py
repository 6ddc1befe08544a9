"""What the bench says of drawings that nobody trained is counted as it says."""

import pytest
import torch
from bench.edges import borders, filled, measure

from ptsa_lite.metrics import measured_by
from ptsa_lite.tasks import IGNORE, NYUD

LABELS = torch.tensor([[1, 1, 2, 2], [1, IGNORE, IGNORE, 2], [1, 1, 2, 2]])


def test_a_border_is_where_the_label_changes_and_a_strip_without_one_has_two():
    assert borders(LABELS).int().tolist() == [[0, 1, 1, 0], [1, 1, 1, 0], [0, 1, 0, 0]]
    assert borders(LABELS, labelled=True).int().tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert filled(LABELS).tolist() == [[1, 1, 2, 2]] * 3


def test_a_line_at_every_border_finds_every_edge_and_is_right_in_as_few_as_are_labelled():
    size = 64
    semseg = torch.ones(size, size, dtype=torch.int64)
    semseg[:, 16:], semseg[:, 32:36], semseg[:, 36:] = 2, IGNORE, 3  # of two borders one has a label on both sides
    edge = torch.zeros(1, size, size)
    edge[0, ::2, 15] = 1  # of which every second pixel was kept
    frames = [{"image": torch.rand(3, size, size), "semseg": semseg, "edge": edge}] * 2
    found = measure(frames, measured_by(NYUD["edge"], "odsF"))
    shares = found["measured"], found["edges"], found["labelled_borders"], found["kept"]
    assert shares == (2, pytest.approx(0.5 / size), pytest.approx(1 / 3), pytest.approx(0.5))
    drawn = found["drawn"]
    assert drawn["the label"] == pytest.approx(100)
    assert drawn["one line at every border"] == pytest.approx(100 * 2 * 32 / (2 * size + 32))
    assert 0 < drawn["smooth noise"] < 40
