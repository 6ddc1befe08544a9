"""Figures of trainings and studies say what their rows say."""

import pytest

from ptsa_lite.figures.study import (
    draw_choices,
    draw_curves,
    draw_differences,
    draw_ranked,
    draw_sweep,
    draw_task_gains,
    draw_tradeoff,
)
from ptsa_lite.figures.style import CHOSEN, OURS, THEIRS, task_colour
from ptsa_lite.tasks import NYUD, select

TASKS = select(NYUD, ("semseg", "depth"))


def row(label, *gains, trainable=2e6, gmacs=0.5):
    metrics = {"semseg": 10 + sum(gains), "depth": 1.0}
    return {
        "label": label, "gains": dict(enumerate(gains)), "delta_m": sum(gains) / len(gains), "trainable": trainable,
        "gmacs": gmacs, "metrics": metrics, "metrics_sd": {"semseg": 0.5, "depth": None},
    }  # fmt: skip


ROWS = [row("one", 1.0, 2.0), row("two", -1.0, 0.0, trainable=4e6), row("three", 1.4, 1.5, trainable=9e6)]


def words(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("cost", ["trainable", "gmacs"])
def test_every_seed_is_a_point_and_every_name_is_written_by_gain(cost):
    (axes,) = draw_tradeoff(ROWS, cost).axes
    assert words(axes) == ["two", "three", "one"]
    assert sum(len(line.get_ydata()) for line in axes.lines if line.get_marker() == ".") == 6


def test_published_points_look_unlike_ours_and_rows_without_numbers_are_left_out():
    rows = [dict(label="ours", delta_m=1.0, trainable=2e6),
            dict(label="theirs", delta_m=2.0, trainable=3e6, published=True),
            dict(label="unknown", delta_m=None, trainable=1e6)]  # fmt: skip
    (axes,) = draw_tradeoff(rows).axes
    ours, theirs = (line for line in axes.lines if line.get_marker() in ("o", "D"))
    assert ours.get_marker() != theirs.get_marker() and ours.get_xdata()[0] == 2.0
    assert words(axes) == ["ours", "theirs"]
    with pytest.raises(ValueError, match="unknown cost .seconds.. Choose from: trainable, gmacs"):
        draw_tradeoff(rows, x="seconds")


def test_curves_start_at_one_and_carry_the_tasks_colour():
    lines = draw_curves({"depth": [4.0, 2.0], "normals": [0.5, 0.1]}).axes[0].lines
    assert [line.get_ydata()[0] for line in lines] == [1.0, 1.0] and lines[0].get_ydata()[1] == 0.5
    assert [line.get_color() for line in lines] == [task_colour("depth"), task_colour("normals")]


def test_a_task_that_no_frame_has_labels_of_has_no_curve():
    (line,) = draw_curves({"depth": [4.0, 2.0], "normals": [0.0, 0.0]}).axes[0].lines
    assert line.get_color() == task_colour("depth")


def test_conditions_stand_by_rank_with_the_chosen_one_marked():
    (axes,) = draw_ranked(ROWS, ["a", "b", "c"], "c", references=[row("shared", 0.2)]).axes
    labels = axes.get_yticklabels()
    assert [label.get_text() for label in labels] == ["a", "c", "b"]
    assert [label.get_color() == CHOSEN for label in labels] == [False, True, False]
    assert words(axes) == ["shared"]


def test_a_panel_a_task_shows_gains_in_per_cent_of_the_single_tasks():
    single = row("single", 0.0)
    panels = draw_task_gains(ROWS, single, TASKS).axes
    assert [panel.get_title() for panel in panels] == list(TASKS)
    assert panels[0].containers[0][0].get_xdata()[0] == pytest.approx(100 * 3 / 10)
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["one", "two", "three"]


def test_choices_stack_up_to_one():
    rows = [{"n": 4, "trees": {"x": 0.6, "y": 0.4}, "spread": 0.1}, {"n": 8, "trees": {"x": 1.0}, "spread": 0.05}]
    (axes,) = draw_choices(rows, {"x": "ex"}).axes
    ends = {}
    for bar in axes.patches:
        ends[bar.get_y()] = max(ends.get(bar.get_y(), 0), bar.get_x() + bar.get_width())
    assert list(ends.values()) == pytest.approx([1.0, 1.0])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ex", "y"]


def test_a_paired_difference_is_blue_only_where_its_interval_leaves_zero_out():
    rows = [
        {"label": "clear", "n": 2, "mean": 2.0, "low": 1.0, "high": 3.0, "differences": {0: 1.8, 1: 2.2}},
        {"label": "open", "n": 2, "mean": 0.5, "low": -1.0, "high": 2.0, "differences": {0: 0.0, 1: 1.0}},
        {"label": "one seed", "n": 1, "mean": 5.0, "low": None, "high": None, "differences": {0: 5.0}},
    ]
    (axes,) = draw_differences(rows).axes
    means = {line.get_ydata()[0]: line.get_color() for line in axes.lines if line.get_marker() == "D"}
    assert means == {0: OURS, 1: THEIRS, 2: THEIRS}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["clear", "open", "one seed"]
    intervals = [list(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 2.5]
    assert sorted(intervals) == [[-1.0, 2.0], [1.0, 3.0]], "a single seed has no interval"


def test_a_plans_comparison_shades_the_margin_and_is_coloured_by_the_corrected_p():
    pooled = {"mean": 2.0, "low": 1.5, "high": 2.5}
    told, untold = ({"label": word, "mean": 2.0, "low": 1.0, "high": 3.0, "differences": {0: 1.8, 1: 2.2},
                     "pooled": pooled, "told": word == "told"} for word in ("told", "untold"))  # fmt: skip
    (axes,) = draw_differences([told, untold, {"label": "not run", "mean": None}], margin=0.5).axes
    assert [line.get_color() for line in axes.lines if line.get_marker() == "D"] == [OURS, THEIRS]
    assert [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "|"] == [[1.5, 2.5]] * 2
    (band,) = axes.patches
    assert (band.get_x(), band.get_width()) == (-0.5, 1.0) and "the same within 0.5" in axes.get_xlabel()


def test_a_sweep_joins_means_and_shows_every_seed():
    lines = {"a": [(2, ROWS[0]), (4, ROWS[1])], "b": [(2, ROWS[2])]}
    (axes,) = draw_sweep(lines, "rank").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    joined = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert [list(line.get_ydata()) for line in joined] == [[1.5, -0.5], [1.45]]
    assert sum(len(line.get_ydata()) for line in axes.lines if line.get_marker() == ".") == 6
