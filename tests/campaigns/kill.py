"""SIGKILL at random moments, many times: what is started again must end as if nobody had touched it.

    python tests/campaigns/kill.py --kills 200 --seed 0 --out figures/results/campaigns.json

A round forks a process that works, kills it after a random part of the time that it usually takes, looks at what it
left, and starts it again in the same place; when it has finished undisturbed, its end is compared with the expected one
and the next round begins in an empty place. Whatever must not be is a loss, told with the seed that leads to it again.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch  # noqa: E402
from archives import write_nyud  # noqa: E402
from campaigns.record import record  # noqa: E402
from campaigns.series import Building, Reproducing  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tiny import tiny_backbone  # noqa: E402

from ptsa_lite.data import cache  # noqa: E402
from ptsa_lite.data.disk import read_json  # noqa: E402
from ptsa_lite.data.prepared import prepare_archive  # noqa: E402
from ptsa_lite.experiments import run as one_run  # noqa: E402
from ptsa_lite.experiments.queue import run_study  # noqa: E402
from ptsa_lite.experiments.run import Run  # noqa: E402
from ptsa_lite.experiments.train import train_run  # noqa: E402
from ptsa_lite.training.checkpoints import Checkpoint, read_history  # noqa: E402

FORK = multiprocessing.get_context("fork")
CONFIG = {"epochs": 6, "batch_size": 2, "lr": 1e-3, "warmup_epochs": 1, "eval_every": 2}
SMALL = dict(tasks=("semseg",), n_frames=4, img_size=32, config=CONFIG)


def quiet(line):
    pass


class Training:
    """A training by `train`: its epochs never become fewer, and it ends with the same weights, bit for bit."""

    def __init__(self, archive: Path):
        self.run = Run("bitfit", **SMALL)

    def work(self, place: Path) -> None:
        train_run(self.run, place / "run", quiet)

    def state(self, place: Path) -> dict:
        """How far it is: what a later start must not fall behind."""
        path = place / "run" / "checkpoint.pt"
        return {"epochs": len(torch.load(path, weights_only=True)["history"]) if path.exists() else 0}

    def end(self, place: Path):
        run = place / "run"
        losses = [epoch["losses"] for epoch in read_history(run)]
        weights = {name: load_file(run / f"{name}.safetensors") for name in ("last", "best")}
        return (
            losses,
            {f"{n}/{k}": v.tolist() for n, w in weights.items() for k, v in w.items()},
            read_json(run / "result.json")["metrics"],
        )


class Writing:
    """A checkpoint written again and again: at any moment a whole one can be read, and never an older one."""

    N = 60

    def __init__(self, archive: Path):
        self.model = torch.nn.Linear(400, 400)

    def work(self, place: Path) -> None:
        checkpoint, optimizer = Checkpoint(place, {"seed": 0}), torch.optim.SGD(self.model.parameters())
        history = checkpoint.restore(self.model, optimizer)
        for epoch in range(len(history), self.N):
            torch.nn.init.constant_(self.model.weight, epoch + 1)
            history.append({"epoch": epoch + 1})
            checkpoint.save(self.model, optimizer, history)

    def state(self, place: Path) -> dict:
        model, there = torch.nn.Linear(400, 400), (place / "checkpoint.pt").exists()
        history = Checkpoint(place, {"seed": 0}).restore(model, torch.optim.SGD(model.parameters())) if there else []
        assert not history or (model.weight == len(history)).all(), "weights of another epoch"
        return {"epochs": len(history)}

    def end(self, place: Path):
        return [epoch["epoch"] for epoch in read_history(place)]


class Preparing:
    """`data prepare`: finished parts stay as they are, and all parts are those of an undisturbed preparation."""

    def __init__(self, archive: Path):
        self.archive = archive

    def work(self, place: Path) -> None:
        prepare_archive("nyud", self.archive, place / "out", img_size=32, report=quiet)

    def state(self, place: Path) -> dict:
        parts = list(place.glob("out/*/*.arrow"))
        assert all(map(cache.intact, parts)), "a half-written part"
        return {path.name: path.stat().st_mtime_ns for path in parts}

    def end(self, place: Path):
        return sorted(path.name for path in place.glob("out/*/*.arrow")), read_json(place / "out" / "prepared.json")


class Studying:
    """A grid of runs: what is done is not done again, and every result is that of an undisturbed run."""

    def __init__(self, archive: Path):
        config = CONFIG | {"epochs": 2}
        self.runs = [Run("bitfit", seed=seed, **SMALL | {"config": config}) for seed in range(3)]

    def work(self, place: Path) -> None:
        run_study(self.runs, place / "study", report=quiet)

    def state(self, place: Path) -> dict:
        done = {path.name: path.stat().st_mtime_ns for path in place.glob("study/*.json")}
        assert all(read_json(place / "study" / name) for name in done), "half a result"
        return done

    def end(self, place: Path):
        results = [read_json(place / "study" / f"{run.name()}.json") for run in self.runs]
        return [[result["metrics"], result["losses"]] for result in results]


KINDS = {
    "train": Training, "checkpoint": Writing, "prepare": Preparing, "study": Studying, "build": Building,
    "reproduce": Reproducing,
}  # fmt: skip


def begin(work: Callable, place: Path):
    def run():
        torch.set_num_threads(1)
        sys.stdout = sys.stderr = (place.parent / "said").open("w")
        work(place)

    process = FORK.Process(target=run)
    process.start()
    return process


def behind(before: dict, after: dict) -> str:
    """What a later state has lost of an earlier one; nothing, as it should be."""
    for key, value in before.items():
        if key not in after or (after[key] < value if key == "epochs" else after[key] != value):
            return f"{key} was {value} and is {after.get(key)}"
    return ""


def campaign(kind: str, kills: int, seed: int, folder: Path, archive: Path) -> Counter:
    """So many kills of one kind; counts of kills, finished rounds and losses, each of which is printed."""
    rng, worker, counts = random.Random(f"{kind} {seed}"), KINDS[kind](archive), Counter(kills=0, rounds=0, losses=0)
    place = _fresh(folder)
    started = time.monotonic()
    process = begin(worker.work, place)
    process.join()
    usual, expected = time.monotonic() - started, worker.end(place)
    place, before = _fresh(folder), {}
    while counts["kills"] < kills:
        process = begin(worker.work, place)
        process.join(rng.uniform(0, 1.1 * usual))
        killed = process.is_alive()
        if killed:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        counts["kills"] += killed
        try:
            after = worker.state(place)
            lost = behind(before, after)
            if not killed:
                lost = lost or (f"it failed: {(folder / 'said').read_text()[-300:]}" if process.exitcode else "")
                lost = lost or ("another end" if worker.end(place) != expected else "")
        except Exception as error:
            lost, after = f"{type(error).__name__}: {error}", before
        if lost:
            print(f"{kind}, seed {seed}, after {counts['kills']} kills: {lost}", flush=True)
        if killed and counts["kills"] % 10 == 0:
            print(f"{kind}: {dict(counts)}", flush=True)
        counts["losses"] += bool(lost)
        counts["rounds"] += not killed
        place, before = (place, after) if killed and not lost else (_fresh(folder), {})
    return counts


def _fresh(folder: Path) -> Path:
    place = folder / "place"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def run(kills: int, seed: int, kinds=tuple(KINDS), keep: Callable[[dict], None] = lambda counts: None) -> dict:
    """Counts by kind, `kills` shared by all of them; `keep` is given them after each kind, for it may be killed too."""
    one_run.load_backbone = lambda name, weights, img_size, **_: tiny_backbone(img_size)
    cache.PART = 2
    folder = Path(tempfile.mkdtemp())
    os.environ["PTSA_CACHE"] = str(folder / "cache")
    archive = write_nyud(folder / "archive", train=16, val=6)
    try:
        counts = {}
        for kind in kinds:
            counts[kind] = dict(campaign(kind, -(-kills // len(kinds)), seed, folder, archive))
            keep(counts)
        return counts
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="default: all")
    parser.add_argument("--out", type=Path, help="a JSON file, in which the counts of these kinds are replaced")
    args = parser.parse_args()
    counts = run(args.kills, args.seed, args.kinds, keep=lambda counts: record("kill", counts, args.out))
    sys.exit(any(kind["losses"] for kind in counts.values()))
