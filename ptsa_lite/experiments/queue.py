"""A grid of trainings (method x tree x rank x seed), one result file a run; resumable, shared by several processes.

A folder of results is the whole state: `NAME.json` is a finished run, `NAME/` the checkpoint of an unfinished one, and
a locked `NAME.claim` says that some process works on it. A process takes the next run that is neither finished nor
claimed; so the same call, made again after any interruption, or at the same time by another process or machine that
sees the folder, does what is left. The system itself gives a lock back when its process ends, however it ends.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import torch

from ptsa_lite.data.claims import claim
from ptsa_lite.data.disk import make_folder, read_json, write_json
from ptsa_lite.methods import METHODS
from ptsa_lite.training.progress import clock_time

from .memory import processes
from .run import Run, execute_run


def run_study(
    runs: Sequence[Run], folder: str | Path, jobs: int = 1, report: Callable[[str], None] = print
) -> list[dict]:
    """Do every run that is not done, and wait for those that other processes do; all results, in the order of `runs`.

    jobs: processes on this machine, each with its share of the cores, fewer where its memory does not hold as many.
    Checkpoints of finished runs are removed.
    A run that fails raises here, also if it failed in a helper first: this process then takes it up where that one
    stopped. What else helpers had to say is in folder/helper-N.log.
    """
    folder = make_folder(Path(folder))
    runs, jobs = list({run.name(): run for run in runs}.values()), processes(jobs)
    helpers = _start_helpers(runs, folder, jobs - 1) if len(_left(runs, folder)) > 1 else []
    threads = torch.get_num_threads()
    try:
        if helpers:
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
        _work(runs, folder, report)
    finally:
        torch.set_num_threads(threads)
        for helper in helpers:
            helper.terminate()
            helper.wait()
        (folder / f"queue-{os.getpid()}.json").unlink(missing_ok=True)
    return [_result(run, folder) for run in runs]


def collected(path: str | Path) -> list[dict]:
    """The results that a file of `collect` holds; none where there is no such file."""
    path = Path(path)
    return read_json(path, then="move it away, and the study begins anew")["runs"] if path.is_file() else []


def restore(results: Sequence[dict], runs: Sequence[Run], folder: str | Path) -> int:
    """Lay results of these runs into the study's folder, where it has none: they are done. How many were laid."""
    folder, names = make_folder(Path(folder)), {run.name() for run in runs}
    new = [r for r in results if r["name"] in names and not (folder / f"{r['name']}.json").exists()]
    for result in new:
        write_json(folder / f"{result['name']}.json", result, shared=True)
    return len(new)


def collect(runs: Sequence[Run], folder: str | Path, path: str | Path, command: str) -> int:
    """Write every result that is there into one file, in the order of `runs`; returns how many are still to do.

    The file names the command that makes it, and the labels of these runs, whatever they were called when they ran.
    """
    folder, runs = Path(folder), list({run.name(): run for run in runs}.values())
    done = [run for run in runs if (folder / f"{run.name()}.json").is_file()]
    results = [_result(run, folder) for run in done]
    for run, result in zip(done, results, strict=True):
        result["run"]["label"] = run.label
    make_folder(Path(path).parent)
    write_json(Path(path), {"command": command, "left": len(runs) - len(done), "runs": results}, shared=True)
    return len(runs) - len(done)


def _left(runs: Sequence[Run], folder: Path) -> list[Run]:
    return [run for run in runs if not (folder / f"{run.name()}.json").is_file()]


def _result(run: Run, folder: Path) -> dict:
    return read_json(folder / f"{run.name()}.json", then="delete it, and the run is done again")


def _work(runs: Sequence[Run], folder: Path, report: Callable[[str], None]) -> None:
    """Take runs that nobody has until every one is done, by whomever; a line for each as it is done."""
    started, left = time.monotonic(), _left(runs, folder)
    before = len(runs) - len(left)
    if before:
        report(f"{before} of {len(runs)} runs were done before")
    while left:
        if not any(_do(run, folder) for run in left):
            time.sleep(0.2)  # others are at what is left
        still = _left(runs, folder)
        pace = (time.monotonic() - started) / max(1, len(runs) - len(still) - before)
        for number, run in enumerate((run for run in left if run not in still), len(runs) - len(left) + 1):
            shown = ", ".join(f"{task} {value:.3g}" for task, value in _result(run, folder)["metrics"].items())
            report(f"{number}/{len(runs)}  {run.label or METHODS[run.method]}, seed {run.seed}: {shown}; "
                   f"{clock_time(pace * len(still))} left")  # fmt: skip
        left = still


def _do(run: Run, folder: Path) -> bool:
    """Execute a run unless it is done or another process is at it; whether it was executed here."""
    path = folder / f"{run.name()}.json"
    with claim(path.with_suffix(".claim")) as mine:
        if not mine or path.is_file():  # it may have been finished between the look and the claim
            return False
        checkpoint = folder / run.name()
        result = execute_run(run, checkpoint, report=lambda line: None)
        write_json(path, result)
        for file in checkpoint.glob("*"):
            file.unlink()
        checkpoint.rmdir()
        return True


def _start_helpers(runs: Sequence[Run], folder: Path, n: int) -> list[subprocess.Popen]:
    """Further processes that work on the same folder, from the last run backwards."""
    if n < 1:
        return []
    queue = folder / f"queue-{os.getpid()}.json"
    queue.write_text(json.dumps([asdict(run) for run in reversed(runs)]))
    environment = os.environ | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // (n + 1)))}
    command = [sys.executable, "-m", "ptsa_lite.experiments.queue", str(queue), str(folder)]
    helpers = []
    for number in range(1, n + 1):
        with (folder / f"helper-{number}.log").open("w") as log:
            helpers.append(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment)
            )
    return helpers


def _end_with(parent: IO) -> None:
    """A helper's watch: its standard input ends when the process that started it does, however that ends."""
    parent.read()
    os._exit(1)


if __name__ == "__main__":
    queue, folder = map(Path, sys.argv[1:3])
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    _work([Run.from_dict(run) for run in json.loads(queue.read_text())], folder, lambda line: print(line, flush=True))
