"""The results of a study in one file, which only ever gains: what a grid no longer names is kept beside the rest.

    command      what makes the file again
    left         how many runs of the grid are still to be done
    runs         their results, in the order of the grid
    others       results of runs that the grid once named

Whatever else somebody wrote into the file stays as it is.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from filelock import FileLock

from ptsa_lite.data import count_frames
from ptsa_lite.data.disk import make_folder, read_json, write_json
from ptsa_lite.data.listing import ARCHIVES

from .queue import check_result, result_in
from .run import Run


def collected(path: str | Path) -> list[dict]:
    """The results of a file's grid; none where there is no such file."""
    return _read(Path(path))["runs"]


def restore(path: Path, runs: Sequence[Run], folder: Path) -> int:
    """Lay the file's results of these runs into the study's folder, where it has none: they are done. How many.

    Raises ValueError where one is of another run than its name says, and where they were measured on other numbers of
    frames than the archive has now.
    """
    content, wanted, counted = _read(path), {run.name(): run for run in runs}, cache(count_frames)
    found = {r["name"]: r for r in (*content["others"], *content["runs"]) if r["name"] in wanted}
    for name, result in found.items():
        run = wanted[name]
        theirs = {key: value for key, value in result["run"].items() if key in vars(run)}
        if Run.from_dict(theirs | {"root": run.root, "weights": run.weights}).name() != name:
            raise ValueError(f"{path} holds under {name} a result of another run; give it its own name, or take it out")
        if isinstance(run.data, str) and run.data in ARCHIVES and run.root and not run.holdout:
            there = [counted(run.data, run.root, split, run.n_frames) for split in ("train", "val")]
            if there != result["frames"]:
                raise ValueError(
                    f"{path} holds results on {result['frames'][0]} and {result['frames'][1]} frames, {run.root} has "
                    f"{there[0]} and {there[1]}: they belong in two files; give the settings another name"
                )
    new = [result for name, result in found.items() if not (make_folder(folder) / f"{name}.json").exists()]
    for result in new:
        write_json(folder / f"{result['name']}.json", result, shared=True)
    return len(new)


def check_changes(path: Path, runs: Sequence[Run], unchanged: Sequence[Run]) -> None:
    """Raises ValueError where the file holds results of a grid as it stands, which are none of its changed runs."""
    theirs = {run.name() for run in unchanged} - {run.name() for run in runs}
    if n := sum(result["name"] in theirs for result in collected(path)):
        words = "write the change into a copy of the grid, under a name of its own"
        raise ValueError(f"{path} holds {n} results of the grid as it stands, which --set would put aside; {words}")


def remove_empty(path: Path) -> None:
    """Remove a file that holds no result yet, and its lock."""
    content = _read(path)
    if not content["runs"] + content["others"] and content.keys() == {"command", "left", "runs", "others"}:
        path.unlink(missing_ok=True)
        with suppress(PermissionError):  # Windows keeps a file that is open
            _lock_of(path).unlink(missing_ok=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def collect(
    runs: Sequence[Run], folder: Path, path: Path, command: str, report: Callable[[str], None] = print,
    grid: Sequence[Run] = (),
) -> int:  # fmt: skip
    """Write every result that is there into one file, in the order of the grid; returns how many runs are still to do.

    The file names the command that makes it, and the labels of these runs, whatever they were called when they ran.
    grid: all runs of the grid, where `runs` are but some of them: the results of the others stay as they are.
    """
    make_folder(path.parent)
    with FileLock(_lock_of(path)):  # whatever folders their runs are in
        content, wanted = _read(path), {run.name(): run for run in grid or runs}
        known = {result["name"]: result for result in (*content["others"], *content["runs"])}
        known |= {name: result_in(folder, run) for name, run in wanted.items() if (folder / f"{name}.json").is_file()}
        for name in wanted.keys() & known.keys():
            known[name]["run"]["label"] = wanted[name].label
        others = [result for name, result in known.items() if name not in wanted]
        if len(others) > len(content["others"]):
            report(f"{len(others)} results that these settings no longer name are kept in {path}, under others")
        left = len({run.name() for run in runs} - known.keys())
        kept = {key: value for key, value in content.items() if key not in ("command", "left", "runs", "others")}
        results = {"runs": [known[name] for name in wanted if name in known]} | ({"others": others} if others else {})
        write_json(path, {"command": command, "left": left} | kept | results, shared=True)
    return left


def _read(path: Path) -> dict:
    there = read_json(path, then="move it away, and the study begins anew") if path.is_file() else {}
    content = {"runs": [], "others": []} | there
    once: dict[str, dict] = {}
    for key in ("runs", "others"):
        found = content[key] if isinstance(content[key], list) else [content[key]]
        content[key] = [check_result(result, path) for result in found]
        for result in content[key]:
            if once.setdefault(result["name"], result)["metrics"] != result["metrics"]:
                raise ValueError(f"{path} holds two results of {result['name']} that differ; take one of them out")
    return content
