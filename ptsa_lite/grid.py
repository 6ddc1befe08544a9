"""A study as a YAML file: the settings that all runs share, and the lists that are multiplied out."""

import itertools
from pathlib import Path

import yaml

from .study import Run
from .tasks import default_tasks, known
from .tree import TaskTree


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
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for key in content:
        known(key, ("name", "base", "grid", "runs"), f"part of {path}")
    base = content.get("base", {})
    base = {"tasks": list(default_tasks(base.get("data", "scenes"))), "root": root} | base
    grid, own = content.get("grid", {}), content.get("runs", [{}])
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    settings = (_join(base, point, one) for point in points for one in own)
    return content.get("name", path.stem), [Run.from_dict(one) for each in settings for one in _with_trees(each)]


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
