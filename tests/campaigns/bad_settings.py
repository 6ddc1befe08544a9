"""Settings with something wrong: of a training, trees, groups, ranks, YAML files of runs and of grids, --set."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import yaml
from campaigns import junk
from campaigns.cases import Case, sound_run, written

from ptsa_lite.experiments.settings import changes_of, read_run, read_runs
from ptsa_lite.lora import GroupedLoRALinear
from ptsa_lite.model import check_ranks
from ptsa_lite.recipe import TrainConfig, learning_rate
from ptsa_lite.tasks import NYUD, PASCAL
from ptsa_lite.tree import TaskTree

FOUR = tuple(NYUD)
TREE = next(TaskTree.enumerate(FOUR, (1, 1, 2, 4)))
CONFIG = TrainConfig(epochs=30).to_dict()
PLAN = {"data": "scenes", "tasks": list(PASCAL), "method": "ptsa", "tree": [1, 1, 2, 4], "rank": [4, 4, 2, 2],
        "img_size": 64, "n_frames": 16, "config": {"epochs": 4, "batch_size": 8, "warmup_epochs": 1},
        "similarity": {"epochs": 1, "frames": 4},
        "rows": {"one": {"rank": 2}, "two": {"seed": 1}}}  # fmt: skip
GRID = {"data": "nyud", "img_size": 64, "config": {"epochs": 4, "warmup_epochs": 1},
        "grid": {"seed": [0, 1], "rank": [2, [4, 4, 2, 2]]},
        "runs": [{"method": "bitfit"}, {"method": "ptsa", "tree": str(TREE)},
                 {"method": "ptsa", "tree": TREE.to_dict()},
                 {"method": "ptsa", "tree": {"every": [1, 1, 2, 4]}, "config": {"lr": 1e-3}}]}  # fmt: skip


def configurations(rng: random.Random, folder: Path) -> Iterator[Case]:
    def holds(config):
        rates = [learning_rate(step, config, 7) for step in (0, 1, 50, 7 * min(config.epochs, 10**9) - 1)]
        again = TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        sizes = min(config.batch_size, config.accumulate, config.eval_every) > 0 and config.clip_norm > 0
        return all(0 <= rate < float("inf") for rate in rates) and sizes and again == config

    while True:
        settings = junk.spoilt(rng, CONFIG) if rng.random() < 0.9 else junk.value(rng)
        yield Case(lambda s=settings: TrainConfig.from_dict(s), "|".join((*CONFIG, "setting")), holds, settings)


def trees(rng: random.Random, folder: Path) -> Iterator[Case]:
    def holds(tree):
        sets = [[set(group) for group in stage] for stage in tree.stages]
        whole = all(sorted(task for group in stage for task in group) == sorted(tree.tasks) for stage in sets)
        nested = all(any(g <= parent for parent in a) for a, b in zip(sets, sets[1:], strict=False) for g in b)
        once = len(set(tree.tasks)) == len(tree.tasks)
        return whole and nested and once and TaskTree.from_dict(tree.to_dict()) == tree

    def text():
        words = [rng.choice((*FOUR, "+", "|", ">", " ", "")) for _ in range(rng.randrange(16))]
        return "".join(words) if rng.random() < 0.5 else str(TREE).replace(rng.choice(("+", "|", ">", "d")), "", 1)

    while True:
        kind = rng.randrange(4)
        if kind == 0:
            given = junk.spoilt(rng, TREE.to_dict())
            yield Case(lambda g=given: TaskTree.from_dict(g), "tree|stage|task|group", holds, given)
        elif kind == 1:
            given = text()
            yield Case(lambda g=given: TaskTree.parse(g), "tree|stage|task|group", holds, given)
        elif kind == 2:
            given = junk.spoilt(rng, [1, 1, 2, 4]) if rng.random() < 0.8 else junk.value(rng)
            yield Case(lambda g=given: next(TaskTree.enumerate(FOUR, g)), "groups", holds, given)
        else:
            given = junk.spoilt(rng, np.eye(4).tolist())
            yield Case(lambda g=given: TaskTree.from_similarity(g, FOUR, (1, 1, 2, 4)), "similarity", holds, given)


def ranks(rng: random.Random, folder: Path) -> Iterator[Case]:
    base = torch.nn.Linear(8, 4)

    def act(given):
        found = check_ranks(given, 4)
        return found, [GroupedLoRALinear(base, 2, rank) for rank in found if rank]

    while True:
        given = junk.spoilt(rng, [4, 4, 2, 2]) if rng.random() < 0.6 else junk.value(rng)
        yield Case(lambda g=given: act(g), "rank", lambda found: all(0 <= rank <= 4 for rank in found[0]), given)


def plans(rng: random.Random, folder: Path) -> Iterator[Case]:
    known = "|".join((*PLAN, *CONFIG, "plan.yaml", "setting", "--set", "groups", "task", "frames", "row"))
    while True:
        good, row, changes = yaml.safe_dump(PLAN).encode(), rng.choice(("one", "two", "three", "")), {}
        kind = rng.randrange(3)
        content = junk.spoilt(rng, PLAN) if kind == 0 else junk.damaged(rng, good) if kind == 1 else good
        path = written(folder, "plan.yaml", content)
        if kind == 2:
            key = rng.choice((*PLAN, "config.epochs", "config.lr", "config.", ".", "", "similarity.frames", "x.y"))
            foreign = rng.choice(("[", "&a [*a]", "!!python/name:os"))
            value = json.dumps(junk.value(rng)) if rng.random() < 0.8 else foreign
            changes = [f"{key}={value}" if rng.random() < 0.9 else key]

        def act(path=path, row=row, changes=changes):
            return read_run(path, row, changes_of(changes))

        yield Case(act, known, sound_run, changes or content)


def grids(rng: random.Random, folder: Path) -> Iterator[Case]:
    known = "|".join((*CONFIG, "grid.yaml", "setting", "groups", "tree", "task", "rank", "method", "data", "img_size",
                      "must be"))  # fmt: skip
    while True:
        content = junk.spoilt(rng, GRID) if rng.random() < 0.7 else junk.damaged(rng, yaml.safe_dump(GRID).encode())
        path = written(folder, "grid.yaml", content)
        yield Case(lambda p=path: read_runs(p), known, lambda found: all(map(sound_run, found)), content)
