"""A study as a YAML file: the settings that all runs share, and the lists that are multiplied out."""

import itertools
import re
import reprlib
from pathlib import Path

from ptsa_lite.tasks import default_tasks, known
from ptsa_lite.tree import TaskTree

from .run import Run
from .run_settings import check_run
from .yaml_files import read_yaml


def read_grid(path: str | Path, root: str = "") -> tuple[str, list[Run]]:
    """(name, runs) of a file such as

        name: study_nyud
        base: {data: nyud, img_size: 128, config: {epochs: 12}}
        grid: {seed: [0, 1, 2]}
        runs:
          - {method: lora_shared, rank: 8, config: {lr: 2.0e-3}}
          - {method: ptsa, tree: "a+b+c+d > a+b+c+d > a+b | c+d > a | b | c | d"}
          - {method: ptsa, tree: {every: [1, 1, 2, 4]}}

    Every point of `grid` is joined with every entry of `runs`; a later setting of `config` replaces an earlier one; the
    tasks are the data set's usual four. A tree is written as trees are printed; `every` makes one run of each tree with
    these group counts.
    Raises FileNotFoundError, or ValueError naming the unknown part or setting.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no grid at {path}; figures/grids has examples")
    content = read_yaml(path)
    for key in content:
        known(key, ("name", "base", "grid", "runs"), f"part of {path}")
    name, base = content.get("name", path.stem), content.get("base", {})
    grid, own = content.get("grid", {}), content.get("runs", [{}])
    _check(path, name, base, grid, own)
    base = {"tasks": list(default_tasks(base.get("data", "scenes"))), "root": root} | base
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    settings = (_join(base, point, one) for point in points for one in own)
    runs = [one for each in settings for one in _with_trees(each)]
    for one in runs:
        check_run(one)
    return name, [Run.from_dict(one) for one in runs]


def _check(path: Path, name, base, grid, own) -> None:
    """Raises ValueError in one sentence where a part of the file is of another kind than `read_grid` shows."""
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"{path}: name {name!r:.60} names files; write letters, digits, '_' and '-'")
    for key, value, fits, wanted in (
        ("base", base, isinstance(base, dict), "map settings to values"),
        ("grid", grid, isinstance(grid, dict) and all(isinstance(v, list) and v for v in grid.values()),
         "map settings to lists of values"),
        ("runs", own, isinstance(own, list) and own and all(isinstance(one, dict) for one in own),
         "be a list of settings with values, such as `- {method: bitfit}`"),
    ):  # fmt: skip
        if not fits:
            raise ValueError(f"{path}: {key} must {wanted}, not be {reprlib.repr(value)}")
    for part in (base, *own, *({"config": value} for value in grid.get("config", []))):
        if not isinstance(part.get("config", {}), dict):
            raise ValueError(f"{path}: config must map training settings to values, not be {part['config']!r:.60}")


def _join(*parts: dict) -> dict:
    joined = {key: value for part in parts for key, value in part.items()}
    config = {key: value for part in parts for key, value in part.get("config", {}).items()}
    return joined | ({"config": config} if config else {})


def _with_trees(settings: dict) -> list[dict]:
    tree = settings.get("tree")
    if isinstance(tree, str):
        trees = [TaskTree.parse(tree)]
    elif isinstance(tree, dict) and "every" in tree:
        trees = TaskTree.enumerate(settings["tasks"], tree["every"])
    else:
        return [settings]
    return [settings | {"tree": tree.to_dict()} for tree in trees]
