"""A widget is made where a hand can move it, and none where a program executes the notebook."""

import pytest
from nbclient import NotebookClient
from nbformat import v4

from ptsa_lite.workshop import widgets

CELLS = ["from ptsa_lite.workshop.widgets import can_move, interact",
         "interact(lambda x=2: print('drawn', x), x=(0, 3))\nprint(can_move())"]  # fmt: skip


def test_a_program_that_executes_a_notebook_gets_the_first_drawing_and_no_widget():
    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    drawn, note, said = notebook.cells[1].outputs
    assert drawn.text == "drawn 2\n" and "need a kernel" in note.data["text/html"] and said.text == "False\n"
    assert "widgets" not in notebook.metadata


@pytest.mark.parametrize("asked", [True, False])
def test_who_could_be_asked_can_move(asked, monkeypatch):
    class Shell:
        class kernel:
            @staticmethod
            def get_parent():
                return {"content": {"allow_stdin": asked}}

    monkeypatch.setattr(widgets, "get_ipython", Shell)
    made, interact = [], widgets.ipywidgets.interact
    monkeypatch.setattr(widgets.ipywidgets, "interact", lambda *a, **kw: made.append(interact(*a, **kw)) or made[0])
    widgets.interact(lambda x=2: None, x=(0, 3))
    assert [control.layout.width for one in made for control in one.widget.children[:-1]] == [widgets.WIDE] * asked


def test_without_a_kernel_nothing_is_made():
    assert not widgets.can_move()
