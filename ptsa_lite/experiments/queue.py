"""Many trainings, one result file a run; resumable, shared by several processes and machines.

A folder of results is the whole state: `NAME.json` is a finished run, `NAME/` an unfinished one as `train` leaves it,
and a locked `NAME.lock` says that some process works on it. Whoever sees the folder takes runs that are neither
finished nor locked; so the same call, made again after any interruption, or at the same time on another machine, does
what is left. The system itself gives a lock back when its process ends, however it ends.
"""

import contextlib
import multiprocessing
import os
import reprlib
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_end
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from ptsa_lite.checks import COUNT, check
from ptsa_lite.data.disk import make_folder, read_json

from .labels import labels_of
from .run import Run
from .train import train_run

PATIENCE = 1800.0  # seconds without a new epoch, after which a run is named
LOOK = 0.2  # seconds between two looks at what the others do
PROCESS = 1.5e9  # bytes that a process takes which trains the small Swin, PyTorch itself included
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container's memory stands, in version 2 and version 1 of Linux' control groups."""


def run_study(
    runs: Sequence[Run], folder: str | Path, jobs: int = 1, report: Callable[[str], None] = print
) -> list[dict]:
    """Do every run that is not done, and wait for those that other processes do; all results, in the order of `runs`.

    jobs: processes on this machine, each with its share of the cores, fewer where its memory does not hold as many.
    A run that another process is at, and that makes no progress for `PATIENCE`, is named. A run that fails raises here,
    at once, and one whose numbers are not finite when all others are done: what these have finished is kept, and the
    same call goes on.
    """
    check({"jobs": COUNT}, locals())
    folder = make_folder(Path(folder))
    runs = list({run.name(): run for run in runs}.values())
    left, started, watch = _left(runs, folder), time.monotonic(), _Watch(folder, report)
    before, labels = len(runs) - len(left), dict(zip((run.name() for run in runs), labels_of(runs), strict=True))
    if before:
        report(f"{before} of {len(runs)} runs were done before")
    jobs = processes(min(jobs, len(left)))
    for at_work in _here(left, folder) if jobs == 1 else _beside(left, folder, jobs):
        were, left = left, _left(left, folder)
        pace = (time.monotonic() - started) / max(1, len(runs) - before - len(left))
        for number, run in enumerate((run for run in were if run not in left), len(runs) - len(were) + 1):
            shown = ", ".join(f"{task} {value:.3g}" for task, value in result_in(folder, run)["metrics"].items())
            report(f"{number}/{len(runs)}  {labels[run.name()]}, seed {run.seed}: {shown}; "
                   f"{tqdm.format_interval(pace * len(left))} left")  # fmt: skip
        watch(at_work)
    return [result_in(folder, run) for run in runs]


def do_run(run: Run, folder: Path) -> bool:
    """Train a run unless it is done or another process is at it; whether it was trained here."""
    path, place = folder / f"{run.name()}.json", folder / run.name()
    try:
        held = FileLock(path.with_suffix(".lock")).acquire(timeout=0)
    except Timeout:
        return False
    with held:
        try:
            if path.is_file():  # it may have been finished between the look and the lock
                return False
            train_run(run, place, report=lambda line: None)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # others share the GPU
            (place / "result.json").replace(path)
            shutil.rmtree(place)
            return True
        except (ValueError, FloatingPointError) as error:
            kind = FloatingPointError if isinstance(error, FloatingPointError) else ValueError
            raise kind(f"run {run.name()}: {error}") from error
        finally:
            with contextlib.suppress(PermissionError):  # Windows keeps a file that is open
                path.with_suffix(".lock").unlink(missing_ok=True)


def result_in(folder: Path, run: Run) -> dict:
    """The result of a run that is done."""
    path = folder / f"{run.name()}.json"
    return check_result(read_json(path, then="delete it, and the run is done again"), path)


def check_result(result, path: Path) -> dict:
    """What a file holds as a run's result, if it is one; ValueError naming the file."""
    kinds = {"name": str, "run": dict, "metrics": dict, "frames": list}
    whole = isinstance(result, dict) and all(isinstance(result.get(key), kind) for key, kind in kinds.items())
    if not whole or any(task not in result["metrics"] for task in result["run"].get("tasks", ())):
        raise ValueError(f"{path} holds no result of a run: {reprlib.repr(result)}; move it away")
    return result


def submit_study(runs: Sequence[Run], folder: str | Path, cluster: str | None = None, **settings) -> list:
    """A job of a cluster for each run that is not done, by submitit; they share the folder with whoever works there.

    cluster: slurm, local (processes of this machine) or debug (this process); by default slurm where there is one.
    settings: submitit's, such as timeout_min=600, gpus_per_node=1, slurm_partition="gpu". `run_study`, afterwards or
    meanwhile, waits for the jobs. Raises ValueError where submitit is not installed.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError('a cluster needs submitit; install it by pip install "ptsa-lite[cluster]"') from None
    folder = Path(folder).resolve()
    executor = submitit.AutoExecutor(folder / "jobs", cluster)
    executor.update_parameters(name="ptsa_lite", **settings)
    left = _left(runs, folder)
    return executor.map_array(do_run, left, [folder] * len(left)) if left else []


def _left(runs: Sequence[Run], folder: Path) -> list[Run]:
    return [run for run in runs if not (folder / f"{run.name()}.json").is_file()]


def _here(runs: Sequence[Run], folder: Path) -> Iterator[list[Run]]:
    """Does one run after the other in this process until all are done; where others are at all that are left, these."""
    diverged: dict[str, FloatingPointError] = {}

    def done(run: Run) -> bool:
        try:
            return do_run(run, folder)
        except FloatingPointError as error:  # a rate that is too high says nothing about the others
            diverged[run.name()] = error
            return False

    while left := [run for run in _left(runs, folder) if run.name() not in diverged]:
        if any(map(done, left)):
            yield []
        elif left := [run for run in left if run.name() not in diverged]:
            yield left
            time.sleep(LOOK)
    if diverged:
        raise next(iter(diverged.values()))


def _beside(runs: Sequence[Run], folder: Path, jobs: int) -> Iterator[list[Run]]:
    """Has processes of its own make the same call until all are done; now and then, the runs that somebody is at."""
    threads, others = max(1, torch.get_num_threads() // jobs), multiprocessing.active_children()
    spawn = multiprocessing.get_context("spawn")  # nothing is forked: this process may have threads
    pool = ProcessPoolExecutor(jobs, spawn, _begin, (threads,))
    diverged: list[FloatingPointError] = []
    try:
        working = {pool.submit(run_study, runs, folder, report=str) for _ in range(jobs)}  # they tell nobody
        while working:
            done, working = wait(working, LOOK, FIRST_COMPLETED)
            for future in done:
                try:
                    future.result()  # raises what a run has raised
                except FloatingPointError as error:
                    diverged.append(error)
            yield [run for run in _left(runs, folder) if (folder / f"{run.name()}.lock").exists()]
        pool.shutdown()  # a process that is killed leaves semaphores behind
        if diverged:
            raise diverged[0]
    except BrokenProcessPool as error:
        raise OSError(
            f"a process of the study in {folder} was ended from outside, most often for want of memory; "
            "give fewer --jobs, and the same command goes on"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child not in others:
                child.kill()  # whatever it is at goes on after its last epoch
                child.join()


def _begin(threads: int) -> None:
    """What a worker does first: it takes its share of the cores, and is bound to end with its parent."""
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too
    parent = multiprocessing.parent_process().sentinel  # a pipe that closes when it ends, however that happens
    if sys.platform == "linux":  # where loader workers are forked from here, so that no thread may watch
        import fcntl

        fcntl.fcntl(parent, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent, fcntl.F_SETFL, fcntl.fcntl(parent, fcntl.F_GETFL) | os.O_ASYNC)  # SIGIO ends this process
        if wait_for_end([parent], 0):
            os._exit(1)
    else:
        threading.Thread(target=lambda: (wait_for_end([parent]), os._exit(1)), daemon=True).start()


class _Watch:
    """Names a run whose folder has not changed for `PATIENCE`, and again after as long."""

    def __init__(self, folder: Path, report: Callable[[str], None]):
        self.folder, self.report = folder, report
        self.seen: dict[str, tuple] = {}  # by run: its newest change, and when that was first seen

    def __call__(self, at_work: Sequence[Run]) -> None:
        now = time.monotonic()
        self.seen = {run.name(): self.seen.get(run.name(), (None, now)) for run in at_work}
        for name, (before, since) in self.seen.items():
            newest = _changes(self.folder / name)
            if newest == before and now - since <= PATIENCE:
                continue
            self.seen[name] = newest, now
            if newest == before:
                self.report(f"{name} has made no progress for {tqdm.format_interval(now - since)}: no epoch of it has "
                            "ended; if that is too long, stop this study, and the same command goes on")  # fmt: skip


def _changes(folder: Path) -> list[int]:
    """When a folder's files changed last; nothing where it is not there, or goes while one looks: its run is done."""
    try:
        return sorted(entry.stat().st_mtime_ns for entry in os.scandir(folder))
    except FileNotFoundError:
        return []


def processes(wanted: int, limits: Sequence[Path] = LIMITS) -> int:
    """As many of the processes wanted as the memory has room for beside each other; always one.

    The memory is the machine's, or the share of it that a container may use.
    """
    texts = [path.read_text().strip() for path in limits if path.is_file()]
    has = [float(text) for text in texts if text.isdigit()]  # "max" is no limit
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system has these names
        has.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    return int(max(1, min([wanted, *(one // PROCESS for one in has)])))
