"""The main job: the series of notebooks, executed in order on one data set, into one folder that can be resumed.

runs/TIME/
    NN_verb_object.ipynb             a finished notebook, executed
    NN_verb_object.unfinished.ipynb  the one that runs, or that failed: with the error in its cell
    *.json, figures/                 what the notebooks wrote, the next ones read
    results.json, report.html        the table, and one page with everything
    run.json                         what was asked for, and how each notebook went
"""

import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ptsa_lite.checks import SIZE, check, known
from ptsa_lite.data.disk import alone, read_json, write_json
from ptsa_lite.experiments.yaml_files import read_yaml

from . import notebooks
from .fingerprint import fingerprint
from .notebooks import NotebookError, built_from, declared
from .parameters import accept
from .places import notebooks_folder
from .progress import Progress
from .report import read_results, remarks, results_table, write_report

GUESS = 1.0  # minutes expected of a notebook of which the settings say nothing


@dataclass(frozen=True)
class Request:
    """What is asked of the series; the same request gives the same run.

    Raises ValueError or FileNotFoundError in one sentence where it cannot be served.
    """

    data: str = "scenes"
    root: str = ""
    limit: int = 0  # frames of each split, 0 for as many as settings and notebooks say
    seed: int = 0
    settings: str = ""  # a name in notebooks/settings or a YAML file; empty for the one named like the data

    def __post_init__(self):
        known(self.data, ("scenes", "nyud", "pascal"), "data")
        if self.data != "scenes" and not self.root:
            raise ValueError(f"--data {self.data} needs --root PATH, the folder of the archive")
        if self.data == "scenes" and self.root:
            raise ValueError("the scenes are drawn, not read: leave out --root, or name the archive with --data")
        if self.root and not Path(self.root).is_dir():
            raise FileNotFoundError(f"--root {self.root} is no folder; give the one that holds the {self.data} archive")
        check({"limit": SIZE, "seed": SIZE}, vars(self))

    def command(self) -> str:
        given = (f"--{f.name} {getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default)
        return " ".join(["python -m ptsa_lite reproduce", *given])


def reproduce(request: Request, out: str = "", resume: str = "", folder: Path | None = None) -> int:
    """Execute the series; returns the exit status: 0 all finished, 1 a notebook failed, 130 interrupted.

    `out` is the folder to write (default runs/TIME), `resume` one that an earlier run began: what is finished there
    is kept, unless the notebook's text or its parameters have changed since, or those of one before it.
    """
    run, request = _place(request, out, resume)
    folder = Path(folder or notebooks_folder()).resolve()
    minutes, overlay = read_settings(request, folder)
    root = str(Path(request.root).resolve()) if request.root else ""
    common = asdict(request) | {"root": root, "out_dir": str(run), "command": request.command()}
    jobs = plan(folder, common, overlay)
    with alone(run):
        return _series(request, run, jobs, minutes)


def _series(request: Request, run: Path, jobs: list, minutes: dict[str, float]) -> int:
    """Execute the jobs in the run's folder; the exit status."""
    state = {
        "request": asdict(request),
        "command": request.command(),
        "started": time.strftime("%Y-%m-%d %H:%M"),
        "notebooks": {source.stem: {"status": "not run", "seconds": 0.0} for source, _ in jobs},
    }
    before = read_json(run / "run.json").get("notebooks", {}) if (run / "run.json").is_file() else {}
    write_json(run / "run.json", state)  # from here on it can be resumed
    status, kept = 0, True
    progress = Progress({source.stem: 60 * minutes.get(source.stem, GUESS) for source, _ in jobs}, sys.stderr)
    whole = tqdm.format_interval(sum(progress.seconds.values()))
    progress.say(f"{request.command()}: {len(jobs)} notebooks, about {whole} on two cores; into {run}")
    try:
        for source, parameters in jobs:
            entry, unfinished = state["notebooks"][source.stem], run / f"{source.stem}.unfinished.ipynb"
            mark = fingerprint(source, {k: v for k, v in parameters.items() if k != "out_dir"})
            # A later one reads what an earlier one wrote: from the first that is run again on, all are.
            kept = kept and built_from(run / f"{source.stem}.ipynb") == mark
            if kept:
                progress.skip(source.stem)
                entry.update(before.get(source.stem, {}), status="finished")
            else:
                entry["status"] = "failed"  # until the contrary is known
                progress.begin(source.stem)
                executed = notebooks.execute(source, unfinished, parameters, progress.step)
                notebooks.write_built(executed, run / f"{source.stem}.ipynb", mark)  # a rename: it is finished
                unfinished.unlink()
                entry.update(seconds=progress.end(), status="finished")
            write_json(run / "run.json", state)
    except NotebookError as error:
        progress.say(str(error))
        status = 1
    except KeyboardInterrupt:
        progress.say(f"interrupted; go on with: python -m ptsa_lite reproduce --resume {run}")
        status = 130
    finally:
        progress.bar.close()
        write_json(run / "run.json", state)
    _tell(run, state)
    return status


def plan(folder: Path, common: dict[str, Any], overlay: dict[str, dict]) -> list[tuple[Path, dict[str, Any]]]:
    """The notebooks of the series in order, each with those common parameters that it declares and its settings.

    A notebook is of the series where it declares a parameter `data`.
    """
    jobs = []
    for source in notebooks.sources(folder):
        parameters = declared(source)
        if "data" in parameters:
            given = {key: value for key, value in common.items() if key in parameters}
            settings = overlay.get(source.stem, {})
            if given.get("limit") == 0:
                del given["limit"]  # where the command line names none, the settings' stands, or the notebook's own
            jobs.append((source, accept(settings | given, parameters, source.stem)))
    if not jobs:
        raise FileNotFoundError(f"{folder} holds no notebook of the series")
    return jobs


def read_settings(request: Request, folder: Path) -> tuple[dict[str, float], dict[str, dict]]:
    """(minutes by notebook, parameters by notebook) of a settings file; both empty where the data has none.

    The file maps a notebook's name to the parameters that it changes, and `minutes` to how long each notebook takes,
    for the time left. A name that does not exist is refused with the nearest.
    """
    shelf = {path.stem: path for path in sorted((folder / "settings").glob("*.yaml"))}
    name = request.settings or request.data
    if not request.settings and name not in shelf:
        return {}, {}
    own = Path(name).suffix in (".yaml", ".yml")
    path = Path(name) if own else shelf[known(name, shelf or [f"none in {folder / 'settings'}"], "settings")]
    content = read_yaml(path)
    stems = [source.stem for source in notebooks.sources(folder)]
    for key, value in content.items():
        if not isinstance(value, dict):
            raise ValueError(f"{path}: {key} must map names to values, not be {value!r}")
        for stem in value if key == "minutes" else [key]:
            known(stem, stems, f"notebook in {path.name}")
        if taken := {"data", "root", "seed", "out_dir"} & set(value):
            raise ValueError(f"{path}: {sorted(taken)[0]} of {key} is given on the command line, not in the settings")
    return content.pop("minutes", {}), content


def _place(request: Request, out: str, resume: str) -> tuple[Path, Request]:
    """The run's folder, which need not exist yet, and the request that the run began with."""
    if not resume:
        run = Path(out or Path("runs") / time.strftime("%Y-%m-%d_%H%M%S")).resolve()
        if run.is_dir() and any(path.name[0] != "." for path in run.iterdir()):  # what a killed one leaves is hidden
            raise ValueError(f"{run} is not empty; give another --out, or go on there with --resume {run}")
        return run, request
    path = Path(resume).resolve() / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"--resume {resume}: there is no run.json, so no run began there")
    asked, kinds = read_json(path, then="begin anew").get("request"), {f.name: f.type for f in fields(Request)}
    if not isinstance(asked, dict) or any(type(v) is not kinds.get(k) for k, v in asked.items()):
        raise ValueError(f"{path} does not say what was asked for; begin anew")
    began = Request(**asked)
    if out or request not in (Request(), began):
        raise ValueError(f"--resume goes on with what the run began with ({began.command()}); leave out the rest")
    return path.parent, began


def _tell(run: Path, state: dict) -> None:
    """The report first, then words: the table, what to say about it, and where everything is."""
    report, path = write_report(run), run / "results.json"
    missing = [stem for stem, entry in state["notebooks"].items() if entry["status"] == "not run"]
    if missing:
        print(f"not run: {', '.join(missing)}", file=sys.stderr)
    if path.is_file():
        results = read_results(path)
        print("\n".join([results_table(results), *remarks(results)]) + "\n")
    else:
        print("no results.json was written, so there is no table", file=sys.stderr)
    seconds = sum(entry["seconds"] for entry in state["notebooks"].values())
    print(f"{tqdm.format_interval(seconds)} in all; report: {report}", flush=True)
