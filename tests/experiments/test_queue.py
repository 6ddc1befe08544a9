"""Many trainings: done once, whoever does them, wherever they stop."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from tiny import tiny_backbone

from ptsa_lite.data.disk import make_folder, write_json
from ptsa_lite.experiments import queue, train
from ptsa_lite.experiments import run as one_run
from ptsa_lite.experiments.queue import do_run, processes, run_study
from ptsa_lite.experiments.results import collected
from ptsa_lite.experiments.run import Run
from ptsa_lite.experiments.train import train_run
from ptsa_lite.tree import TaskTree

TASKS = ("semseg", "normals")
TREE = TaskTree(((TASKS,), (TASKS,), (TASKS,), (("semseg",), ("normals",)))).to_dict()
CONFIG = {"epochs": 3, "batch_size": 4, "lr": 1e-3, "warmup_epochs": 1}
SMALL = dict(tasks=TASKS, rank=1, n_frames=4, img_size=64, config=CONFIG)
FORK = multiprocessing.get_context("fork") if "fork" in multiprocessing.get_all_start_methods() else None
needs_fork = pytest.mark.skipif(FORK is None, reason="this system cannot fork a process")


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(one_run, "load_backbone", lambda name, weights, img_size, **_: tiny_backbone(img_size))


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Runs that take no time and leave a line each in a file that all processes see."""

    def execute(run, folder, report):
        with (tmp_path / "log").open("a") as file:
            file.write(f"{run.name()}\n")
        time.sleep(0.002)
        result = {"name": run.name(), "run": {}, "metrics": {"semseg": run.seed}, "frames": [4, 4]}
        write_json(make_folder(folder) / "result.json", result)

    monkeypatch.setattr(queue, "train_run", execute)
    return lambda: (tmp_path / "log").read_text().split() if (tmp_path / "log").exists() else []


def quiet(line):
    pass


# ---- a grid that resumes


def test_every_run_is_done_once_and_results_come_in_the_order_asked_for(fake, tmp_path):
    runs, lines = [Run("bitfit", seed=seed, **SMALL) for seed in (3, 1, 2, 1)], []
    results = run_study(runs, tmp_path / "study", report=lines.append)
    assert [r["metrics"]["semseg"] for r in results] == [3, 1, 2]
    assert fake() == [run.name() for run in runs[:3]]
    assert lines[-1].startswith("3/3  BitFit, seed 2: semseg 2; 00:00 left")
    assert sorted(path.suffix for path in (tmp_path / "study").iterdir()) == [".json"] * 3


def test_no_processes_at_all_are_refused(tmp_path):
    for jobs in (0, -1, 1.5):
        with pytest.raises(ValueError, match="jobs must be a whole number of at least 1"):
            run_study([], tmp_path, jobs)


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
    whole = train_run(run, tmp_path / "whole", report=quiet)
    monkeypatch.setattr(train, "describe", die_in_the_third_epoch)
    die = True
    with pytest.raises(Killed):
        run_study([run], tmp_path, report=quiet)
    assert not list(tmp_path.glob("*.json"))
    die = False
    (resumed,) = run_study([run], tmp_path, report=quiet)
    assert epochs == [1, 2, 3]
    for key in ("name", "metrics", "losses", "parameters"):
        assert resumed[key] == whole[key], key
    assert not (tmp_path / run.name()).exists(), "the checkpoint of a finished run is removed"


def test_a_run_that_fails_says_so_and_leaves_the_others_results(fake, monkeypatch, tmp_path):
    good, bad = Run("bitfit", **SMALL), Run("decoders_only", **SMALL)
    working = queue.train_run

    def execute(run, folder, report):
        if run == bad:
            raise FloatingPointError("the loss of normals is not finite")
        return working(run, folder, report)

    monkeypatch.setattr(queue, "train_run", execute)
    with pytest.raises(FloatingPointError, match="normals is not finite"):
        run_study([good, bad], tmp_path / "study", report=quiet)
    assert [path.name for path in (tmp_path / "study").glob("*.json")] == [f"{good.name()}.json"]


# ---- several processes


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
def test_the_run_of_a_killed_process_is_free(fake, monkeypatch, tmp_path):
    run, ready = Run("bitfit", **SMALL), FORK.Event()
    execute = queue.train_run
    monkeypatch.setattr(queue, "train_run", lambda *args, **words: ready.set() or time.sleep(60))
    holder = FORK.Process(target=do_run, args=(run, tmp_path))
    holder.start()
    assert ready.wait(30)
    monkeypatch.setattr(queue, "train_run", execute)
    assert not do_run(run, tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(30)
    assert do_run(run, tmp_path) and fake() == [run.name()]


TINY = dict(data="scenes", img_size=32, n_frames=2, weights="random", tasks=["semseg"],
            config={"epochs": 1, "warmup_epochs": 0, "batch_size": 2})  # fmt: skip


def command(folder, *words, **settings):
    """`study` of a file with these settings, as somebody starts it."""
    (folder / "grid.yaml").write_text(yaml.safe_dump(TINY | settings))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, "-m", "ptsa_lite", "study", "grid.yaml", *words], cwd=folder, text=True,
                            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def test_processes_of_a_study_have_loader_workers_of_their_own(tmp_path):
    """They hung for ever where a helper's thread held its standard input while they were forked."""
    config = TINY["config"] | {"workers": 1}
    started = command(tmp_path, "--jobs", "2", config=config, runs=[{"method": "bitfit"}, {"method": "decoders_only"}])
    said, _ = started.communicate(timeout=300)
    assert started.returncode == 0, said
    assert "2/2  " in said and "all runs are done" in said and "without delta_m" in said
    assert "| BitFit | " in said and "| Decoders only | " in said  # the table has rows without single tasks, too
    results = collected(tmp_path / "figures" / "results" / "grid.json")
    assert [result["run"]["method"] for result in results] == ["bitfit", "decoders_only"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_run_that_diverges_is_named_when_the_others_are_done(tmp_path, jobs):
    high = {"method": "decoders_only", "config": TINY["config"] | {"lr": 1.0e30, "epochs": 3}}
    others = [{"method": "bitfit"}, {"method": "decoders_only"}]
    started = command(tmp_path, "--jobs", jobs, runs=[high, *others])
    said, _ = started.communicate(timeout=300)
    assert started.returncode == 1 and "run decoders_only-r16-s0-" in said and "is not finite in epoch" in said
    assert "runs left: 1" in said and "Traceback" not in said
    results = collected(tmp_path / "figures" / "results" / "grid.json")
    assert [result["run"]["method"] for result in results] == [one["method"] for one in others]


def test_a_failure_in_a_process_of_a_study_is_told_and_not_waited_for(tmp_path):
    """One run has no weights; the other would take hours."""
    long = {"method": "bitfit", "config": TINY["config"] | {"epochs": 100_000}}
    started = command(tmp_path, "--jobs", "2", runs=[{"method": "bitfit", "weights": "none.safetensors"}, long])
    said, _ = started.communicate(timeout=300)
    assert started.returncode == 2 and "no weights at none.safetensors" in said and "Traceback" not in said


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to tell the dead from the living")
def test_processes_of_a_study_end_with_the_one_that_started_them_however_it_ends(tmp_path):
    """Killed outright, it cannot end them itself."""
    config = TINY["config"] | {"epochs": 100_000, "workers": 1}
    runs = [{"method": "bitfit"}, {"method": "decoders_only"}]
    started = command(tmp_path, "--jobs", "2", config=config, runs=runs)
    _wait_for(lambda: len(list(tmp_path.glob("runs/study/grid/*/checkpoint.pt"))) == 2, 200)
    below = _descendants(started.pid)
    assert len(below) >= 4, "two that train, each with a loader worker"
    started.kill()
    started.communicate(timeout=60)
    _wait_for(lambda: not any(map(_alive, below)), 60)


def test_a_run_that_makes_no_progress_is_named(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(queue, "PATIENCE", 0.5)
    (run,), lines = [Run("bitfit", **SMALL)], []
    place = make_folder(tmp_path / "study" / run.name())
    with FileLock(place.with_suffix(".lock")):
        waiting = threading.Thread(target=run_study, args=([run], tmp_path / "study", 1, lines.append))
        waiting.start()
        _wait_for(lambda: lines, 30)
    waiting.join(60)
    assert lines[0].startswith(f"{run.name()} has made no progress for 00:0") and fake() == [run.name()]


@pytest.mark.parametrize(("text", "wanted", "fit"), [("2147483648\n", 2, 1), ("4000000000\n", 2, 2), ("1000\n", 3, 1)])
def test_as_many_processes_as_a_containers_memory_has_room_for_and_always_one(tmp_path, text, wanted, fit):
    (tmp_path / "memory.max").write_text(text)
    assert processes(wanted, [tmp_path / "memory.max", tmp_path / "absent"]) == fit


def test_no_limit_leaves_the_machines_memory(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    assert processes(10**9, [tmp_path / "memory.max"]) == processes(10**9, []) > 1


def _descendants(pid):
    parents = {int(path.parent.name): int(path.read_text().rpartition(") ")[2].split()[1])
               for path in Path("/proc").glob("[0-9]*/stat")}  # fmt: skip
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found |= new
    return found


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


def test_a_run_that_ends_while_somebody_looks_at_it_is_no_fault(tmp_path, monkeypatch):
    """Its folder goes between the look whether it is there and the look into it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "checkpoint.pt").touch()
    assert len(queue._changes(tmp_path / "a")) == 1

    def gone(place):
        raise FileNotFoundError(place)

    monkeypatch.setattr("os.scandir", gone)
    assert queue._changes(tmp_path / "a") == []
