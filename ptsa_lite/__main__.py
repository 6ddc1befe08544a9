"""The command line: python -m ptsa_lite COMMAND."""

import argparse
import os
import sys
from pathlib import Path

from . import commands as do


def parser() -> argparse.ArgumentParser:
    """The commands and what they say of themselves."""
    top = argparse.ArgumentParser(
        prog="python -m ptsa_lite",
        description="Progressive task-specific adaptation (TGLoRA, arXiv 2509.19602), reproduced in notebooks.",
        epilog="A mistake in what you type is answered in one sentence; with PTSA_TRACEBACK=1 set, by its traceback.",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    one = commands.add_parser(
        "reproduce",
        help="execute the series of notebooks and print the table of methods",
        description="Execute the series of notebooks by papermill and write the executed notebooks, report.html and "
        "results.json. Without options: on the embedded scenes, without network.",
    )
    one.add_argument("--data", default="scenes", metavar="NAME", help="scenes (default), nyud or pascal")
    one.add_argument("--root", default="", metavar="PATH", help="folder of the archive, for nyud and pascal")
    one.add_argument(
        "--limit", default=0, type=int, metavar="N", help="at most N frames of each split (default: as settings say)"
    )
    one.add_argument("--seed", default=0, type=int, metavar="N", help="seed of everything drawn at random (default 0)")
    one.add_argument(
        "--settings", default="", metavar="NAME",
        help="notebooks/settings/NAME.yaml, or a YAML file of your own: notebook -> parameters (default: as --data)",
    )
    one.add_argument("--out", default="", metavar="DIR", help="folder to write (default runs/TIME)")
    one.add_argument("--resume", default="", metavar="DIR", help="go on with a run that was interrupted or failed")
    one.set_defaults(run=do.reproduce)

    books = commands.add_parser("notebooks", help="build or check the .ipynb files made from notebooks/NN_*.py")
    actions = books.add_subparsers(metavar="ACTION", required=True)
    one = actions.add_parser(
        "build", help="execute sources and write the .ipynb beside them",
        description="Execute notebooks/NN_*.py with their defaults and write NN_*.ipynb with outputs, and the figures "
        "that they save to figures/. What is up to date is left alone.",
    )
    one.add_argument("names", nargs="*", metavar="NAME", help="numbers or names, such as 03 (default: all)")
    one.add_argument("--force", action="store_true", help="build also what is up to date")
    one.set_defaults(run=do.build)
    one = actions.add_parser(
        "run", help="execute one notebook with other parameters",
        description="Execute one notebook, such as 06, and write it with its outputs to FILE; the one in notebooks/ "
        "stays as it is.",
    )  # fmt: skip
    one.add_argument("name", metavar="NAME", help="a number or a name")
    one.add_argument("--settings", default="", metavar="NAME", help="notebooks/settings/NAME.yaml, such as paper")
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter; as often as needed")
    one.add_argument("--out", default="", metavar="FILE", help="the notebook to write (default runs/NAME.ipynb)")
    one.set_defaults(run=do.run)
    one = actions.add_parser(
        "check", help="say what is wrong with them, without executing",
        description="Compare each .ipynb with its source and look for errors, warnings, machine paths, dead links, "
        "missing headings and orphan figures. Exits with 1 if anything is wrong.",
    )
    one.set_defaults(run=do.check)

    one = commands.add_parser(
        "study",
        help="run a grid of trainings, with what was done before kept",
        description="Train every run of GRID.yaml that is not done, and collect the results in figures/results. The "
        "same call goes on after an interruption; several processes may share one folder.",
    )
    one.add_argument("grid", metavar="GRID.yaml", help="see figures/grids for examples")
    one.add_argument("--root", default="", metavar="PATH", help="folder of the archive, for nyud and pascal")
    one.add_argument("--jobs", default=1, type=int, metavar="N", help="processes on this machine (default 1)")
    one.add_argument("--out", default="", metavar="DIR", help="folder of runs (default runs/study/NAME)")
    one.set_defaults(run=do.study)

    one = commands.add_parser(
        "similarity",
        help="measure the task similarity under many choices, and the tree of each",
        description="Measure the gradient task similarity with other heads, loss weights and numbers of samples, and "
        "write what tree each would have grown to figures/results. The same call goes on after an interruption.",
    )
    one.add_argument("--data", default="scenes", metavar="NAME", help="scenes (default), nyud or pascal")
    one.add_argument("--root", default="", metavar="PATH", help="folder of the archive, for nyud and pascal")
    one.add_argument("--limit", default=0, type=int, metavar="N", help="the first N training frames (default: all)")
    one.add_argument("--out", type=Path, metavar="FILE", help="default figures/results/similarity_NAME.json")
    one.set_defaults(run=do.similarity)

    one = commands.add_parser(
        "train",
        help="train at full size what a YAML file describes, on one GPU or, under torchrun, on several",
        description="Train what CONFIG describes; the same call goes on after an interruption. With N GPUs: torchrun "
        "--nproc_per_node N -m ptsa_lite train CONFIG. The batch size is that of all of them together.",
    )
    one.add_argument("config", metavar="CONFIG", help="a YAML file, or pascal or nyud: the paper's settings")
    one.add_argument("row", nargs="?", default="", metavar="ROW", help="which of the file's rows, such as ptsa_1124")
    one.add_argument("--root", default="", metavar="PATH", help="folder of the archive")
    one.add_argument("--out", default="", metavar="DIR", help="folder of the run (default runs/train/CONFIG-ROW)")
    one.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="another value for a setting, such as config.accumulate=4; may be given several times",
    )
    one.set_defaults(run=do.train)

    one = commands.add_parser(
        "evaluate",
        help="measure a trained run again",
        description="Measure what `train` left in a folder on the test frames, and write evaluation-*.json there.",
    )
    one.add_argument("run_folder", type=Path, metavar="RUN", help="a folder that `train` wrote")
    one.add_argument("--weights", default="last", metavar="NAME", help="last (default) or best")
    one.add_argument("--root", default="", metavar="PATH", help="where the archive lies, if not where it did")
    one.set_defaults(run=do.evaluate)

    one = commands.add_parser(
        "predict",
        help="every task's map of a picture, by a trained run",
        description="Write TASK.npy (classes, probabilities, unit vectors, metres) and TASK.png (to look at) of a "
        "picture of any size, at that size.",
    )
    one.add_argument("run_folder", type=Path, metavar="RUN", help="a folder that `train` wrote")
    one.add_argument("image", type=Path, metavar="IMAGE", help="a picture")
    one.add_argument("--weights", default="last", metavar="NAME", help="last (default) or best")
    one.add_argument("--out", default="", metavar="DIR", help="folder to write (default runs/predict)")
    one.set_defaults(run=do.predict)

    data = commands.add_parser("data", help="look at an archive on disk")
    actions = data.add_subparsers(metavar="ACTION", required=True)
    one = actions.add_parser("verify", help="say what is missing or wrong in an archive")
    one.add_argument("name", metavar="NAME", help="nyud or pascal")
    one.add_argument("root", type=Path, metavar="ROOT", help="the archive's folder")
    one.set_defaults(run=do.verify)
    one = actions.add_parser(
        "prepare", help="decode an archive once, for fast training from its own folder",
        description="Decode both splits of an archive, resize them for training at SIZE (1.5 times as large for the "
        "training frames) and write them to OUT as Arrow files with checksums. The same call goes on after an "
        "interruption. OUT then serves as --root, and gives the same samples as the archive, bit for bit.",
    )  # fmt: skip
    one.add_argument("name", metavar="NAME", help="nyud or pascal")
    one.add_argument("root", type=Path, metavar="ROOT", help="the archive's folder")
    one.add_argument("out", type=Path, metavar="OUT", help="the folder to write")
    one.add_argument("--size", default=448, type=int, metavar="N", help="side of the frames trained at (default 448)")
    one.add_argument("--tasks", default="", metavar="A,B", help="tasks to keep (default: all that the archive has)")
    one.add_argument("--limit", default=0, type=int, metavar="N", help="at most N frames of each split")
    one.set_defaults(run=do.prepare)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status.

    A mistake in what was asked is told in one sentence, with status 2; a disk that refuses, or a training whose numbers
    are no longer finite, with status 1. Ctrl-C says how to go on, with status 130: nothing else is needed, because
    every command that writes leaves files that are whole.
    """
    args = parser().parse_args(arguments)
    try:
        return args.run(args)
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("PTSA_TRACEBACK"):
            raise
        print(f"ptsa_lite: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError | FileNotFoundError) else 1
    except KeyboardInterrupt:
        print("\nptsa_lite: stopped; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
