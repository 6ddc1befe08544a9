"""A full training as one YAML file: read, trained in a folder that is the whole state, evaluated from it.

    run.json              what is trained: a `run.Run`
    similarity.json       what the tree was grown from, where the file asks for that
    checkpoint.pt         the last epoch; training goes on from it
    history.json          a record for every epoch
    last.safetensors      what was trained, after the last epoch: the result
    best.safetensors      the same after the evaluation that was best on the test frames, which makes it no fair result
    result.json           metrics of the last epoch, parameters, multiply-adds, versions
"""

import math
import reprlib
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path

from torch import nn

from ptsa_lite.data.disk import alone, read_json, write_json
from ptsa_lite.metrics import delta_m
from ptsa_lite.tasks import Task, default_tasks, known
from ptsa_lite.training import distributed
from ptsa_lite.training.adapters import load_adapters, read_metadata, save_adapters
from ptsa_lite.training.checkpoints import read_history
from ptsa_lite.training.loop import describe, evaluate, train_epochs
from ptsa_lite.tree import TaskTree

from .grow import check_settings as check_similarity
from .grow import grow
from .run import Run, make_model, open_sets, result_of, run_config, run_tasks
from .run_settings import check_frames, check_run
from .yaml_files import read_yaml

PARTS = ("include", "rows", "similarity")


@dataclass(frozen=True)
class Plan:
    """What a file asks for: a run, and how its tree is grown where none is given."""

    name: str
    run: Run
    groups: tuple[int, ...] = ()  # per stage, of the tree that is to be grown
    similarity: dict = field(default_factory=dict)  # arguments of `grow`


def read_plan(path: str | Path, row: str = "", changes: Mapping | None = None) -> Plan:
    """The plan of a file such as

        include: recipe.yaml               # settings that this file's replace
        data: pascal
        root: PATH
        method: ptsa
        tree: [1, 1, 2, 4]                 # groups a stage, grown by similarity; or a tree as trees are printed
        rank: [64, 64, 16, 16]
        img_size: 448
        config: {epochs: 300}              # of TrainConfig
        rows: {mtlora_r16: {method: mtlora, rank: 16}, ...}

    Every key but include, rows and similarity is a setting of `run.Run`. Of a file with rows one must be named: its
    settings replace the file's. `changes` replace these; "config.epochs" names a setting of the training.
    path: also the name of a file of this package, pascal or nyud. Raises FileNotFoundError, or ValueError with the
    nearest name for an unknown one.
    """
    path = _find(path)
    settings = _read(path)
    rows = settings.pop("rows", {})
    if not all(isinstance(one, dict) for one in rows.values()):
        raise ValueError(f"{path}: a row maps settings to values, such as `small: {{rank: 4}}`")
    if rows and not row:
        raise ValueError(f"{path.name} holds several rows; name one of: {', '.join(rows)}")
    if row:
        settings = _join(settings, rows[known(row, rows, f"row of {path.name}")])
    for key, value in (changes or {}).items():
        outer, _, inner = key.partition(".")
        settings = _join(settings, {outer: {inner: value} if inner else value})
    similarity = settings.pop("similarity", {})
    check_similarity(similarity)
    settings.setdefault("tasks", list(default_tasks(settings.get("data", "scenes"))))
    tree, groups = settings.get("tree"), ()
    if isinstance(tree, list):
        settings["tree"], groups = None, tuple(tree)
    elif isinstance(tree, str):
        settings["tree"] = TaskTree.parse(tree).to_dict()
    check_run(settings, groups)
    return Plan(f"{path.stem}-{row}" if row else path.stem, Run.from_dict(settings), groups, similarity)


def rows_of(path: str | Path) -> list[str]:
    """The names of a file's rows; none where the file is one run."""
    return list(_read(_find(path)).get("rows", {}))


def _find(path: str | Path) -> Path:
    packaged = {file.stem: file for file in Path(str(files("ptsa_lite") / "configs")).glob("*.yaml")}
    if Path(path).is_file():
        return Path(path)
    if str(path) in packaged:
        return packaged[str(path)]
    raise FileNotFoundError(f"no configuration at {path}; give a YAML file, or one of {', '.join(sorted(packaged))}")


def _read(path: Path, includers: tuple[Path, ...] = ()) -> dict:
    settings = read_yaml(path)
    for key in ("config", "similarity", "rows"):
        if not isinstance(settings.get(key, {}), dict):
            raise ValueError(f"{path}: {key} must map names to values, not be {reprlib.repr(settings[key])}")
    included = settings.pop("include", "")
    if not included:
        return settings
    inner, includers = path.parent / str(included), (*includers, path.resolve())
    if not inner.is_file() or inner.resolve() in includers:
        raise ValueError(f"{path} includes {included}, which {'includes it' if inner.is_file() else 'is no file'}")
    return _join(_read(inner, includers), settings)


def _join(first: Mapping, second: Mapping) -> dict:
    """second over first; what are maps in both are joined one level down."""
    joined = {**first, **second}
    for key in ("config", "similarity", "rows"):
        if isinstance(first.get(key), dict) and isinstance(second.get(key), dict):
            joined[key] = {**first[key], **second[key]}
    return joined


def train_plan(plan: Plan, folder: str | Path, report: Callable[[str], None] = print) -> dict:
    """Trains a plan's run in a folder, or goes on there, and returns its result; started by torchrun, with the others.

    Only the first process reports and writes. Raises ValueError where the folder holds another run, where another
    training is at work in it, or where the plan cannot be carried out: that is told before anything heavy starts.
    """
    folder = Path(folder)
    with distributed.processes():
        check_plan(plan)
        with _alone(folder):
            return _train(plan, folder, report)


def _train(plan: Plan, folder: Path, report) -> dict:
    first = distributed.rank() == 0
    say = report if first else lambda line: None
    run = _settled(plan, folder, say)
    tasks, sets, model = run_tasks(run), open_sets(run), make_model(run)
    say(f"{plan.name}: {len(sets[0])} frames to train on, {len(sets[1])} to measure on; writes to {folder}")
    epochs = train_epochs(model, *sets, tasks, run_config(run), folder)  # restores what was done before
    keep_best(model, tasks, folder)
    for record in epochs:
        say(describe(record, tasks))
        keep_best(model, tasks, folder)
    result = result_of(run, model, read_history(folder), sets)
    if first:
        size = save_adapters(model, folder / "last.safetensors", run=asdict(run), metrics=result["metrics"])
        say(f"what was trained: {size / 1e6:.1f} MB in {folder / 'last.safetensors'}")
        write_json(folder / "result.json", result)
    return result


def check_plan(plan: Plan) -> None:
    """Builds the model once, on any tree with the wanted groups, and counts the frames that are listed.

    So a rank above a layer's width, weights that do not fit, an image size that the backbone cannot take or a batch
    larger than the data are told in the first seconds, not after an archive was decoded and a similarity measured.
    """
    run = plan.run
    check_frames(run)
    if plan.groups:
        run = replace(run, tree=next(TaskTree.enumerate(run.tasks, plan.groups)).to_dict())
    make_model(run)


@contextmanager
def _alone(folder: Path):
    """The folder for this training alone: the first process holds it, and the others hear whether it could."""
    with ExitStack() as held:
        refused = None
        if distributed.rank() == 0:
            try:
                held.enter_context(alone(folder))
            except (ValueError, OSError) as error:
                refused = error
        refused = distributed.first_says(refused)
        if refused:
            raise refused
        yield


def _settled(plan: Plan, folder: Path, say) -> Run:
    """The run with its tree, as the folder's run.json has it or will have it from now on."""
    path, run = folder / "run.json", plan.run
    if plan.groups:
        run = replace(run, tree=grow(run, plan.groups, folder, say, **plan.similarity).to_dict())
    if path.is_file() and read_run(folder).name() != run.name():
        raise ValueError(f"{folder} holds another run ({read_run(folder).name()}); give another --out")
    if distributed.rank() == 0:
        write_json(path, asdict(run))
    return run


def read_run(folder: str | Path) -> Run:
    """The run that a folder was made for."""
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no run.json; give a folder that `python -m ptsa_lite train` wrote")
    settings = read_json(path, then="train again into another folder")
    try:
        check_run(settings)
        return Run.from_dict(settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def keep_best(model: nn.Module, tasks: dict[str, Task], folder: Path) -> None:
    """Writes best.safetensors if the last epoch is the best one evaluated so far, by `score`."""
    history = read_history(folder) if (folder / "history.json").is_file() else []
    evaluated = [record for record in history if record["metrics"]]
    if distributed.rank() or not evaluated or evaluated[-1] is not history[-1]:
        return
    best = max(evaluated, key=lambda record: score(record["metrics"], evaluated[0]["metrics"], tasks))
    path = folder / "best.safetensors"
    known_best = path.is_file() and read_metadata(path)["about"].get("epoch") == best["epoch"]
    if best is history[-1] and not known_best:
        words = "picked by its metrics on the test frames: not a fair result"
        save_adapters(model, path, epoch=best["epoch"], metrics=best["metrics"], picked=words)


def score(metrics: Mapping, first: Mapping, tasks: Mapping[str, Task]) -> float:
    """delta_m against the run's own first evaluation, over the tasks that it could measure there."""
    measured = [n for n in tasks if first[n] and math.isfinite(first[n]) and math.isfinite(metrics[n])]
    usable = {n: tasks[n] for n in measured}
    return delta_m(metrics, first, usable) if usable else 0.0


def load_run(folder: str | Path, weights: str = "last", root: str = "") -> tuple[Run, nn.Module]:
    """A folder's run and its model, with the weights that were trained: last or best. Ready for use, on the GPU if any.

    root: where the archive lies now, if not where it did.
    """
    run = read_run(folder)
    run = replace(run, root=root or run.root)
    model = make_model(run)
    load_adapters(model, Path(folder) / f"{known(weights, ('last', 'best'), 'weights')}.safetensors")
    return run, model.eval()


def evaluate_run(folder: str | Path, weights: str = "last", root: str = "", batch_size: int = 0) -> dict:
    """Measures a trained run again: {"metrics", "weights", "frames", ...}; started by torchrun, with the others."""
    started = time.perf_counter()
    with distributed.processes():
        run, model = load_run(folder, weights, root)
        config, val_set = run_config(run), open_sets(run)[1]
        size = batch_size or config.batch_size // config.accumulate
        metrics = evaluate(model, val_set, run_tasks(run), size, config.workers, config.amp)
        return {"run": run.name(), "weights": weights, "metrics": metrics, "frames": len(val_set),
                "seconds": round(time.perf_counter() - started, 1)}  # fmt: skip
