"""The series on small notebooks: one writes, the next reads and makes the table."""

import json
import re

import pytest
import yaml

from ptsa_lite.workshop.reproduce import Request, _place, plan, read_settings, reproduce

HEAD = """# %% [markdown]
# # {title}

# %% tags=["parameters"]
data: str = "scenes"  # scenes, nyud or pascal
limit: int = 0  # frames
out_dir: str = "runs"  # where
steps: int = 1  # how many

# %%
import json
from pathlib import Path

folder = Path(out_dir)
"""
FIRST = (
    HEAD.format(title="Measure it")
    + """
(folder / "similarity.json").write_text(json.dumps([data, limit, steps]))
with (folder / "count").open("a") as count:
    _ = count.write("x")
"""
)
LAST = (
    HEAD.format(title="Train it")
    + """
measured = json.loads((folder / "similarity.json").read_text())
row = dict(tree="(1, 1, 2, 4)", rank=4, metrics=dict(depth=0.5), trainable=2_000_000, gmacs=1.5, seconds=61)
methods = [dict(row, method="decoders_only", label="decoders only", delta_m=-3.0),
           dict(row, method="ptsa", label="grouped", delta_m=float(measured[2]))]
tasks = [dict(name="depth", metric="RMSE (m)", higher_is_better=False)]
_ = (folder / "results.json").write_text(json.dumps(dict(data=measured, tasks=tasks, methods=methods)))
"""
)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "repository" / "notebooks"
    (made / "settings").mkdir(parents=True)
    (made / "03_measure_it.py").write_text(FIRST)
    (made / "05_train_it.py").write_text(LAST)
    (made / "06_look_closer.py").write_text("# %%\n1 / 0\n")  # declares no data: no part of the series
    return made


def settings(folder, name, content):
    (folder / "settings" / f"{name}.yaml").write_text(yaml.safe_dump(content))


def state(run):
    return {stem: entry["status"] for stem, entry in json.loads((run / "run.json").read_text())["notebooks"].items()}


def test_the_series_runs_in_one_folder_and_leaves_table_report_and_notebooks(folder, tmp_path, capsys):
    settings(folder, "scenes", {"03_measure_it": {"steps": 4}})
    run = tmp_path / "run"
    assert reproduce(Request(limit=7), out=str(run), folder=folder) == 0
    assert state(run) == {"03_measure_it": "finished", "05_train_it": "finished"}
    assert json.loads((run / "results.json").read_text())["data"] == ["scenes", 7, 4]
    printed = capsys.readouterr()
    assert re.search(r"grouped +\(1, 1, 2, 4\) +4 +0.5000 +\+4.00 +2.000 +1.500 +01:01", printed.out)
    assert "left" in printed.err
    assert "grouped" in (run / "report.html").read_text()
    assert {path.name for path in run.glob("*.ipynb")} == {"03_measure_it.ipynb", "05_train_it.ipynb"}


def test_a_failure_is_kept_the_rest_is_not_run_and_resume_goes_on_from_there(folder, tmp_path, capsys):
    run = tmp_path / "run"
    (folder / "04_grow_it.py").write_text(HEAD.format(title="Grow it") + "\n1 / 0\n")
    assert reproduce(Request(limit=3), out=str(run), folder=folder) == 1
    assert state(run) == {"03_measure_it": "finished", "04_grow_it": "failed", "05_train_it": "not run"}
    told = capsys.readouterr()
    assert "04_grow_it.unfinished.ipynb" in told.err and "not run: 05_train_it" in told.err
    assert "ZeroDivisionError" in (run / "04_grow_it.unfinished.ipynb").read_text()
    assert "ZeroDivisionError" in (run / "report.html").read_text()

    (folder / "04_grow_it.py").write_text(HEAD.format(title="Grow it"))
    assert reproduce(Request(), resume=str(run), folder=folder) == 0
    assert set(state(run).values()) == {"finished"}
    assert (run / "count").read_text() == "x", "what was finished is not run again"
    assert json.loads((run / "results.json").read_text())["data"] == ["scenes", 3, 1], "the request is the first one"
    assert not (run / "04_grow_it.unfinished.ipynb").exists()


def test_resume_runs_again_what_changed_and_everything_after_it(folder, tmp_path):
    run = tmp_path / "run"
    assert reproduce(Request(), out=str(run), folder=folder) == 0
    settings(folder, "scenes", {"03_measure_it": {"steps": 9}})
    assert reproduce(Request(), resume=str(run), folder=folder) == 0
    assert (run / "count").read_text() == "xx"
    assert json.loads((run / "results.json").read_text())["data"] == ["scenes", 0, 9]


def test_resume_refuses_another_request_and_a_folder_where_nothing_began(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no run began there"):
        reproduce(Request(), resume=str(tmp_path), folder=folder)
    (tmp_path / "run.json").write_text(json.dumps({"request": {"limit": 3}}))
    with pytest.raises(ValueError, match=r"\(python -m ptsa_lite reproduce --limit 3\)"):
        reproduce(Request(limit=4), resume=str(tmp_path), folder=folder)


def test_a_folder_that_holds_something_is_not_written_into(folder, tmp_path):
    with pytest.raises(ValueError, match="is not empty"):
        reproduce(Request(), out=str(tmp_path), folder=folder)


def test_a_folder_in_which_a_run_was_killed_before_it_began_is_as_good_as_empty(tmp_path):
    for left in (".lock", ".run.json.part"):
        (tmp_path / left).touch()
    assert _place(Request(), str(tmp_path), "") == (tmp_path, Request())


def test_the_plan_gives_each_notebook_what_it_declares(folder):
    (folder / "00_take_it.py").write_text(HEAD.format(title="Take it").replace("limit:", "root: str = ''\nseed:"))
    common = {"data": "nyud", "root": "/data", "limit": 2, "seed": 1, "out_dir": "o"}
    jobs = plan(folder, common, {})
    assert [source.stem[:2] for source, _ in jobs] == ["00", "03", "05"]
    assert jobs[0][1] == {"data": "nyud", "root": "/data", "seed": 1, "out_dir": "o"}
    assert jobs[1][1] == {"data": "nyud", "limit": 2, "out_dir": "o"}


def test_a_limit_on_the_command_line_wins_over_the_settings(folder):
    common, overlay = {"data": "scenes", "limit": 0, "out_dir": "o"}, {"03_measure_it": {"limit": 5}}
    assert plan(folder, common, overlay)[0][1]["limit"] == 5
    assert plan(folder, common | {"limit": 2}, overlay)[0][1]["limit"] == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"03_measure": {}}, "did you mean '03_measure_it'"),
        ({"minutes": {"03_measure": 1}}, "did you mean '03_measure_it'"),
        ({"03_measure_it": 4}, "must map names to values"),
        ({"03_measure_it": {"data": "nyud"}}, "data of 03_measure_it is given on the command line"),
    ],
)
def test_settings_that_name_what_is_not_there_are_refused(folder, content, words):
    settings(folder, "scenes", content)
    with pytest.raises(ValueError, match=words):
        read_settings(Request(), folder)


def test_a_parameter_in_the_settings_that_the_notebook_lacks_is_refused_before_anything_runs(folder, tmp_path):
    settings(folder, "scenes", {"05_train_it": {"step": 3}})
    with pytest.raises(ValueError, match="did you mean 'steps'"):
        reproduce(Request(), out=str(tmp_path / "run"), folder=folder)
    assert not (tmp_path / "run").exists()


def test_settings_are_found_by_name_by_path_or_by_the_data(folder, tmp_path):
    settings(folder, "scenes", {"minutes": {"03_measure_it": 2.5}, "05_train_it": {"steps": 2}})
    settings(folder, "quick", {})
    assert read_settings(Request(), folder) == ({"03_measure_it": 2.5}, {"05_train_it": {"steps": 2}})
    assert read_settings(Request(settings="quick"), folder) == ({}, {})
    assert read_settings(Request(data="nyud", root=str(folder)), folder) == ({}, {})
    path = folder / "settings" / "scenes.yaml"
    assert read_settings(Request(settings=str(path)), folder)[0] == {"03_measure_it": 2.5}
    with pytest.raises(ValueError, match="did you mean 'quick'"):
        read_settings(Request(settings="quik"), folder)
    with pytest.raises(FileNotFoundError, match="No such file"):
        read_settings(Request(settings="mine.yaml"), folder)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"data": "nyu"}, "did you mean 'nyud'"),
        ({"data": "nyud"}, "--data nyud needs --root"),
        ({"data": "nyud", "root": "nowhere"}, "--root nowhere is no folder"),
        ({"root": "nowhere"}, "leave out --root"),
        ({"limit": -1}, "limit must be a whole number of at least 0, not -1"),
    ],
)
def test_a_request_that_cannot_be_served_is_refused_in_one_sentence(asked, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        Request(**asked)
