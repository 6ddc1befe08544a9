"""Colours that mean one task, files that do not change by themselves, names that stand apart."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from ptsa_lite.figures.pictures import draw_grid
from ptsa_lite.figures.style import (
    PAPER,
    Drawing,
    canvas,
    contrast,
    in_words,
    name_ends,
    save_figure,
    task_colour,
    task_title,
    use_style,
)  # fmt: skip
from ptsa_lite.figures.tree import draw_tree
from ptsa_lite.tasks import NYUD, PASCAL, SCENES
from ptsa_lite.tree import TaskTree


def test_a_suites_task_keeps_its_colour_and_title_and_a_readers_own_gets_one_that_no_other_has():
    assert (task_colour("depth"), task_title(PASCAL["human_parts"])) == ("#D55E00", "Human parts")
    assert task_title("shading_of_light") == "Shading of light"
    own = [task_colour(name) for name in ("albedo", "shading", "albedo")]
    assert own[0] == own[2] != own[1] and not set(own) & {task_colour(task) for task in (*SCENES, *NYUD)}


@pytest.mark.parametrize(
    "colour", ["#0072B2", "#CC79A7", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#8fbfdc", "#ffffff"]
)
def test_words_in_a_colour_can_be_read_on_white_and_a_dark_colour_stays(colour):
    words = in_words(colour)
    assert contrast(words, PAPER) >= 4.5 and (words == colour) == (contrast(colour, PAPER) >= 4.5)
    assert contrast("#000000", "#ffffff") == pytest.approx(21), "as WCAG defines it"


def test_a_drawing_tells_the_words_that_stand_in_it_titles_first():
    told = repr(draw_tree(TaskTree.shared(("depth", "edge")), "A tree"))
    assert told.startswith("a figure that says: A tree; image; stage 1 1 group; ") and told.endswith("depth; edge")


def test_saving_twice_gives_the_same_bytes_and_a_drawing_is_packed(tmp_path):
    for folder in ("a", "b"):
        with plt.rc_context():  # the style is that of this process, and other tests have their own
            use_style()
            path = save_figure(draw_tree(TaskTree.shared(("depth", "edge")), "A tree"), "04_tree", tmp_path / folder)
        assert path == tmp_path / folder / "figures" / "04_tree.svg"
    for name in ("04_tree.svg", "04_tree.png"):
        first, second = ((tmp_path / folder / "figures" / name).read_bytes() for folder in ("a", "b"))
        assert first == second and len(first) > 1000
    photograph = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    save_figure(draw_grid([[photograph]], [""]), "04_frame", tmp_path)
    kinds = [Image.open(path).mode for path in (path.with_suffix(".png"), tmp_path / "figures" / "04_frame.png")]
    assert kinds == ["P", "RGB"], "a photograph keeps all its colours"


def test_a_figure_without_its_notebooks_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'tree' must be named after its notebook's number"):
        save_figure(Drawing(), "tree", tmp_path)


def test_figures_pile_up_nowhere():
    before = plt.get_fignums()
    assert draw_tree(TaskTree.shared(("depth", "edge")))._repr_png_().startswith(b"\x89PNG")
    assert plt.get_fignums() == before


def test_names_beside_a_figure_stand_apart_inside_its_height_and_in_the_order_of_what_they_name():
    figure, axes = canvas((4, 3))
    axes.set_ylim(0, 1)
    name_ends(axes, [(1, y, f"{y}", {}) for y in (0.99, 0.0, 1.0, 0.01, 0.5)], tie=False)
    heights = {text.get_text(): text.xyann[1] for text in axes.texts}
    assert sorted(heights, key=heights.get) == ["0.0", "0.01", "0.5", "0.99", "1.0"]
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = sorted((text.get_window_extent(renderer) for text in axes.texts), key=lambda box: box.y0)
    assert all(lower.y1 <= upper.y0 for lower, upper in zip(boxes, boxes[1:], strict=False))
    assert heights["0.0"] > 0 and heights["1.0"] < 1 and heights["0.5"] == 0.5, "what has room stays"
