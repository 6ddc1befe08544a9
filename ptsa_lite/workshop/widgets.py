"""Widgets where a hand can move them, and none that draws where a program executes the notebook.

What executes notebooks without a reader (papermill, nbconvert, nbclient) has no sliders. It plays a widget's output
area itself, by messages on the very line on which it awaits the end of the cell; now and then it misses that end, and
waits for ever. So there is no such area there: what it would draw first stands in its place, and a line says what is
missing.
"""

from collections.abc import Callable

import ipywidgets
from IPython import get_ipython
from IPython.display import HTML, display

WIDE = "min(400px, 100% - 4px)"  # of a control, beside its margins; the usual 300 leave a slider of 100 places 124
NOTE = '<p class="needs-kernel">Here are controls that need a kernel: open this notebook in JupyterLab and run it.</p>'


def can_move() -> bool:
    """Whether whoever sent this cell could also be asked something: JupyterLab and its like can, a program cannot."""
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent()["content"].get("allow_stdin"))


def show_controls(controls: ipywidgets.Widget | None, still=None) -> None:
    """The controls, where somebody can move them; elsewhere a still picture, and a line that says what is missing."""
    if not can_move():
        controls = HTML(NOTE)
        if still is not None:
            display(still)
    display(controls)


def interact(draw: Callable, **controls) -> None:
    """`ipywidgets.interact`, where somebody can move the controls; elsewhere what `draw` draws first, and a line."""
    if not can_move():
        return show_controls(None, draw())
    made = ipywidgets.interact(draw, **controls).widget
    for control in made.children[:-1]:  # the last is what it draws
        control.layout.width, control.style.description_width = WIDE, "initial"
