"""Notebooks as text: read the .py, execute it by papermill, build the .ipynb that readers see.

The source of a notebook is `notebooks/NN_verb_object.py` (py:percent). The `.ipynb` beside it is made from it by
`build` and never by hand. A notebook runs where you stand, as by papermill itself, in a kernel of the Python that runs
this module; only `build` stands in the repository's root.
"""

import base64
import hashlib
import json
import platform
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from papermill.exceptions import PapermillExecutionError
from PIL import Image, ImageChops, ImageStat

from ptsa_lite.checks import known
from ptsa_lite.data.disk import alone, make_folder, write_text, write_whole

from .fingerprint import fingerprint
from .kernel import Kernel, Listener, Progress
from .parameters import Parameter, accept, read_cell

NAME = re.compile(r"\d\d_[a-z0-9_]+\.py")
FOLDED = {"solution", "hide-input"}  # tags of cells whose code stands folded
WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
WORDS, LINES = 200, 12  # words of prose, and lines of code that stands open, that a reader takes in a minute
METADATA = {  # as JupyterLab and jupytext write it: a notebook that is opened and saved stays the same file
    "jupytext": {"cell_metadata_filter": "tags,-all", "notebook_metadata_filter": "-all"},
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3}, "file_extension": ".py", "mimetype": "text/x-python",
        "name": "python", "nbconvert_exporter": "python", "pygments_lexer": "ipython3",
        "version": platform.python_version(),
    },
}  # fmt: skip


class NotebookError(RuntimeError):
    """A notebook stopped before its end; the message names notebook, cell and reason."""


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
    """The notebook of a py:percent file, with cell ids from the cells' text: jupytext invents new ones each time."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen = Counter()
    for cell in notebook.cells:
        key = f"{cell.cell_type}:{cell.source}"
        cell.id = hashlib.sha256(f"{key}:{seen[key]}".encode()).hexdigest()[:12]
        seen[key] += 1
    return notebook


def cell_with_parameters(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The one cell tagged `parameters`, or None; ValueError where there are several, of which papermill reads one."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) > 1:
        raise ValueError(f"{len(tagged)} cells are tagged parameters; tag exactly one")
    return tagged[0] if tagged else None


def declared(source: Path) -> dict[str, Parameter]:
    """The parameters of a notebook by name, in the order written; empty where it has no parameters cell."""
    try:
        cell = cell_with_parameters(read(source))
        return read_cell(cell.source) if cell else {}
    except ValueError as error:
        raise ValueError(f"notebook {source.stem}: {error}") from None


def execute(
    source: Path, output: Path, parameters: dict[str, Any] | None = None,
    progress: Progress = lambda done, cells, line: None, where: str | Path = ".",
) -> nbformat.NotebookNode:  # fmt: skip
    """Execute a .py notebook by papermill, standing in the folder `where`, and write it with its outputs to `output`.

    Raises ValueError before anything runs on a parameter that the notebook does not declare or that has another type,
    and NotebookError where a cell fails or the kernel dies; the executed part is then left at `output`.
    """
    source, output = Path(source).resolve(), Path(output).resolve()
    parameters = accept(parameters or {}, declared(source), source.stem)
    notebook = read(source)
    make_folder(output.parent)
    listener = Listener(progress, len(notebook.cells) + bool(parameters))  # they have a cell
    try:
        executed = papermill.execute_notebook(
            notebook, output, parameters, kernel_name="python3", language="python", progress_bar=False, cwd=where,
            start_timeout=120, kernel_manager_class=Kernel, on_cell_start=listener.begin, stdout_file=listener,
        )  # fmt: skip
        listener.begin(None, len(executed.cells))
        return executed
    except PapermillExecutionError as error:
        number, text, reason = error.exec_count, error.source, f"{error.ename}: {error.evalue}".strip().splitlines()[0]
    except DeadKernelError:
        left, reason = nbformat.read(output, as_version=4), "the kernel died, most often for want of memory"
        cell = left.cells[listener.at]
        cell.outputs.append(nbformat.v4.new_output("error", ename="DeadKernel", evalue=reason, traceback=[reason]))
        nbformat.write(left, output)
        number, text = sum(cell.cell_type == "code" for cell in left.cells[: listener.at + 1]), cell.source
    heading = next((heading for cell, heading in with_headings(notebook) if cell.source == text), "")
    place = f"under {heading!r}" if heading else "before its first heading"
    words = f"notebook {source.stem} stopped in cell [{number}], {place}: {reason}"
    raise NotebookError(f"{words}. What it had done is in {output}")


def with_headings(notebook: nbformat.NotebookNode) -> list[tuple[nbformat.NotebookNode, str]]:
    """Every cell with the last heading above it, or in it."""
    heading, found = "", []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"(?m)^#+ (.+)$", cell.source) or [heading])[-1]
        found.append((cell, heading))
    return found


def reading_minutes(notebook: nbformat.NotebookNode) -> int:
    """Minutes of reading: prose, and the code that does not stand folded."""
    prose = lines = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            open_prose = re.sub(r"(?s)<details>.*?</details>|\]\([^)]*\)", " ", cell.source)
            prose += len(WORD.findall(open_prose))
        elif not FOLDED & set(cell.metadata.get("tags", [])):
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
    return round(prose / WORDS + lines / LINES)


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what differs from run to run: times, paths, pieces of one stream."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        folded = {"source_hidden": True} if FOLDED & set(tags) else {}  # JupyterLab's words
        folded |= {"outputs_hidden": True} if "solution" in tags else {}
        metadata = {"tags": tags, "jupyter": folded}
        cell.metadata = nbformat.from_dict({key: value for key, value in metadata.items() if value})
        CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, 0)
        for output in cell.get("outputs", []):
            if "image/png" in (data := output.get("data", {})):
                data["image/png"] = packed(data["image/png"])
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
) -> None:
    """Execute each source with its defaults and write the paired .ipynb.

    A notebook whose .ipynb was built from the same text by the same code is left alone, unless forced. Figures that
    the notebook saved under its `out_dir` go to figures/.
    """
    root, chosen = Path(folder).resolve().parent, choose(folder, names)
    with alone(root / "runs" / "build"):
        for source in chosen:
            target, mark = source.with_suffix(".ipynb"), fingerprint(source, {})
            if not force and built_from(target) == mark:
                say(f"{source.stem}: up to date")
                continue
            start = time.time()
            notebook = clean(execute(source, root / "runs" / "build" / target.name, where=root))
            write_built(notebook, target, mark)
            n, size = _collect_figures(source, start), target.stat().st_size / 1e3
            say(f"{source.stem}: built in {time.time() - start:.0f} s, {size:.0f} kB, {n} figure files")


def write_built(notebook: nbformat.NotebookNode, target: Path, mark: str) -> None:
    """Write an executed notebook with its fingerprint, whole or not at all."""
    notebook.metadata["ptsa_lite"] = {"built_from": mark}
    write_text(target, nbformat.writes(notebook) + "\n")


def built_from(target: Path) -> str:
    """The fingerprint that a built or finished notebook carries; empty where there is none."""
    try:
        return json.loads(target.read_text(encoding="utf-8"))["metadata"]["ptsa_lite"]["built_from"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def unlike_source(folder: Path) -> list[str]:
    """Sentences on every .ipynb that is not its source, executed from top to bottom; empty where all is well."""
    found = [
        f"{path.name}: there is no {path.stem}.py that it could be built from"
        for path in sorted(folder.glob("*.ipynb"))
        if path.with_suffix(".py") not in sources(folder)
    ]
    for source in sources(folder):
        if fault := _fault(source, source.with_suffix(".ipynb")):
            found.append(f"{source.stem}: {fault}; run `python -m ptsa_lite notebooks build {source.stem[:2]}`")
    return found


def _fault(source: Path, target: Path) -> str:
    """What is wrong with a built notebook, in words; nothing where all is well."""
    if not target.is_file():
        return f"{target.name} is missing"
    built = nbformat.read(target, as_version=4)
    kept, written = ([(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]
                     for notebook in (built, read(source)))  # fmt: skip
    if kept != written:
        return f"the cells of {target.name} differ from {source.name}"
    counts = [cell.execution_count for cell in built.cells if cell.cell_type == "code" and cell.source.strip()]
    return "" if counts == [*range(1, len(counts) + 1)] else f"{target.name} was not executed from top to bottom"


def out_of_date(folder: Path) -> list[str]:
    """Sentences on every built notebook whose source, or whose code in the package behind it, has changed since."""
    return [
        f"{source.stem}: built by other code than the package's; `python -m ptsa_lite notebooks build` makes it anew"
        for source in sources(folder) if built_from(source.with_suffix(".ipynb")) != fingerprint(source, {})
    ]  # fmt: skip


def _collect_figures(source: Path, start: float) -> int:
    """Copy what this run saved as out_dir/figures/NN_* to figures/; a figure of an older run stays where it is."""
    parameters, root = declared(source), source.parent.parent
    if "out_dir" not in parameters:
        return 0
    found = (root / parameters["out_dir"].default / "figures").glob(f"{source.stem[:2]}_*")
    made = [path for path in found if path.stat().st_mtime >= start - 1]
    for figure in made:
        write_whole(make_folder(root / "figures") / figure.name, partial(shutil.copyfile, figure))
    return len(made)
