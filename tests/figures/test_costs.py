"""Figures of costs add up."""

import pytest

from ptsa_lite.figures.costs import draw_costs, draw_work_and_size


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
