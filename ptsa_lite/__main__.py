"""The command line: python -m ptsa_lite COMMAND. Each command imports what it needs, so that --help answers at once."""

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__" and os.path.abspath(sys.path[0]) == os.getcwd() != str(Path(__file__).absolute().parents[1]):
    del sys.path[0]  # where you stand may be a project with a datasets.py, which is not the library

import click

from .workshop.border import Words, sentence, status
from .workshop.places import RESULTS, notebooks_folder


def _changes(context: click.Context, option: click.Option, given: tuple[str, ...]) -> dict:
    from .experiments.settings import changes_of

    return changes_of(given)


def _names(context: click.Context, option: click.Option, given: str) -> Sequence[str]:
    return given.split(",") if given else ()


def _spelt(changes: dict) -> list[str]:
    """KEY=VALUE of each change, as --set takes it."""
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in changes.items()]


def _results(grid: str | Path) -> Path:
    """The file of a grid's results: the project's own for its own grids, else in figures/results where you stand."""
    ours = RESULTS if Path.cwd().drive != RESULTS.drive else os.path.relpath(RESULTS)  # drives of Windows
    found = Path(grid).resolve().parent == RESULTS.parent / "grids"
    return Path(ours if found else "figures/results") / f"{Path(grid).stem}.json"


FOLDER = click.Path(path_type=Path)
ROOT = click.option("--root", default="", metavar="PATH", help="Folder of the archive, for nyud and pascal.")
SET = click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", callback=_changes,
                   help="Another value for a setting, such as config.accumulate=4; as often as needed.")  # fmt: skip
TASKS = click.option("--tasks", default="", metavar="A,B", callback=_names, help="Only these tasks (default: all).")
WEIGHTS = click.option("--weights", default="last", metavar="NAME", help="last (default) or best.")
RUN = click.argument("run_folder", type=FOLDER, metavar="RUN")


def say(line: str) -> None:
    print(line, flush=True)


@click.group(
    no_args_is_help=False, context_settings={"max_content_width": 100},
    epilog="What was interrupted goes on when the same command is given again. A mistake in what you type is answered "
           "in one sentence; with --traceback added, or PTSA_TRACEBACK=1 set, by its traceback.",
)  # fmt: skip
def cli() -> None:
    """Progressive task-specific adaptation (TGLoRA, arXiv 2509.19602), reproduced in notebooks."""


@cli.command()
@click.option("--data", default="scenes", metavar="NAME", help="scenes (default), nyud or pascal.")
@ROOT
@click.option("--limit", default=0, metavar="N", help="At most N frames of each split (default: as settings say).")
@click.option("--seed", default=0, metavar="N", help="Seed of everything drawn at random (default 0).")
@click.option("--settings", default="", metavar="NAME", help="Of notebooks/settings, or a YAML file (default: --data).")
@click.option("--out", default="", metavar="DIR", help="Folder to write (default runs/TIME).")
@click.option("--resume", default="", metavar="DIR", help="Go on with a run that was interrupted or failed.")
def reproduce(data, root, limit, seed, settings, out, resume) -> int:
    """Execute the series of notebooks and print the table of methods.

    The executed notebooks, report.html and results.json are written. Without options: on drawn scenes, without network.
    A file of settings maps notebooks to their parameters.
    """
    from .workshop.reproduce import Request, reproduce

    return reproduce(Request(data, root, limit, seed, settings), out=out, resume=resume)


@cli.group(no_args_is_help=False)
def notebooks() -> None:
    """Build, run or check the notebooks: the .ipynb files made from notebooks/NN_*.py."""


@notebooks.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--force", is_flag=True, help="Build also what is up to date.")
def build(names, force) -> None:
    """Execute sources with their defaults and write the .ipynb beside them.

    Figures that they save go to figures/. What is up to date is left alone. NAME is a number or a name, such as 03
    (default: all).
    """
    from .workshop import notebooks

    notebooks.build(notebooks_folder(), names, force=force)


@notebooks.command()
@click.argument("name", metavar="NAME")
@click.option("--settings", default="", metavar="NAME", help="notebooks/settings/NAME.yaml, such as paper.")
@SET
@click.option("--out", default="", metavar="FILE", help="The notebook to write (default runs/NAME-CHANGES.ipynb).")
def run(name, settings, changes, out) -> None:
    """Execute one notebook with other parameters, and write it to FILE.

    NAME is a number or a name, such as 06; the one in notebooks/ stays as it is.
    """
    from .workshop import notebooks
    from .workshop.reproduce import Request, read_settings

    folder = notebooks_folder()
    source = notebooks.choose(folder, [name])[0]
    overlay = read_settings(Request(settings=settings), folder)[1] if settings else {}
    asked = re.sub(r"[^\w.=-]+", "_", "".join(f"-{key}={value}" for key, value in changes.items()))[:120]
    output = out or Path("runs") / f"{source.stem}{asked}.ipynb"  # runs of other values are other files
    notebooks.execute(source, output, overlay.get(source.stem, {}) | changes,
                      lambda done, cells, line: line and say(line))  # fmt: skip
    say(f"executed: {output}")


@notebooks.command()
def check() -> int:
    """Say which .ipynb is not its source, executed from top to bottom; exits with 1 if any is.

    Notebooks that other code of the package has built than it has now are told.
    """
    from .workshop import notebooks

    folder = notebooks_folder()
    found, old = notebooks.unlike_source(folder), notebooks.out_of_date(folder)
    say("\n".join([*found, *old]) or f"{len(notebooks.sources(folder))} notebooks, nothing wrong")
    return 1 if found else 0


@notebooks.command()
@click.argument("out", type=FOLDER, metavar="OUT")
@click.option("--repository", default="", metavar="URL", help="Where links to files lead (default: nowhere).")
def site(out, repository) -> None:
    """Write the series as pages of HTML that fetch nothing.

    OUT/index.html and a page for each built notebook, with its formulas, figures and drawings to move. Needs
    `pip install -e ".[site]"`.
    """
    from .workshop.site import build_site

    build_site(notebooks_folder(), out, repository, say)


@cli.command()
@click.argument("grid", metavar="GRID.yaml")
@ROOT
@click.option("--jobs", default=1, metavar="N", help="Processes on this machine (default 1).")
@click.option("--cluster", default="", metavar="NAME", help="Hand the runs to slurm (or local) by submitit.")
@click.option("--rows", default="", metavar="A,B", callback=_names, help="Rows of the file to train (default: all).")
@SET
@click.option("--out", default="", metavar="DIR", help="Folder of runs (default runs/study/NAME).")
def study(grid, root, jobs, cluster, rows, changes, out) -> None:
    """Run a grid of trainings, with what was done before kept.

    Trains every run of GRID.yaml that is not done, collects the results in figures/results, and prints their table;
    figures/grids holds examples, and pascal and nyud are the rows that `train` takes one of. Several processes may
    share one folder.
    """
    from .experiments.queue import run_study, submit_study
    from .experiments.results import check_changes, collect, collected, remove_empty, restore
    from .experiments.run import run_tasks
    from .experiments.settings import read_runs
    from .experiments.tables import markdown_table, summarise, told_apart

    rooted, path = {"root": root} if root else {}, _results(grid)
    runs, every = (read_runs(grid, rooted | changes, some) for some in (rows, ()))
    if changes:
        check_changes(path, every, read_runs(grid, rooted))
    folder, command = Path(out or Path("runs") / "study" / Path(grid).stem), f"python -m ptsa_lite study {grid}"
    others = {run.name() for run in every} - {run.name() for run in runs}
    if others & {one["name"] for one in collected(path)}:
        rows = ()  # the command is that of all results which the file holds
    for option, value in (("root", root and "PATH"), ("rows", ",".join(rows)), *(("set", c) for c in _spelt(changes))):
        command += f" --{option} {shlex.quote(value)}" if value else ""

    def collect_all() -> int:
        return collect(runs, folder, path, command, say, every)

    def report(line: str) -> None:
        collect_all()
        say(line)

    if n := restore(path, every, folder):
        say(f"{n} results taken from {path}")
    if cluster:
        n = len(submit_study(runs, folder, cluster))
        return say(f"{n} runs are with {cluster}; the same command without --cluster waits for them and collects")
    try:
        collect_all()  # where it cannot be written, that is told before a day's training
        run_study(runs, folder, jobs, report)
    finally:
        left = collect_all()
        say(f"runs left: {left}" if left else f"all runs are done: {path}")
        remove_empty(path)
    if not left and len({run.tasks for run in every}) == 1:
        rows = summarise(told_apart(collected(path)), "mean", by_label=True)
        say(markdown_table(rows, run_tasks(runs[0])))
        if all(row["delta_m"] is None for row in rows):
            say("without delta_m, which needs runs of single_task in the same grid")


@cli.command()
@click.argument("grid", metavar="GRID.yaml")
@click.option("--without", multiple=True, metavar="TASK", help="Leave a task out of delta_m; as often as needed.")
def compare(grid, without) -> None:
    """Say what a study found, by the plan in its grid.

    Tables in Markdown of what `study` has collected in figures/results: every condition; each comparison of the plan
    with its intervals, p values and verdict; whether trees differ.
    """
    from .data.disk import read_json
    from .experiments.comparison import report
    from .experiments.results import collected
    from .experiments.settings import read_plan
    from .tasks import known

    path = _results(grid)
    plan, results = read_plan(grid), collected(path)
    if not results:
        raise ValueError(f"no results in {path}; run python -m ptsa_lite study {grid}")
    tasks = results[0]["run"]["tasks"]
    if {known(task, tasks, "task") for task in without} == {*tasks}:
        raise ValueError("--without leaves no task; delta_m needs one")
    if left := read_json(path).get("left"):
        say(f"{left} of {left + len(results)} runs are still to be done: what follows is not final.\n")
    say(report(results, plan, without))


@cli.command()
@click.argument("config", metavar="CONFIG")
@click.argument("row", default="", metavar="[ROW]")
@ROOT
@click.option("--out", default="", metavar="DIR", help="Folder of the run (default runs/train/CONFIG-ROW).")
@click.option("--log", type=click.Choice(["tensorboard"]), metavar="NAME",
              help="Tell each epoch also to tensorboard, in the run's folder.")  # fmt: skip
@SET
def train(config, row, root, out, log, changes) -> None:
    """Train at full size what a YAML file describes, on one GPU or, under torchrun, on several.

    CONFIG is a YAML file, or pascal or nyud: the paper's settings; ROW is one of its rows, such as ptsa_1124. Data of
    your own are a map in it that says where they lie and what the tasks are (notebook 09). With N GPUs: torchrun
    --nproc_per_node N -m ptsa_lite train CONFIG. The batch size is that of all of them together.
    """
    from .experiments.settings import find, read_run
    from .experiments.train import train_run
    from .training.logs import to_tensorboard

    run = read_run(config, row, ({"root": root} if root else {}) | changes)
    folder = Path(out or f"runs/train/{'-'.join(filter(None, (find(config).stem, row)))}")
    train_run(run, folder, say, to_tensorboard(folder) if log else None)


@cli.command()
@RUN
@WEIGHTS
@click.option("--root", default="", metavar="PATH", help="Where the archive lies, if not where it did.")
def evaluate(run_folder, weights, root) -> None:
    """Measure what `train` left in the folder RUN again, on the test frames; writes evaluation-*.json there."""
    from .data.disk import write_json
    from .experiments.run import run_tasks
    from .experiments.train import evaluate_run, folder_of, run_of
    from .training import distributed

    with distributed.processes():
        found, first = evaluate_run(run_folder, weights, root), distributed.rank() == 0
    if first:
        tasks = run_tasks(run_of(run_folder))
        if folder_of(run_folder) == run_folder:  # not the package's own run
            write_json(run_folder / f"evaluation-{'-'.join(filter(None, (weights, Path(root).name)))}.json", found)
        say(f"{found['run']}, {weights} weights, {found['frames']} frames:")
        for name, value in found["metrics"].items():
            better = "higher" if tasks[name].higher_is_better else "lower"
            say(f"{name:>12} {tasks[name].metric} {value:.4g} ({better} is better)")


@cli.command()
@RUN
@click.argument("pictures", nargs=-1, required=True, type=FOLDER, metavar="IMAGE...")
@WEIGHTS
@click.option("--out", default="runs/predict", type=FOLDER, help="Folder to write (default runs/predict).")
def predict(run_folder, pictures, weights, out) -> int:
    """Every task's map of pictures, by a trained run.

    IMAGE is a picture or a folder of pictures, of any size. Of PICTURE.jpg, PICTURE.TASK.npy (classes, probabilities,
    unit vectors, metres) and PICTURE.TASK.png (to look at) are written, at that size. A picture that cannot be read is
    told, and the others are done.
    """
    from .experiments.train import folder_of, load_run
    from .predict import find_pictures, predict_files
    from .training.adapters import read_metadata

    found, (_, model), folder = find_pictures(pictures), load_run(run_folder, weights), folder_of(run_folder)
    contents = read_metadata(folder / f"{weights}.safetensors").get("contents", "")
    failed = predict_files(model, found, out, say, by=f"{folder.resolve()}, {weights} weights {contents[:8]}")
    say(f"maps of {len(found) - len(failed)} of {len(found)} pictures are in {out}")
    return 2 if failed else 0


@cli.command()
@RUN
@click.argument("file", type=FOLDER, metavar="MODEL.pt2")
@WEIGHTS
@TASKS
def export(run_folder, file, weights, tasks) -> None:
    """Write a trained run as a program for other runtimes.

    The merged model of RUN, for any number of images (batch, 3, H, W), as torch.export writes it, or for ONNX where
    the file is called MODEL.onnx. It needs none of this package, and is compared with the model on drawn scenes.
    """
    from .experiments.train import load_run
    from .predict import write_program

    apart = write_program(load_run(run_folder, weights)[1], file, tasks)
    reader = "onnxruntime" if file.suffix == ".onnx" else "torch.export.load"
    say(f"written: {file}; {reader} reads it, and says what the model says, to {apart:.0e} of its largest number")


@cli.command()
@click.argument("folders", nargs=-1, required=True, type=FOLDER, metavar="FOLDER...")
@click.option("--teacher", required=True, type=FOLDER, help="Weights of tf_efficientnet_lite0, by timm's names.")
@SET
@click.option("--out", default="runs/distil", type=FOLDER, help="Folder to write (default runs/distil).")
def distil(folders, teacher, changes, out) -> None:
    """Teach a Swin to see from photographs without labels (notebook 90).

    The student imitates the teacher's feature maps on the photographs in each FOLDER; of an archive only the training
    frames are looked at. DIR/backbone.safetensors can then be given as `weights`, by --set or in a YAML file. Settings:
    backbone (the small Swin, or one of timm's such as swin_tiny_patch4_window7_224), size, minutes, views, batch_size,
    amp and what else `DistilConfig` has.
    """
    from .workshop.distil import configured, distil
    from .workshop.teacher import load_teacher

    done = distil(folders, load_teacher(teacher), out, configured(changes), say)
    say(f"explained of the teacher, strides 4 to 32: {' '.join(f'{share:.3f}' for share in done['explained'])}")
    say(f"weights: {out / 'backbone.safetensors'}")


@cli.group(no_args_is_help=False)
def data() -> None:
    """Look at an archive on disk, or decode it once."""


@data.command()
@click.argument("name", metavar="NAME")
@click.argument("root", default="", metavar="[ROOT]")
def verify(name, root) -> int:
    """Say what is missing or wrong in an archive or in data of your own.

    NAME is nyud or pascal, ROOT its folder; or NAME is the YAML file that `train` takes.
    """
    from .data.verify import verify, verify_own

    if name.endswith((".yaml", ".yml")):
        from .data.describe import describe
        from .experiments.run import own_data
        from .experiments.settings import read_runs

        run = read_runs(name, {"root": root} if root else {})[0]
        if isinstance(run.data, str):
            report = verify(run.data, run.root)
        else:  # with a part of the training frames held out, a split for validation is not asked for
            splits = ("train",) if run.holdout else ("train", "val")
            report = verify_own(describe(*own_data(run)), run.root, splits)
    else:
        report = verify(name, root)
    say(str(report))
    return 0 if report.ok else 1


@data.command()
@click.argument("name", metavar="NAME")
@click.argument("root", type=FOLDER, metavar="ROOT")
@click.argument("out", type=FOLDER, metavar="OUT")
@click.option("--size", default=448, metavar="N", help="Side of the frames trained at (default 448).")
@TASKS
@click.option("--limit", default=0, metavar="N", help="At most N frames of each split.")
def prepare(name, root, out, size, tasks, limit) -> None:
    """Decode an archive once, for fast training from its own folder.

    NAME is nyud or pascal, ROOT its folder. Both splits are decoded, resized for training at SIZE (1.5 times as large
    for the training frames) and written to OUT, which then serves as --root and gives the same samples, bit for bit.
    """
    from .data.listing import ARCHIVES
    from .data.prepared import prepare_archive
    from .tasks import known

    known(name, ARCHIVES, "archive")
    made = prepare_archive(name, root, out, size, tasks or None, limit or None, say)
    say(f"ready; train from it with --root {made.parent}")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status.

    Whatever goes wrong is told in one sentence, with the status of `border.status`. Ctrl-C says how to go on, with
    status 130: nothing else is needed, because every command that writes leaves files that are whole.
    """
    words = sys.argv[1:] if arguments is None else arguments
    traceback = "--traceback" in words or os.environ.get("PTSA_TRACEBACK")  # wherever it stands
    try:
        words = [word for word in words if word != "--traceback"]
        return cli.main(words, prog_name="python -m ptsa_lite", standalone_mode=False) or 0
    except (KeyboardInterrupt, click.Abort):
        print("\nptsa_lite: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except Exception as error:
        if traceback:
            raise
        print(f"ptsa_lite: {sentence(error)}", file=sys.stderr)
        return status(error)


if __name__ == "__main__":
    sys.stdout, sys.stderr = Words(sys.stdout), Words(sys.stderr)
    sys.exit(main())
