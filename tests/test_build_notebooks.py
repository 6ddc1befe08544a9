"""Building the .ipynb that readers see, and whether they are their sources: on one small notebook."""

import base64
import json
import shutil
from io import BytesIO

import jupytext
import numpy as np
import pytest
from PIL import Image

from figures.build_notebooks import build, clean, command, packed
from ptsa_lite.__main__ import main
from ptsa_lite.workshop import notebooks, places

DRAW = """# %% [markdown]
# # Draw a line

# %% tags=["parameters"]
steps: int = 3  # how many
out_dir: str = "runs/draw"  # where

# %%
import os

from ptsa_lite.figures.style import Drawing, save_figure

print(steps, "steps in", os.path.basename(os.getcwd()), flush=True)
print(out_dir)

# %% [markdown]
# ## A figure

# %%
figure = Drawing()
figure.subplots().plot(range(steps, 0, -1))
save_figure(figure, "00_curve", out_dir)
figure

# %%
from ptsa_lite.workshop.widgets import interact

interact(lambda x=1: print(x), x=(0, 3))
"""


@pytest.fixture
def folder(tmp_path):
    """A repository with one notebook."""
    made = tmp_path / "repository" / "notebooks"
    made.mkdir(parents=True)
    (made / "00_draw_line.py").write_text(DRAW)
    return made


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A repository whose notebook was built once. Who changes it takes a copy."""
    made = tmp_path_factory.mktemp("built") / "repository" / "notebooks"
    made.mkdir(parents=True)
    (made / "00_draw_line.py").write_text(DRAW)
    assert build(made, say=lambda line: None) == [made / "00_draw_line.ipynb"]
    return made


def test_a_solution_and_a_set_up_stand_folded_in_jupyterlab_and_the_source_knows_nothing_of_it(folder):
    source = folder / "00_draw_line.py"
    text = DRAW.replace("# %%\nimport os", '# %% tags=["hide-input"]\nimport os')
    source.write_text(text.replace("# %%\nfigure", '# %% tags=["solution"]\nfigure'))
    built = clean(notebooks.read(source))
    folded = [cell.metadata["jupyter"] for cell in built.cells if "jupyter" in cell.metadata]
    assert folded == [{"source_hidden": True}, {"source_hidden": True, "outputs_hidden": True}]
    assert "hidden" not in jupytext.writes(built, "py:percent")


def test_a_photographs_pixels_and_a_transparent_pictures_are_kept():
    rng = np.random.default_rng(0)
    for pixels in (rng.integers(0, 256, (60, 80, 3), np.uint8), rng.integers(0, 4, (60, 80, 4), np.uint8) * 80):
        before = _png(pixels)
        after = packed(before)
        assert len(after) <= len(before)
        assert np.array_equal(_pixels(after, "RGBA")[..., : pixels.shape[2]], pixels)


def test_a_drawing_is_packed_in_256_colours_that_nobody_can_tell():
    axis = np.linspace(0, 1, 240)
    disc = np.clip(0.4 - np.hypot(*np.meshgrid(axis - 0.5, axis - 0.5)), -0.02, 0.02) / 0.04 + 0.5  # a soft edge
    pixels = (255 - disc[..., None] * [250, 100, 30]).astype(np.uint8)
    after = packed(_png(pixels))
    assert len(after) < 0.7 * len(_png(pixels)) and Image.open(BytesIO(base64.b64decode(after))).mode == "P"
    assert np.abs(_pixels(after, "RGB").astype(int) - pixels).mean() < 0.25


def _png(pixels) -> str:
    written = BytesIO()
    Image.fromarray(pixels).save(written, "png", compress_level=1)
    return base64.b64encode(written.getvalue()).decode()


def _pixels(picture: str, mode: str):
    return np.asarray(Image.open(BytesIO(base64.b64decode(picture))).convert(mode))


def test_building_again_gives_the_same_bytes_and_leaves_what_is_up_to_date(built, tmp_path):
    folder, said = shutil.copytree(built.parent, tmp_path / "repository") / "notebooks", []
    target = folder / "00_draw_line.ipynb"
    first = target.read_bytes()
    assert build(folder, say=said.append) == [] and said[-1] == "00_draw_line: up to date"
    assert build(folder, force=True, say=said.append) == [target]
    assert target.read_bytes() == first
    (folder / "00_draw_line.py").write_text("# %%\n1\n")
    assert build(folder, ["00"], say=said.append) == [target]


def test_a_built_notebook_holds_outputs_but_no_times_paths_or_widget_state(built):
    text = (built / "00_draw_line.ipynb").read_text()
    assert "image/png" in text and "3 steps" in text
    assert "import interact" in text, "the widget's cell stays"
    left = [trace for trace in ("papermill", "start_time", "widget-view", str(built.parent)) if trace in text]
    assert not left
    assert json.loads(text)["cells"][2]["outputs"][0]["text"] == ["3 steps in repository\n", "runs/draw\n"]


def test_building_takes_the_figures_of_the_run_into_the_figures_folder(built):
    figures = built.parent / "figures"
    assert sorted(path.name for path in figures.iterdir()) == ["00_curve.png", "00_curve.svg"]


def test_a_failed_build_leaves_the_old_notebook(folder):
    target = folder / "00_draw_line.ipynb"
    target.write_text("old")
    (folder / "00_draw_line.py").write_text("# %%\n1 / 0\n")
    with pytest.raises(notebooks.NotebookError):
        build(folder, say=lambda line: None)
    assert target.read_text() == "old"


def test_the_command_exits_with_1_where_a_notebook_is_not_built_or_fails_and_says_why(folder, monkeypatch, capsys):
    (folder.parent / "pyproject.toml").touch()
    monkeypatch.setattr(places, "ROOT", folder.parent)
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    assert main(["--check"], command) == 1 and "00_draw_line.ipynb is missing" in capsys.readouterr().out
    (folder / "00_draw_line.py").write_text("# %%\n1 / 0\n")
    assert main(["00"], command) == 1
    assert "ptsa_lite: notebook 00_draw_line stopped in cell [1]" in capsys.readouterr().err
    assert main(["--help"], command) == 0 and "--force" in capsys.readouterr().out
