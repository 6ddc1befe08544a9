"""Figures of costs add up, and the bench's says what its results say."""

import pytest

from ptsa_lite.figures.costs import draw_costs, draw_speed, draw_work_and_size
from ptsa_lite.figures.style import CHOSEN, INK, OURS

FOUND = {
    "ratios": {
        "met": {"median": 0.5, "quartiles": [0.4, 0.7], "at_most": 0.6},
        "missed": {"median": 1.2, "quartiles": [1.1, 1.3], "at_most": 1.05},
        "told": {"median": 3.0, "quartiles": [2.0, 4.0], "at_most": None},
    },
    "memory": {"ratios": {"memory": {"median": 0.3, "at_most": 0.65}, "other": {"median": 0.4}}},
}  # fmt: skip


def test_what_has_a_target_is_shown_with_it_and_a_missed_one_in_red():
    (ratios,) = draw_speed(FOUND).axes
    assert [label.get_text() for label in ratios.get_yticklabels()] == ["memory", "missed", "met"]
    colours = [line.get_color() for line in ratios.lines if line.get_marker() == "o"]
    assert colours == [OURS, CHOSEN, OURS]
    bars = [line.get_xdata()[0] for line in ratios.lines if line.get_color() == INK]
    assert {0.65, 1.05, 0.6} <= set(bars)


def test_the_parts_of_a_bar_add_up_to_the_number_beside_it():
    roles = dict.fromkeys(("backbone", "norms", "positions", "patch_embed", "merging", "heads", "adapters"), 1_000_000)
    (axes,) = draw_costs([{"label": "one", "parameters": roles, "macs": {"paper": 38.4e9}}]).axes
    assert axes.texts[0].get_text().strip() == "7.00 M, 38.4 GMACs"
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(7)


def test_trees_cost_what_their_stages_sum_to_and_the_published_number_stands_on_its_bar():
    settings = [(1, 1), (1, 2)]
    figure = draw_work_and_size(settings, [[1, 2, 3, 4, 5]] * 2, [[1] * 5] * 2, ("", ""), published={(1, 2): 14.9})
    left, right = figure.axes
    assert [text.get_text().strip() for text in (*left.texts, *right.texts)] == ["15.0", "15.0", "5.00", "5.00"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in left.lines] == [(14.9, 1)]
