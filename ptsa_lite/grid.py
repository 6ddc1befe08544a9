"""A study as a YAML file: the settings that all runs share, and the lists that are multiplied out."""

import itertools
from pathlib import Path

import yaml

from .study import Run
from .tasks import default_tasks, known


def read_grid(path: str | Path, root: str = "") -> tuple[str, list[Run]]:
    """(name, runs) of a file such as

        name: backbone_nyud
        base: {data: nyud, img_size: 128, config: {epochs: 12}}
        grid: {weights: [pretrained, random], seed: [0, 1, 2]}
        runs: [{method: decoders_only}, {method: lora_shared, rank: 8}]

    Every point of `grid` is joined with every entry of `runs`; the tasks are the data set's usual four.
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
    return content.get("name", path.stem), [Run.from_dict(base | point | one) for point in points for one in own]
