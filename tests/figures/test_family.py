from matplotlib.colors import to_hex

from ptsa_lite.figures import draw_family, task_colour
from ptsa_lite.figures.family import SCHEMES
from ptsa_lite.figures.parts import FROZEN
from ptsa_lite.tasks import NYUD


def test_every_scheme_has_a_panel_with_something_frozen_and_something_of_each_task():
    figure = draw_family(tuple(NYUD))
    (axes,) = figure.axes
    written = [text.get_text() for text in axes.texts]
    assert all(title in written and methods in written for title, methods in SCHEMES)
    colours = [to_hex(patch.get_facecolor()) for patch in axes.patches]
    assert colours.count(FROZEN) >= len(SCHEMES)
    for name in NYUD:  # an hourglass or a token of its own in all panels but the shared ones
        assert colours.count(task_colour(name).lower()) >= len(SCHEMES) - 2, name
