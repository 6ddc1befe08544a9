"""The notebooks that readers see, made from their sources: executed with their defaults, without what differs by run.

    python figures/build_notebooks.py [NN ...]  # what is up to date is left alone
    python figures/build_notebooks.py --check   # exits with 1 where an .ipynb is not its source, executed

A build that was interrupted goes on when the same command is given again. Figures that a notebook saved under its
`out_dir` go to this folder.
"""

import base64
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path

import click
import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from PIL import Image, ImageChops, ImageStat

from ptsa_lite.__main__ import main, say
from ptsa_lite.data.disk import alone, make_folder, write_whole
from ptsa_lite.workshop.fingerprint import fingerprint
from ptsa_lite.workshop.notebooks import (
    FOLDED,
    METADATA,
    built_from,
    choose,
    declared,
    execute,
    read,
    sources,
    write_built,
)
from ptsa_lite.workshop.places import notebooks_folder


def build(
    folder: Path, names: Iterable[str] = (), force: bool = False, say: Callable[[str], None] = say
) -> list[Path]:  # fmt: skip
    """Execute each source in the repository's root, and write the .ipynb beside it; returns what was written.

    A notebook whose .ipynb was built from the same text by the same code is left alone, unless forced.
    """
    root, written = Path(folder).resolve().parent, []
    chosen = choose(folder, names)
    with alone(root / "runs" / "build"):
        for source in chosen:
            target, mark = source.with_suffix(".ipynb"), fingerprint(source, {})
            if not force and built_from(target) == mark:
                say(f"{source.stem}: up to date")
                continue
            start = time.time()
            notebook = clean(execute(source, root / "runs" / "build" / target.name, where=root))
            write_built(notebook, target, mark)
            n = collect_figures(source, start)
            size = target.stat().st_size / 1e3
            say(f"{source.stem}: built in {time.time() - start:.0f} s, {size:.0f} kB, {n} figure files")
            written.append(target)
    return written


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what differs from run to run, times and pieces of one stream, and with code folded."""
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


def collect_figures(source: Path, start: float) -> int:
    """Copy what this run saved as out_dir/figures/NN_* to figures/; a figure of an older run stays where it is."""
    parameters, root = declared(source), source.parent.parent
    if "out_dir" not in parameters:
        return 0
    found = (root / parameters["out_dir"].default / "figures").glob(f"{source.stem[:2]}_*")
    made = [path for path in found if path.stat().st_mtime >= start - 1]
    for figure in made:
        write_whole(make_folder(root / "figures") / figure.name, partial(shutil.copyfile, figure))
    return len(made)


def unlike_source(folder: Path) -> list[str]:
    """Sentences on every .ipynb that is not its source, executed from top to bottom; empty where all is well."""
    found = [
        f"{path.name}: there is no {path.stem}.py that it could be built from"
        for path in sorted(folder.glob("*.ipynb"))
        if path.with_suffix(".py") not in sources(folder)
    ]
    for source in sources(folder):
        if fault := _fault(source, source.with_suffix(".ipynb")):
            found.append(f"{source.stem}: {fault}; run `python figures/build_notebooks.py {source.stem[:2]}`")
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
        f"{source.stem}: built by other code than the package's; `python figures/build_notebooks.py` makes it anew"
        for source in sources(folder) if built_from(source.with_suffix(".ipynb")) != fingerprint(source, {})
    ]  # fmt: skip


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--force", is_flag=True, help="Build also what is up to date.")
@click.option("--check", is_flag=True, help="Build nothing; say which .ipynb is not its source, executed.")
def command(names, force, check) -> int:
    """Execute the sources of notebooks with their defaults and write the .ipynb beside them.

    NAME is a number or a name, such as 03 (default: all). With --check, notebooks that other code of the package has
    built than it has now are told as well, and are no fault.
    """
    folder = notebooks_folder()
    if not check:
        build(folder, names, force)
        return 0
    found = unlike_source(folder)
    say("\n".join([*found, *out_of_date(folder)]) or f"{len(sources(folder))} notebooks, nothing wrong")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(command=command))
