"""Executing and building notebooks: on small ones that the tests write, then on the project's own."""

import base64
import json
import re
import shutil
from io import BytesIO
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import papermill
import pytest
from notebook_rules import broken_rules
from PIL import Image

from ptsa_lite.workshop import notebooks
from ptsa_lite.workshop.parameters import accept
from ptsa_lite.workshop.reproduce import Request, read_settings

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"

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
def executed(tmp_path_factory):
    """The notebook executed once with five steps: what came back, the file, and the steps that were told."""
    place, steps = tmp_path_factory.mktemp("executed"), []
    (place / "notebooks").mkdir()
    (place / "notebooks" / "00_draw_line.py").write_text(DRAW)
    back = notebooks.execute(place / "notebooks" / "00_draw_line.py", place / "out.ipynb", {"steps": 5},
                             progress=lambda *step: steps.append(step), where=place / "notebooks")  # fmt: skip
    return back, (place / "out.ipynb").read_text(), steps


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A repository whose notebook was built once. Who changes it takes a copy."""
    made = tmp_path_factory.mktemp("built") / "repository" / "notebooks"
    made.mkdir(parents=True)
    (made / "00_draw_line.py").write_text(DRAW)
    notebooks.build(made, say=lambda line: None)
    return made


def outputs(notebook) -> str:
    return "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))


def test_execute_injects_parameters_and_stands_where_it_is_told(executed):
    back, text, steps = executed
    assert outputs(back).startswith("5 steps in notebooks\n") and "5 steps in notebooks" in text
    assert steps[-1] == (len(back.cells), len(back.cells), "")
    assert any(line == "runs/draw" for _, _, line in steps), "what a cell prints is told"


def test_a_solution_and_a_set_up_stand_folded_in_jupyterlab_and_the_source_knows_nothing_of_it(folder):
    source = folder / "00_draw_line.py"
    text = DRAW.replace("# %%\nimport os", '# %% tags=["hide-input"]\nimport os')
    source.write_text(text.replace("# %%\nfigure", '# %% tags=["solution"]\nfigure'))
    built = notebooks.clean(notebooks.read(source))
    folded = [cell.metadata["jupyter"] for cell in built.cells if "jupyter" in cell.metadata]
    assert folded == [{"source_hidden": True}, {"source_hidden": True, "outputs_hidden": True}]
    assert "hidden" not in jupytext.writes(built, "py:percent")


def test_a_figure_is_shown_once_although_the_tests_draw_without_a_display(executed):
    shown = [out for cell in executed[0].cells for out in cell.get("outputs", [])]
    pictures = [out for out in shown if "image/png" in out.get("data", {})]
    assert len(pictures) == 1


def test_a_photographs_pixels_and_a_transparent_pictures_are_kept():
    rng = np.random.default_rng(0)
    for pixels in (rng.integers(0, 256, (60, 80, 3), np.uint8), rng.integers(0, 4, (60, 80, 4), np.uint8) * 80):
        before = _png(pixels)
        after = notebooks.packed(before)
        assert len(after) <= len(before)
        assert np.array_equal(_pixels(after, "RGBA")[..., : pixels.shape[2]], pixels)


def test_a_drawing_is_packed_in_256_colours_that_nobody_can_tell():
    axis = np.linspace(0, 1, 240)
    disc = np.clip(0.4 - np.hypot(*np.meshgrid(axis - 0.5, axis - 0.5)), -0.02, 0.02) / 0.04 + 0.5  # a soft edge
    pixels = (255 - disc[..., None] * [250, 100, 30]).astype(np.uint8)
    after = notebooks.packed(_png(pixels))
    assert len(after) < 0.7 * len(_png(pixels)) and Image.open(BytesIO(base64.b64decode(after))).mode == "P"
    assert np.abs(_pixels(after, "RGB").astype(int) - pixels).mean() < 0.25


def _png(pixels) -> str:
    written = BytesIO()
    Image.fromarray(pixels).save(written, "png", compress_level=1)
    return base64.b64encode(written.getvalue()).decode()


def _pixels(picture: str, mode: str):
    return np.asarray(Image.open(BytesIO(base64.b64decode(picture))).convert(mode))


def test_an_unknown_parameter_is_refused_before_anything_runs(folder, tmp_path):
    with pytest.raises(ValueError, match="notebook 00_draw_line 'step'; did you mean 'steps'"):
        notebooks.execute(folder / "00_draw_line.py", tmp_path / "out.ipynb", {"step": 5})
    assert not (tmp_path / "out.ipynb").exists()


def test_a_failing_cell_is_named_and_its_notebook_kept(folder, tmp_path):
    source = folder / "01_fail_here.py"
    source.write_text("# %%\nprint('before')\n\n# %% [markdown]\n# ## The division\n\n# %%\n1 / 0\n\n# %%\n2\n")
    expected = re.escape("notebook 01_fail_here stopped in cell [2], under 'The division': ZeroDivisionError: division")
    with pytest.raises(notebooks.NotebookError, match=expected):
        notebooks.execute(source, tmp_path / "out.ipynb")
    left = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    errors = [out.ename for cell in left.cells for out in cell.get("outputs", []) if out.output_type == "error"]
    assert errors == ["ZeroDivisionError"] and "before" in outputs(left)


def test_a_kernel_that_dies_is_named_as_such(folder, tmp_path):
    source = folder / "01_die_here.py"
    source.write_text("# %%\nimport os\nos._exit(1)\n")
    with pytest.raises(notebooks.NotebookError, match="01_die_here stopped in .* the kernel died"):
        notebooks.execute(source, tmp_path / "out.ipynb")
    assert "the kernel died" in (tmp_path / "out.ipynb").read_text()


def test_cell_ids_depend_on_text_alone(folder):
    source = folder / "00_draw_line.py"
    before = [cell.id for cell in notebooks.read(source).cells]
    source.write_text("# %%\nnew = 1\n\n" + DRAW + "\n# %%\ntwice\n\n# %%\ntwice\n")
    after = [cell.id for cell in notebooks.read(source).cells]
    assert after[1 : len(before) + 1] == before
    assert len(set(after)) == len(after)


def test_building_again_gives_the_same_bytes_and_leaves_what_is_up_to_date(built, tmp_path):
    folder, said = shutil.copytree(built.parent, tmp_path / "repository") / "notebooks", []
    target = folder / "00_draw_line.ipynb"
    first = target.read_bytes()
    notebooks.build(folder, say=said.append)
    notebooks.build(folder, force=True, say=said.append)
    assert target.read_bytes() == first
    (folder / "00_draw_line.py").write_text("# %%\n1\n")
    notebooks.build(folder, ["00"], say=said.append)
    assert [line.split(" in ")[0] for line in said] == ["00_draw_line: up to date", *["00_draw_line: built"] * 2]


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
        notebooks.build(folder, say=lambda line: None)
    assert target.read_text() == "old"


def test_notebooks_are_chosen_by_number_or_name_and_an_unknown_one_names_the_nearest(folder):
    (folder / "helper.py").write_text("")
    assert [path.stem for path in notebooks.choose(folder, None)] == ["00_draw_line"]
    assert notebooks.choose(folder, ["00"]) == notebooks.choose(folder, ["notebooks/00_draw_line.py"])
    with pytest.raises(ValueError, match="did you mean '00_draw_line'"):
        notebooks.choose(folder, ["00_draw_lines"])


# ---- the project's own notebooks


def test_the_projects_notebooks_are_as_they_should_be():
    assert broken_rules(FOLDER) == []


def test_a_notebook_that_is_opened_and_saved_unchanged_leaves_both_its_files_as_they_are(tmp_path):
    """As JupyterLab does it, by jupytext's manager of contents, with the settings of pyproject.toml."""
    manager = pytest.importorskip("jupytext.sync_contentsmanager").build_sync_jupytext_contents_manager_class
    server = pytest.importorskip("jupyter_server.services.contents.largefilemanager").LargeFileManager
    (tmp_path / "notebooks").mkdir()
    shutil.copy(FOLDER.parent / "pyproject.toml", tmp_path)
    opened = manager(server)(root_dir=str(tmp_path))
    for source in notebooks.sources(FOLDER):
        shutil.copy(source, tmp_path / "notebooks")
        built = tmp_path / "notebooks" / f"{source.stem}.ipynb"
        notebooks.write_built(notebooks.read(source), built, "mark")
        before, name = built.read_text(encoding="utf-8"), f"notebooks/{built.name}"
        opened.save({"type": "notebook", "format": "json", "content": opened.get(name)["content"]}, name)
        assert (tmp_path / "notebooks" / source.name).read_bytes() == source.read_bytes()
        assert built.read_text(encoding="utf-8") == before


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One folder for all, as in the main job: later notebooks read what earlier ones wrote."""
    return tmp_path_factory.mktemp("run")


@pytest.mark.parametrize("source", notebooks.sources(FOLDER), ids=lambda source: source.stem)
def test_notebook_runs_in_its_smallest_setting_by_papermill_itself(source, run):
    """The documented way: papermill's own engine, none of ours."""
    parameters = notebooks.declared(source)
    given = dict(read_settings(Request(settings="smoke"), FOLDER)[1].get(source.stem, {}))
    given |= {"out_dir": str(run)} if "out_dir" in parameters else {}
    executed = papermill.execute_notebook(
        notebooks.read(source), run / f"{source.stem}.ipynb", accept(given, parameters, source.stem),
        kernel_name="python3", language="python", progress_bar=False, cwd=run,
    )  # fmt: skip
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code" and cell.source.strip())
    assert "OutputModel" not in json.dumps(executed.metadata), "one of these may keep a program waiting for ever"
