"""The bench's figure says what its results say."""

import pytest
from matplotlib import pyplot as plt

from ptsa_lite.figures.costs import draw_speed
from ptsa_lite.figures.style import CHOSEN, INK, OURS


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def seconds(*medians):
    return [{"median": m, "quartiles": [0.9 * m, 1.2 * m]} for m in medians]


FOUND = {
    "ratios": {
        "met": {"median": 0.5, "quartiles": [0.4, 0.7], "at_most": 0.6},
        "missed": {"median": 1.2, "quartiles": [1.1, 1.3], "at_most": 1.05},
        "told": {"median": 3.0, "quartiles": [2.0, 4.0], "at_most": None},
    },
    "memory": {"ratios": {"memory": {"median": 0.3, "at_most": 0.65}, "other": {"median": 0.4}}},
    "scaling": {
        "tasks, groups (1, 2, 2, 2)": {"values": [2, 4], "seconds": seconds(1, 2), "without_heads": seconds(1, 1)},
        "groups in stages 3 and 4": {"values": [1, 2, 4], "seconds": seconds(1, 2, 3),
                                     "without_heads": seconds(1, 1.5, 2)},
    },
}  # fmt: skip


def test_what_has_a_target_is_shown_with_it_and_a_missed_one_in_red():
    ratios, tasks, groups = draw_speed(FOUND).axes
    assert [label.get_text() for label in ratios.get_yticklabels()] == ["memory", "missed", "met"]
    colours = [line.get_color() for line in ratios.lines if line.get_marker() == "o"]
    assert colours == [OURS, CHOSEN, OURS]
    bars = [line.get_xdata()[0] for line in ratios.lines if line.get_color() == INK]
    assert {0.65, 1.05, 0.6} <= set(bars)
    assert [list(line.get_ydata()) for line in tasks.lines if len(line.get_xdata()) == 2][0] == [1, 2]
    assert groups.get_xticks().tolist() == [1, 2, 4]


def test_without_the_later_parts_there_is_still_a_figure():
    assert [axes.get_visible() for axes in draw_speed({"ratios": FOUND["ratios"]}).axes] == [True, False, False]
