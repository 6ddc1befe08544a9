"""What the commands of `python -m ptsa_lite` do: each takes its arguments and returns the exit status.

Everything heavy is imported by the command that needs it, so that --help answers at once.
"""

import argparse
import os
import sys
from pathlib import Path


def reproduce(args: argparse.Namespace) -> int:
    from ptsa_lite.workshop.reproduce import Request, reproduce

    request = Request(args.data, args.root, args.limit, args.seed, args.settings)
    return reproduce(request, out=args.out, resume=args.resume)


def predict(args: argparse.Namespace) -> int:
    from ptsa_lite.experiments.plans import load_run

    from .predict import predict, write_maps

    _, model = load_run(args.run_folder, args.weights)
    for path in write_maps(predict(model, args.image), model.tasks, args.out or Path("runs") / "predict"):
        print(path)
    return 0


def build(args: argparse.Namespace) -> int:
    from .workshop import notebooks

    try:
        notebooks.build(notebooks.find_folder(), args.names, force=args.force)
    except notebooks.NotebookError as error:
        print(f"ptsa_lite: {error}", file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace) -> int:
    from ptsa_lite.workshop.reproduce import Request, read_settings

    from .workshop import notebooks

    folder = notebooks.find_folder()
    source = notebooks.choose(folder, [args.name])[0]
    overlay = read_settings(Request(settings=args.settings), folder)[1] if args.settings else {}
    output = args.out or Path("runs") / source.with_suffix(".ipynb").name
    try:
        notebooks.execute(source, output, overlay.get(source.stem, {}) | _changes(args.set), _say)
    except notebooks.NotebookError as error:
        print(f"ptsa_lite: {error}", file=sys.stderr)
        return 1
    print(f"executed: {output}")
    return 0


def _say(done: int, cells: int, line: str) -> None:
    """Whatever a notebook prints, as it prints it."""
    if line:
        print(line, flush=True)


def _changes(given: list[str]) -> dict:
    """KEY=VALUE pairs of a command line, values as YAML reads them."""
    from ptsa_lite.experiments.yaml_files import parse_yaml

    changes = {}
    for change in given:
        key, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"--set {change!r} sets nothing; write --set KEY=VALUE, such as --set config.epochs=10")
        changes[key] = parse_yaml(value, f"the value in --set {change}")
    return changes


def check(args: argparse.Namespace) -> int:
    from ptsa_lite.workshop.check import check

    from .workshop import notebooks

    folder = notebooks.find_folder()
    found = check(folder)
    print("\n".join(found) if found else f"{len(notebooks.sources(folder))} notebooks, nothing wrong")
    return 1 if found else 0


def verify(args: argparse.Namespace) -> int:
    from ptsa_lite.data.verify import verify

    report = verify(args.name, args.root)
    print(report)
    return 0 if report.ok else 1


def prepare(args: argparse.Namespace) -> int:
    from ptsa_lite.data.listing import ARCHIVES
    from ptsa_lite.data.prepared import prepare_archive

    from .tasks import known

    known(args.name, ARCHIVES, "archive")
    tasks = args.tasks.split(",") if args.tasks else None
    made = prepare_archive(args.name, args.root, args.out, args.size, tasks, args.limit or None,
                           lambda line: print(line, flush=True))  # fmt: skip
    print(f"ready; train from it with --root {made.parent}")
    return 0


def study(args: argparse.Namespace) -> int:
    from ptsa_lite.experiments.grid import read_grid
    from ptsa_lite.experiments.queue import collect, collected, restore, run_study

    name, runs = read_grid(args.grid, args.root)
    folder, path = args.out or Path("runs") / "study" / name, Path("figures/results") / f"{name}.json"
    command = f"python -m ptsa_lite study {args.grid}" + (" --root PATH" if args.root else "")

    def report(line: str) -> None:
        print(line, flush=True)
        collect(runs, folder, path, command)

    if n := restore(collected(path), runs, folder):
        print(f"{n} results taken from {path}", flush=True)
    try:
        run_study(runs, folder, args.jobs, report)
    finally:
        left = collect(runs, folder, path, command)
        print(f"{left} runs left" if left else f"all runs are done: {path}", flush=True)
    return 0


def similarity(args: argparse.Namespace) -> int:
    from ptsa_lite.experiments.similarity_study import study_similarity

    path = args.out or Path("figures/results") / f"similarity_{args.data}.json"
    command = f"python -m ptsa_lite similarity --data {args.data}" + " --root PATH" * bool(args.root)
    command += f" --limit {args.limit}" * bool(args.limit)
    path.parent.mkdir(parents=True, exist_ok=True)
    report = study_similarity(args.data, args.root, path, limit=args.limit or None, command=command)
    print(f"{len(report['conditions'])} conditions in {path}")
    return 0


def train(args: argparse.Namespace) -> int:
    from ptsa_lite.experiments.plans import read_plan, train_plan

    changes = {"root": args.root} if args.root else {}
    plan = read_plan(args.config, args.row, changes | _changes(args.set))
    train_plan(plan, args.out or Path("runs") / "train" / plan.name, lambda line: print(line, flush=True))
    return 0


def evaluate(args: argparse.Namespace) -> int:
    from ptsa_lite.data.disk import write_json
    from ptsa_lite.experiments.plans import evaluate_run, read_run
    from ptsa_lite.experiments.run import run_tasks

    found, tasks = evaluate_run(args.run_folder, args.weights, args.root), run_tasks(read_run(args.run_folder))
    if not int(os.environ.get("RANK", 0)):
        print(f"{found['run']}, {args.weights} weights, {found['frames']} frames:")
        for name, value in found["metrics"].items():
            better = "higher" if tasks[name].higher_is_better else "lower"
            print(f"{name:>12} {tasks[name].metric} {value:.4g} ({better} is better)")
        write_json(args.run_folder / f"evaluation-{args.weights}.json", found)
    return 0
