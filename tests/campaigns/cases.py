"""A bad input, and what became of it."""

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from ptsa_lite.experiments.run import Run
from ptsa_lite.tree import TaskTree


@dataclass
class Case:
    """One bad input: what is done with it, what a refusal must name, what must hold of whatever it gives."""

    act: Callable
    name: str  # a regular expression
    holds: Callable = lambda result: True
    shown: object = None


def outcome(case: Case) -> tuple[str, str]:
    """(refused, handled, unclear, silent or wrong kind; the words for it)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = case.act()
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        clear = 10 < len(text) < 700 and "\n" not in text and re.search(case.name, text)
        return ("refused" if clear else "unclear"), text[:400]
    except BaseException as error:
        return "wrong kind", f"{type(error).__name__}: {str(error)[:300]}"
    try:
        return ("handled" if case.holds(result) else "silent"), repr(result)[:200]
    except Exception as error:
        return "silent", f"{type(error).__name__} afterwards: {str(error)[:300]}"


def written(folder: Path, name: str, content) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())
    return path


def sound_run(run) -> bool:
    """What a run that was read from a file must be: its name can be made, and what it says is what its file said."""
    again = Run.from_dict(json.loads(json.dumps(asdict(run))))
    tasks, tree = set(run.tasks), run.tree and TaskTree.from_dict(run.tree)
    numbers = (run.img_size > 0, (run.n_frames or 1) > 0, run.seed >= 0, 0 <= run.dropout < 1, 0 <= run.drop_path < 1)
    ok = again == run and re.fullmatch(r"[a-z_]+-r[\d-]+-s\d+-[0-9a-f]{8}", run.name()) and all(numbers) and tasks
    return bool(ok) and (not tree or (set(tree.tasks) == tasks and len(tree.stages) == 4))
