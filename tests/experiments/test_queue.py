import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from tiny import tiny_backbone

from ptsa_lite.data.claims import claim
from ptsa_lite.experiments import queue as study
from ptsa_lite.experiments import run as one_run
from ptsa_lite.experiments.queue import collect, collected, restore, run_study
from ptsa_lite.experiments.run import Run, execute_run
from ptsa_lite.tree import TaskTree

TASKS = ("semseg", "normals")
TREE = TaskTree(((TASKS,), (TASKS,), (TASKS,), (("semseg",), ("normals",)))).to_dict()
CONFIG = {"epochs": 3, "batch_size": 4, "lr": 1e-3, "warmup_epochs": 1}
SMALL = dict(tasks=TASKS, rank=1, limit=4, img_size=64, config=CONFIG)
FORK = multiprocessing.get_context("fork") if "fork" in multiprocessing.get_all_start_methods() else None
needs_fork = pytest.mark.skipif(FORK is None, reason="this system cannot fork a process")


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(one_run, "load_backbone", lambda name, weights, img_size: tiny_backbone(img_size))


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Runs that take no time and leave a line each in a file that all processes see."""

    def execute(run, folder, report):
        folder.mkdir()
        with (tmp_path / "log").open("a") as file:
            file.write(f"{run.name()}\n")
        time.sleep(0.002)
        return {"run": run.name(), "metrics": {"semseg": run.seed}}

    monkeypatch.setattr(study, "execute_run", execute)
    return lambda: (tmp_path / "log").read_text().split() if (tmp_path / "log").exists() else []


def quiet(line):
    pass


# ---- a grid that resumes


def test_every_run_is_done_once_and_results_come_in_the_order_asked_for(fake, tmp_path):
    runs, lines = [Run("bitfit", seed=seed, **SMALL) for seed in (3, 1, 2, 1)], []
    results = run_study(runs, tmp_path / "study", report=lines.append)
    assert [r["metrics"]["semseg"] for r in results] == [3, 1, 2]
    assert fake() == [run.name() for run in runs[:3]]
    assert lines[-1].startswith("3/3  BitFit, seed 2: semseg 2; 0:00 left")
    assert sorted(path.suffix for path in (tmp_path / "study").iterdir()) == [".json"] * 3


def test_the_same_call_again_trains_nothing_and_a_longer_one_only_what_is_new(fake, tmp_path):
    runs, lines = [Run("bitfit", seed=seed, **SMALL) for seed in range(3)], []
    first = run_study(runs[:2], tmp_path / "study", report=quiet)
    assert run_study(runs[:2], tmp_path / "study", report=quiet) == first and len(fake()) == 2
    run_study(runs, tmp_path / "study", report=lines.append)
    assert fake() == [run.name() for run in runs] and lines[0] == "2 of 3 runs were done before"


def test_a_killed_run_loses_at_most_the_epoch_it_was_in(tiny, monkeypatch, tmp_path):
    class Killed(BaseException):
        pass

    def die_in_the_third_epoch(record, tasks):
        epochs.append(record["epoch"])
        if die and record["epoch"] == 2:
            raise Killed
        return ""

    run, epochs, die = Run("ptsa", tree=TREE, **SMALL), [], False
    whole = execute_run(run, report=quiet)
    monkeypatch.setattr(one_run, "describe", die_in_the_third_epoch)
    die = True
    with pytest.raises(Killed):
        run_study([run], tmp_path, report=quiet)
    assert not list(tmp_path.glob("*.json")) and not list(tmp_path.glob("*.claim"))
    die = False
    (resumed,) = run_study([run], tmp_path, report=quiet)
    assert epochs == [1, 2, 3]
    for key in ("name", "metrics", "losses", "parameters"):
        assert resumed[key] == whole[key], key
    assert not (tmp_path / run.name()).exists(), "the checkpoint of a finished run is removed"


def test_a_run_that_fails_says_so_and_leaves_the_others_results(fake, monkeypatch, tmp_path):
    good, bad = Run("bitfit", **SMALL), Run("decoders_only", **SMALL)
    working = study.execute_run

    def execute(run, folder, report):
        if run == bad:
            raise FloatingPointError("the loss of normals is not finite")
        return working(run, folder, report)

    monkeypatch.setattr(study, "execute_run", execute)
    with pytest.raises(FloatingPointError, match="normals is not finite"):
        run_study([good, bad], tmp_path / "study", report=quiet)
    assert [path.name for path in (tmp_path / "study").iterdir()] == [f"{good.name()}.json"]


# ---- several processes


def test_a_claim_is_for_one_alone_and_goes_when_it_is_given_back(tmp_path):
    path = tmp_path / "run.claim"
    with claim(path) as first, claim(path) as second:
        assert first and not second and path.exists()
    assert not path.exists()
    with claim(path) as third:
        assert third


@needs_fork
def test_processes_that_share_a_folder_never_do_a_run_twice(fake, tmp_path):
    runs = [Run("bitfit", seed=seed, **SMALL) for seed in range(40)]
    workers = [FORK.Process(target=run_study, args=(order, tmp_path / "study", 1, quiet))
               for order in (runs, runs[::-1], runs, runs)]  # fmt: skip
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert sorted(fake()) == sorted(run.name() for run in runs)


@needs_fork
def test_the_claim_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "run.claim"

    def hold(ready):
        with claim(path):
            ready.set()
            time.sleep(60)

    ready = FORK.Event()
    holder = FORK.Process(target=hold, args=(ready,))
    holder.start()
    assert ready.wait(30)
    with claim(path) as mine:
        assert not mine
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(30)
    assert path.exists(), "a killed process cleans nothing up"
    with claim(path) as mine:
        assert mine


def test_a_helper_does_runs_while_this_process_waits_for_them(monkeypatch, tmp_path):
    small = SMALL | {"img_size": 32, "limit": 2, "config": CONFIG | {"epochs": 1, "warmup_epochs": 0, "batch_size": 2}}
    runs, lines = [Run(method, weights="random", **small) for method in ("decoders_only", "bitfit")], []
    monkeypatch.setattr(study, "_do", lambda run, folder: False)
    results = run_study(runs, tmp_path, jobs=2, report=lines.append)
    assert [result["run"]["method"] for result in results] == ["decoders_only", "bitfit"]
    assert lines[-1].startswith("2/2") and "BitFit" in "".join(lines)
    monkeypatch.undo()
    alone = execute_run(runs[1], report=quiet)
    # a helper may have another number of threads, and sums over pixels are then rounded in another order
    assert results[1]["metrics"] == pytest.approx(alone["metrics"], rel=0.05)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to tell the dead from the living")
def test_helpers_end_with_the_process_that_started_them_however_it_ends(tmp_path):
    """Killed outright, it cannot end them itself."""
    long = Run("bitfit", weights="random", **SMALL | {"config": CONFIG | {"epochs": 10_000}})
    (tmp_path / "queue.json").write_text(json.dumps([asdict(long)]))
    command = [sys.executable, "-m", "ptsa_lite.experiments.queue", str(tmp_path / "queue.json"), str(tmp_path)]
    start = f"""
import subprocess, time
print(subprocess.Popen({command!r}, stdin=subprocess.PIPE).pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)
    helper = int(parent.stdout.readline())
    _wait_for(lambda: list(tmp_path.glob("*.claim")))
    parent.kill()
    parent.wait()
    _wait_for(lambda: not _alive(helper))


def _wait_for(done, seconds=60):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


def _alive(pid):
    try:
        os.kill(pid, 0)
        return (Path("/proc") / str(pid) / "stat").read_text().split(") ")[1][0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


# ---- results in one file


def test_collected_results_are_restored_and_nothing_is_trained_again(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(study, "execute_run", lambda run, folder, report: {
        "name": run.name(), "run": asdict(run), "metrics": {"semseg": 1.0}, "made": folder.mkdir()})  # fmt: skip
    runs, path = [Run("bitfit", seed=seed, **SMALL) for seed in range(3)], tmp_path / "results" / "one.json"
    run_study(runs[:2], tmp_path / "here", report=quiet)
    assert collect(runs, tmp_path / "here", path, "the command") == 1
    assert json.loads(path.read_text())["command"] == "the command" and len(collected(path)) == 2
    assert restore(collected(path), runs, tmp_path / "there") == 2
    assert restore(collected(path), runs, tmp_path / "there") == 0
    monkeypatch.undo()
    monkeypatch.setattr(study, "execute_run", lambda *a, **k: pytest.fail("trained again"))
    assert [r["run"]["seed"] for r in run_study(runs[:2], tmp_path / "there", report=quiet)] == [0, 1]


def test_results_are_called_as_the_grid_that_collects_them_calls_them(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(study, "execute_run", lambda run, folder, report: {
        "name": run.name(), "run": asdict(run), "metrics": {"semseg": 1.0}, "made": folder.mkdir()})  # fmt: skip
    run_study([Run("bitfit", label="old", **SMALL)], tmp_path, report=quiet)
    collect([Run("bitfit", label="new", **SMALL)], tmp_path, tmp_path / "out.json", "")
    assert collected(tmp_path / "out.json")[0]["run"]["label"] == "new"
