"""How stable is the similarity? The same measurement under other choices, and the tree that each would have grown.

The paper fixes none of them: how long the heads are fitted, which first weights they had, how the losses are weighted,
how many samples are compared, which reading of the formula. A `Condition` is one choice of each. Notebook 08 shows what

    python figures/study_similarity.py --data nyud --root PATH

writes to figures/results, where it goes on with what it finds.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import click
import numpy as np
from torch import nn

from ptsa_lite.data import make_loader
from ptsa_lite.data.disk import make_folder, read_json, write_json
from ptsa_lite.experiments.grow import CHOICE, similarity_on
from ptsa_lite.experiments.run import Run, make_model, open_sets, versions
from ptsa_lite.recipe import TrainConfig
from ptsa_lite.similarity import Similarity
from ptsa_lite.tasks import Task, default_tasks, select
from ptsa_lite.training.loop import train_epochs
from ptsa_lite.training.sameness import differences
from ptsa_lite.tree import TaskTree, tree_score
from ptsa_lite.workshop.border import sentence


@dataclass(frozen=True)
class Condition:
    """One way to measure. The defaults are those of notebook 03 on real frames."""

    name: str = "as in notebook 03"
    epochs: int = 2  # passes over the training frames that fit the heads; 0 leaves them as they were drawn
    seed: int = 0  # of the heads' first weights and of the order of frames
    loss_weights: dict[str, float] = field(default_factory=dict)  # tasks whose weight differs from the recipe's
    n_samples: int = 96


def conditions(tasks: dict[str, Task], n_samples: int = 96) -> list[Condition]:
    """One choice changed at a time: heads drawn anew, fitted shorter or longer, losses weighted otherwise."""
    base = Condition(n_samples=n_samples)
    return [
        base,
        *(replace(base, name=f"heads drawn from seed {seed}", seed=seed) for seed in (1, 2)),
        *(replace(base, name=f"heads fitted for {n} epochs", epochs=n) for n in (0, 1, 4)),
        replace(base, name="all loss weights 1", loss_weights=dict.fromkeys(tasks, 1.0)),
        *(replace(base, name=f"loss of {name} times 10", loss_weights={name: 10 * task.loss_weight})
          for name, task in tasks.items()),
    ]  # fmt: skip


def study_similarity(
    data: str, root: str, path: Path, img_size: int = 128, n_frames: int | None = None, n_samples: int = 96,
    lr: float = 3e-3, names: Sequence[str] = (), n_conditions: int | None = None, command: str = "",
    report: Callable[[str], None] = print,
) -> dict:  # fmt: skip
    """Measures every condition that `path` does not hold yet, and writes each there as it is done; what it holds then.

    Heads are fitted on all training frames, and similarities measured on the first n_samples of them, as in notebook
    03. lr: peak rate of the heads. names: of the tasks, the data set's usual ones where there are none. n_conditions:
    only the first so many. Raises ValueError if the file is of other data, settings or weights.
    """
    tasks = select(default_tasks(data), names or default_tasks(data))
    probe = Run("decoders_only", tuple(tasks), data=data, root=root, img_size=img_size, n_frames=n_frames)
    setting = {key: probe.content()[key] for key in ("data", "img_size", "n_frames", "tasks", "weights", "scenes")}
    setting["lr"] = lr
    saved = read_json(path, then="move it away") if path.is_file() else {"setting": setting}
    if differ := differences(saved.get("setting", {}), setting):
        raise ValueError(f"{path} is of another study: {', '.join(differ)}; move it away or use its settings")
    make_folder(path.parent)
    results = {result["name"]: result for result in saved.get("conditions", [])}
    frames = open_sets(probe, augment=False)[0]
    wanted = conditions(tasks, min(n_samples, len(frames)))[:n_conditions]

    @cache
    def fitted(epochs: int, seed: int) -> nn.Module:
        model = make_model(replace(probe, seed=seed))
        if epochs:
            size = min(16, len(frames))
            config = TrainConfig(epochs=epochs, batch_size=size, lr=lr, warmup_epochs=0, seed=seed, amp="float32")
            list(train_epochs(model, frames, None, tasks, config))
        return model

    for number, condition in enumerate(wanted, 1):
        if results.get(condition.name, {}).get("condition") == asdict(condition):
            continue
        results[condition.name] = _measure(condition, fitted(condition.epochs, condition.seed), frames, tasks)
        report(f"{number}/{len(wanted)}  {condition.name}: {results[condition.name]['trees'][CHOICE]['tree']}")
        saved |= {"command": command, "setting": setting, "versions": versions(), "conditions": list(results.values())}
        write_json(path, saved)
    return read_json(path)


def _measure(condition: Condition, model: nn.Module, frames, tasks: dict[str, Task]) -> dict:
    weights = condition.loss_weights
    weighted = {name: replace(t, loss_weight=weights.get(name, t.loss_weight)) for name, t in tasks.items()}
    loader = make_loader(frames.select(range(condition.n_samples)), 1)
    similarity = similarity_on(model, loader, weighted, condition.n_samples, report=lambda line: None)
    return {
        "name": condition.name,
        "condition": asdict(condition),
        "similarity": similarity.to_dict()["readings"],
        "trees": {", ".join(choice): chosen_tree(similarity, *choice) for choice in similarity.draws},
        "margin": margin(similarity, *CHOICE.split(", ")),
        "bootstrap": bootstrap(similarity, *CHOICE.split(", ")),
    }


def groups_of(tasks: Sequence[str]) -> tuple[int, ...]:
    """Groups a stage, as the paper's (1, 1, 2, 4): every task alone in the last one."""
    return 1, 1, 2, len(tasks)


def chosen_tree(similarity: Similarity, reading: str, pairs: str) -> dict:
    """The tree with the highest score, the score of each tree, and the trees that single stages would have chosen."""
    tasks, groups = similarity.tasks, groups_of(similarity.tasks)
    matrix, stages = similarity.matrix(reading, pairs), similarity.stages(reading, pairs)
    scores = {str(t): tree_score(t, matrix, tasks) for t in TaskTree.enumerate(tasks, groups)}
    return {
        "tree": str(TaskTree.from_similarity(matrix, tasks, groups)),
        "scores": dict(sorted(scores.items(), key=lambda item: -item[1])),
        "from each stage alone": [str(TaskTree.from_similarity(stage, tasks, groups)) for stage in stages],
        "from all stages, each its own matrix": str(TaskTree.from_similarity(stages, tasks, groups)),
    }


def margin(similarity: Similarity, reading: str, pairs: str) -> dict:
    """How far the chosen tree is ahead of the next: {"next", "ahead": in score, "error": that mean's standard error}.

    A score is linear in the cosines, so the lead is a mean over draws of its own, whose spread knows what cosines of
    the same frame have in common.
    """
    tasks, matrix = similarity.tasks, similarity.matrix(reading, pairs)
    trees = TaskTree.enumerate(tasks, groups_of(tasks))
    first, second, *_ = sorted(trees, key=lambda tree: -tree_score(tree, matrix, tasks))
    draws = similarity.draws[reading, pairs][:, -1]
    leads = [tree_score(first, draw, tasks) - tree_score(second, draw, tasks) for draw in draws]
    error = np.std(leads, ddof=1) / len(leads) ** 0.5
    return {"next": str(second), "ahead": float(np.mean(leads)), "error": float(error)}


def bootstrap(similarity: Similarity, reading: str, pairs: str, resamples: int = 500, seed: int = 0) -> list[dict]:
    """How often each tree would have been chosen from n samples, drawn anew with replacement; how far cosines spread.

    A list over n = 4, 8, 16, ... up to the number of draws, of {"n", "trees": {tree: share}, "spread": mean over pairs
    of tasks of the standard deviation of the mean cosine}.
    """
    draws, rng = similarity.draws[reading, pairs][:, -1], np.random.default_rng(seed)  # (K, T, T)
    groups = groups_of(similarity.tasks)
    counts = [n for n in (4, 8, 16, 32, 64, 128, 256) if n < len(draws)] + [len(draws)]
    upper, result = np.triu_indices(len(similarity.tasks), 1), []
    for n in counts:
        means = np.stack([draws[rng.integers(len(draws), size=n)].mean(0) for _ in range(resamples)])
        trees = [str(TaskTree.from_similarity(mean, similarity.tasks, groups)) for mean in means]
        shares = {tree: trees.count(tree) / resamples for tree in sorted(set(trees), key=trees.count, reverse=True)}
        result.append({"n": n, "trees": shares, "spread": float(means.std(0)[upper].mean())})
    return result


@click.command(help="Measure the task similarity under many choices, and the tree that each would have grown.")
@click.option("--data", default="scenes", help="scenes (default), nyud or pascal.")
@click.option("--root", default="", help="Folder of the archive, for nyud and pascal.")
@click.option("--limit", default=0, help="The first N training frames (default: all).")
@click.option("--size", default=128, help="Side of the frames (default 128).")
@click.option("--samples", default=96, help="Frames that gradients are compared on (default 96).")
@click.option("--conditions", default=0, help="Only the first N conditions (default: all).")
@click.option("--tasks", default="", help="Only these tasks, A,B (default: all).")
@click.option("--out", type=click.Path(path_type=Path), help="Default results/similarity_NAME.json, _SIZE added.")
def command(data, root, limit, size, samples, conditions, tasks, out) -> None:
    name = f"similarity_{data}{f'_{size}' if size != 128 else ''}.json"
    words = f"python figures/study_similarity.py --data {data}" + " --root PATH" * bool(root)
    given = {"limit": (limit, 0), "size": (size, 128), "samples": (samples, 96), "conditions": (conditions, 0),
             "tasks": (tasks, "")}  # fmt: skip
    words += "".join(f" --{name} {value}" for name, (value, usual) in given.items() if value != usual)
    study_similarity(
        data, root, out or Path(__file__).parent / "results" / name, size, limit or None, samples,
        names=tasks.split(",") if tasks else (), n_conditions=conditions or None, command=words,
    )  # fmt: skip


if __name__ == "__main__":
    try:
        command()
    except (ValueError, OSError) as error:
        raise SystemExit(f"study_similarity: {sentence(error)}") from None
