"""The series as a site: a page for every built notebook and a first one with the story; none fetches anything."""

import base64
import posixpath
import re
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import nbformat
from nbformat import v4
from PIL import Image

from ptsa_lite.data.disk import make_folder, write_text

from .explore import address
from .notebooks import reading_minutes, sources
from .pages import page, title_of

SERIES = "ptsa-lite"
END = "<!-- the site's first page ends here -->"  # in README.md: what stands above it is told on the site as well


def build_site(folder: Path, out: Path, repository: str = "", say: Callable[[str], None] = print) -> list[Path]:
    """Write OUT/index.html and OUT/NN_*.html from the built .ipynb files of a folder; returns what was written.

    repository: the address under which the repository's files can be read; without it links to them are plain words.

    Raises FileNotFoundError naming a notebook that was not built, and ModuleNotFoundError without latex2mathml.
    """
    import latex2mathml  # noqa: F401 - a page without formulas is worth nothing, so this is told before any is written

    index = Path(out) / "index.html"
    if index.is_file() and SERIES not in index.read_text(encoding="utf-8", errors="replace"):
        raise ValueError(f"{index} is no page of this series; give another folder")
    root, built = Path(folder).resolve().parent, {}
    for source in sources(folder):
        if not (path := source.with_suffix(".ipynb")).is_file():
            raise FileNotFoundError(f"{path} is missing; run `python -m ptsa_lite notebooks build {source.stem[:2]}`")
        built[source.stem] = nbformat.read(path, as_version=4)
    titles = {stem: title_of(notebook) for stem, notebook in built.items()}
    pages = [("index.html", "The story"), *((f"{stem}.html", f"{stem[:2]} {title}") for stem, title in titles.items())]

    def target(url: str, where: str) -> str | None:
        """Where a link of a file in this folder of the repository leads on the site."""
        path, mark, anchor = url.partition("#")
        if re.match(r"[a-z]+:", url) or not path:
            return url
        path = posixpath.normpath(posixpath.join(where, path))
        if path.endswith(".ipynb") and Path(path).stem in built:
            return f"{Path(path).stem}.html{mark}{anchor}"
        return f"{repository.rstrip('/')}/{path}{mark}{anchor}" if repository else None

    cards = [{"stem": stem, "title": titles[stem], "purpose": purpose(notebook), "minutes": reading_minutes(notebook),
              "picture": first_picture(notebook)} for stem, notebook in built.items()]  # fmt: skip
    first = v4.new_notebook(cells=[v4.new_markdown_cell(story(root), id="story")])
    written = {make_folder(Path(out)) / "index.html": (SERIES, first, "", cards)}
    written |= {Path(out) / f"{stem}.html": (titles[stem], notebook, Path(folder).name, [])
                for stem, notebook in built.items()}  # fmt: skip
    for path, (title, notebook, where, shown) in written.items():
        write_text(path, page(notebook, partial(target, where=where), root, where, title=title, here=path.name,
                              series=SERIES, pages=pages, cards=shown))  # fmt: skip
    say(f"{len(written)} pages, {sum(path.stat().st_size for path in written) / 1e6:.1f} MB, in {out}")
    return list(written)


def story(root: Path) -> str:
    """The beginning of README.md, up to the mark where the site's first page ends."""
    text = (root / "README.md").read_text(encoding="utf-8")
    if END not in text:
        raise ValueError(f"README.md lacks the line {END!r}, up to which it is the site's first page")
    return text.partition(END)[0]


def purpose(notebook: nbformat.NotebookNode) -> str:
    """The first sentence of plain prose: neither heading nor emphasis nor links."""
    for block in re.split(r"\n\s*\n", notebook.cells[0].source):
        if not re.match(r"[#*\[<!|>_]", block):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`]", r"\1", " ".join(block.removeprefix("- ").split()))
            return re.split(r"(?<=[.?!])\s", words)[0]
    return ""


def first_picture(notebook: nbformat.NotebookNode) -> str:
    """The first figure of a notebook, made smaller, as a data URI."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                image = Image.open(BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGB")
                image.thumbnail((480, 480))
                return address(image)
    return ""
