"""Notebooks as text: read the .py, execute it by papermill, build the .ipynb that readers see.

The source of a notebook is `notebooks/NN_verb_object.py` (py:percent). The `.ipynb` beside it is made from it by
`build` and never by hand. Every notebook runs with the repository's root as working directory, in a kernel of the
Python that runs this module.
"""

import base64
import hashlib
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError
from PIL import Image, ImageChops, ImageStat

from ptsa_lite import __version__
from ptsa_lite.data.disk import alone, make_folder, write_text
from ptsa_lite.tasks import known

from .kernel import Progress, register
from .parameters import accept, declared

NAME = re.compile(r"\d\d_[a-z0-9_]+\.py")
WIDGET = "application/vnd.jupyter.widget-view+json"


class NotebookError(RuntimeError):
    """A notebook stopped before its end; the message names notebook, cell and reason."""


def find_folder() -> Path:
    """The folder `notebooks` where you stand, else the one beside an editable install of the package."""
    for folder in (Path.cwd() / "notebooks", Path(__file__).resolve().parents[2] / "notebooks"):
        if sources(folder):
            return folder
    raise FileNotFoundError("no folder notebooks/ with NN_*.py here; run from the root of a clone of the repository")


def sources(folder: Path) -> list[Path]:
    """The notebook sources NN_verb_object.py of a folder, in order."""
    return sorted(path for path in Path(folder).glob("*.py") if NAME.fullmatch(path.name))


def choose(folder: Path, names: Iterable[str] | None) -> list[Path]:
    """The sources named by stem or by number; all of them where no name is given."""
    every = {path.stem: path for path in sources(folder)}
    numbers = {stem[:2]: stem for stem in every}
    stems = [numbers.get(Path(name).stem, Path(name).stem) for name in names or every]
    return [every[known(stem, every, "notebook")] for stem in stems]


def read(source: Path) -> nbformat.NotebookNode:
    """The notebook of a py:percent file, with cell ids that depend on the cells' text alone.

    jupytext invents new ids at each reading. An id from the text, and a count among equal texts, keeps an unchanged
    cell's id unchanged, wherever it moves.
    """
    source = Path(source)
    if not source.is_file():
        raise FileNotFoundError(f"no notebook source at {source}")
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict({
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    })
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen = Counter()
    for cell in notebook.cells:
        key = f"{cell.cell_type}:{cell.source}"
        cell.id = hashlib.sha256(f"{key}:{seen[key]}".encode()).hexdigest()[:12]
        seen[key] += 1
    return notebook


def fingerprint(source: Path, parameters: dict[str, Any]) -> str:
    """sha256 of everything that a notebook's run is made from: its text, its parameters, the package's version."""
    parts = [Path(source).read_text(encoding="utf-8"), json.dumps(parameters, sort_keys=True), __version__]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def execute(
    source: Path, output: Path, parameters: dict[str, Any] | None = None, progress: Progress | None = None
) -> nbformat.NotebookNode:
    """Execute a .py notebook by papermill in the repository's root and write it, with its outputs, to `output`.

    Raises ValueError before anything runs on a parameter that the notebook does not declare or that has another type,
    and NotebookError where a cell fails or the kernel dies; the executed part is then left at `output`.
    """
    source, output = Path(source).resolve(), Path(output).resolve()
    notebook = read(source)
    parameters = accept(parameters or {}, declared(notebook, source.stem), source.stem)
    make_folder(output.parent)
    try:
        executed = papermill.execute_notebook(
            notebook, output, parameters, engine_name=register(), kernel_name="python3", language="python",
            progress_bar=False, progress=progress, cwd=source.parent.parent,
        )
    except PapermillExecutionError as error:
        reason = f"{error.ename}: {error.evalue}".strip().splitlines()[0]
        where = f"cell [{error.exec_count}], {_heading(notebook, error.source)}"
        raise NotebookError(
            f"notebook {source.stem} stopped in {where}: {reason}. What it had done is in {output}"
        ) from None
    if progress:
        progress(len(executed.cells), len(executed.cells), "")
    return executed


def _heading(notebook, text: str) -> str:
    """The heading above the first cell with this text, in words."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"(?m)^#+\s+(.+)$", cell.source) or [heading])[-1]
        elif cell.source == text:
            break
    return f"under {heading!r}" if heading else "before its first heading"


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what differs from run to run: times, paths, widget state, pieces of one stream."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    notebook.metadata["language_info"] = {"name": "python"}  # its version would be this machine's
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type != "code":
            continue
        kept = []
        for output in cell.outputs:
            data = output.get("data", {})
            if WIDGET in data:
                continue  # without a live kernel there is nothing behind it; a static drawing stands above
            if "image/png" in data:
                data["image/png"] = packed(data["image/png"])
            if kept and output.output_type == "stream" == kept[-1].output_type and output.name == kept[-1].name:
                kept[-1].text += output.text
            else:
                kept.append(output)
        cell.outputs = kept
    return notebook


def packed(picture: str) -> str:
    """A base64 PNG in fewer bytes: without an alpha channel that says nothing, and a drawing in 256 colours.

    A drawing is what 256 colours change by less than a quarter of a level (of 255) on average: shades of edges.
    """
    image, smaller = Image.open(BytesIO(base64.b64decode(picture))), BytesIO()
    if image.mode == "RGBA" and image.getextrema()[3] == (255, 255):
        image = image.convert("RGB")
    if image.mode == "RGB":
        few = image.quantize(256, dither=Image.Dither.NONE)
        if max(ImageStat.Stat(ImageChops.difference(image, few.convert("RGB"))).mean) < 0.25:
            image = few
    image.save(smaller, "png", optimize=True)
    return min(picture, base64.b64encode(smaller.getvalue()).decode() + "\n", key=len)


def build(
    folder: Path, names: Iterable[str] | None = None, force: bool = False, say: Callable[[str], None] = print
) -> list[Path]:
    """Execute each source with its defaults and write the paired .ipynb; returns what was written.

    A notebook whose .ipynb was built from the same text by the same version is left alone, unless forced. Figures
    that the notebook saved under its `out_dir` go to figures/.
    """
    folder = Path(folder).resolve()
    chosen = choose(folder, names)
    with alone(folder.parent / "runs" / "build"):
        return _build(folder, chosen, force, say)


def _build(folder: Path, chosen: list[Path], force: bool, say: Callable[[str], None]) -> list[Path]:
    written = []
    for source in chosen:
        target, mark = source.with_suffix(".ipynb"), fingerprint(source, {})
        if not force and target.is_file() and _built_from(target) == mark:
            say(f"{source.stem}: up to date")
            continue
        start = time.time()
        notebook = clean(execute(source, folder.parent / "runs" / "build" / target.name))
        notebook.metadata["ptsa_lite"] = {"built_from": mark}
        write_text(target, nbformat.writes(notebook) + "\n")
        figures = _collect_figures(source, start)
        say(f"{source.stem}: built in {time.time() - start:.0f} s, {target.stat().st_size / 1e3:.0f} kB, "
            f"{figures} new figure files")
        written.append(target)
    return written


def _built_from(target: Path) -> str:
    try:
        return json.loads(target.read_text(encoding="utf-8"))["metadata"]["ptsa_lite"]["built_from"]
    except (ValueError, KeyError):
        return ""


def _collect_figures(source: Path, start: float) -> int:
    """Copy what this run saved as out_dir/figures/NN_* to figures/; a figure of an older run stays where it is."""
    parameters, root = declared(read(source), source.stem), source.parent.parent
    if "out_dir" not in parameters:
        return 0
    made = (root / parameters["out_dir"].default / "figures").glob(f"{source.stem[:2]}_*")
    copied = 0
    for figure in sorted(path for path in made if path.stat().st_mtime >= start - 1):
        target = root / "figures" / figure.name
        if not target.is_file() or target.read_bytes() != figure.read_bytes():
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(figure, target.with_name(f".{figure.name}.part")).replace(target)
            copied += 1
    return copied
