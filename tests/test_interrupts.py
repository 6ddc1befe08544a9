"""Commands that are stopped by Ctrl-C or killed, and two that meet in one folder: by the command line itself."""

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from archives import write_nyud

from ptsa_lite.__main__ import main
from ptsa_lite.data.disk import alone
from ptsa_lite.training.checkpoints import read_history
from ptsa_lite.workshop import places

if "forkserver" not in multiprocessing.get_all_start_methods():
    pytest.skip("commands are run in forked processes, which this system lacks", allow_module_level=True)
# Forked from a process that has imported everything and computed nothing: autograd's threads do not survive a fork.
CLEAN = multiprocessing.get_context("forkserver")
CLEAN.set_forkserver_preload(["ptsa_lite.__main__", "ptsa_lite.experiments.train", "ptsa_lite.workshop.reproduce"])

SMALL = {
    "n_frames": 4, "img_size": 32, "method": "decoders_only", "weights": "random", "tasks": ["semseg"],
    "config": {"epochs": 500, "batch_size": 4, "lr": 1e-3, "warmup_epochs": 1, "eval_every": 500},
}  # fmt: skip
COUNTING = """# %% tags=["parameters"]
data: str = "scenes"  # which
out_dir: str = "runs/count"  # where

# %%
from pathlib import Path

Path(out_dir).mkdir(parents=True, exist_ok=True)
with (Path(out_dir) / "count-{number}").open("a") as file:
    _ = file.write("x")
"""
WAITING = (
    COUNTING
    + """
# %%
import time

while (Path(out_dir) / "wait").exists():
    time.sleep(0.05)
"""
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to stand in, with a plan, a grid, an archive, and a series of two notebooks whose second one waits."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    runs = [{"method": "bitfit", "seed": seed} for seed in range(2)]
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(SMALL | {"runs": runs}))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(places, "ROOT", tmp_path)
    (tmp_path / "notebooks" / "00_count_one.py").write_text(COUNTING.replace("{number}", "0"))
    (tmp_path / "notebooks" / "01_count_two.py").write_text(WAITING.replace("{number}", "1"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PTSA_TRACEBACK", raising=False)
    return tmp_path


def command(words: list[str], root: Path) -> None:
    torch.set_num_threads(1)
    places.ROOT = root
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a script, Ctrl-C is ignored
    sys.stdout = sys.stderr = open("said", "w", buffering=1)  # noqa: SIM115 until the process ends
    os._exit(main(words))


def start(words: list[str]):
    """The command in a process of its own, what it says in the file `said`."""
    Path("said").unlink(missing_ok=True)
    process = CLEAN.Process(target=command, args=(words, places.ROOT), daemon=True)  # it ends with the tests
    process.start()
    return process


def until(there, process, seconds=60):
    end = time.monotonic() + seconds
    while not there():
        assert process.is_alive() and time.monotonic() < end, Path("said").exists() and Path("said").read_text()
        time.sleep(0.01)


def stop(process, number=signal.SIGINT) -> int:
    os.kill(process.pid, number)
    process.join(60)
    return process.exitcode


def test_ctrl_c_stops_a_training_with_a_sentence_and_the_same_command_goes_on(place):
    words = ["train", "small.yaml", "--out", "run"]
    process = start(words)
    until(Path("run/history.json").exists, process)
    assert stop(process) == 130
    assert "stopped; the same command goes on from here" in Path("said").read_text()
    done = len(read_history("run"))
    process = start(words)
    until(lambda: len(read_history("run")) > done, process)
    stop(process, signal.SIGKILL)


def test_a_second_training_in_a_folder_is_told_that_another_is_at_work(place, capsys):
    with alone(Path("run")):
        assert main(["train", "small.yaml", "--out", "run"]) == 2
    assert "another process is at work in run; wait until it is done, or give another folder" in capsys.readouterr().err
    assert os.listdir("run") == [".lock"]


def test_ctrl_c_stops_a_study_and_a_preparation_with_the_same_sentence(place):
    process = start(["study", "grid.yaml"])
    until(lambda: list(Path("runs/study/grid").glob("*/checkpoint.pt")), process)
    assert stop(process) == 130 and "the same command goes on" in Path("said").read_text()
    root = write_nyud(place / "archive", train=200, val=2, size=(96, 128))
    words = ["data", "prepare", "nyud", str(root), "prepared", "--size", "64"]
    process = start(words)
    until(lambda: list(Path("prepared").glob("*/*.arrow")), process)
    assert stop(process) == 130 and "the same command goes on" in Path("said").read_text()
    made = {path: path.stat().st_mtime_ns for path in Path("prepared").glob("*/*.arrow")}
    assert not Path("prepared/prepared.json").exists() and main(words) == 0
    assert made and all(path.stat().st_mtime_ns == time for path, time in made.items())


def test_a_series_that_is_stopped_or_killed_is_resumed_and_repeats_nothing_that_was_finished(place, capsys):
    run, words = place / "run", ["reproduce", "--out", "run"]
    for number in (signal.SIGINT, signal.SIGKILL):
        process = start(words)
        until((run / "count-0").exists, process)
        (run / "wait").touch()  # the second notebook will
        until((run / "count-1").exists, process)
        assert main(["reproduce", "--resume", "run"]) == 2 and "another process is at work" in capsys.readouterr().err
        assert stop(process, number) == (130 if number == signal.SIGINT else -number)
        words = ["reproduce", "--resume", "run"]
        state = json.loads((run / "run.json").read_text())["notebooks"]
        assert state["00_count_one"]["status"] == "finished" and not (run / "01_count_two.ipynb").exists()
        if number == signal.SIGINT:
            assert "go on with: python -m ptsa_lite reproduce --resume" in Path("said").read_text()
            (run / "count-1").unlink()
    (run / "wait").unlink()
    assert main(words) == 0
    assert (run / "count-0").read_text() == "x" and (run / "count-1").read_text() == "xx"


def test_a_build_that_is_stopped_or_killed_goes_on_with_the_notebook_it_was_at(place, capsys):
    count, folder = place / "runs" / "count", place / "notebooks"
    count.mkdir(parents=True)
    (count / "wait").touch()
    for number in (signal.SIGINT, signal.SIGKILL):
        process = start(["notebooks", "build"])
        until((count / "count-1").exists, process)
        assert main(["notebooks", "build"]) == 2 and "another process is at work" in capsys.readouterr().err
        assert stop(process, number) == (130 if number == signal.SIGINT else -number)
        if number == signal.SIGINT:
            assert "the same command goes on from here" in Path("said").read_text()
            (count / "count-1").unlink()
        assert (folder / "00_count_one.ipynb").is_file() and not (folder / "01_count_two.ipynb").exists()
    (count / "wait").unlink()
    assert main(["notebooks", "build"]) == 0
    assert (count / "count-0").read_text() == "x" and (folder / "01_count_two.ipynb").is_file()
