"""A notebook as one page of HTML that fetches nothing: style, script, pictures and formulas are in it.

nbconvert does the work; the folder `page` beside this file is its template. Formulas become MathML, which browsers
draw themselves.
"""

import posixpath
from collections.abc import Callable
from html import escape
from pathlib import Path

import nbformat
from mistune.plugins.table import render_table
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from .notebooks import with_headings

Target = Callable[[str], str | None]  # where a link of the notebook leads on the page; None: nowhere


def page(
    notebook: nbformat.NotebookNode, target: Target = str, root: Path = Path("."), where: str = "", **around
) -> str:
    """The page of a notebook that lies in the folder ROOT/WHERE; pictures that its prose names lie below ROOT.

    around: title, and what stands around the notebook in a series: `series`, its name; `pages`, the (file, title) of
    every page; `here`, the file of this one.
    """
    for cell, heading in with_headings(notebook):
        for output in (one for one in cell.get("outputs", []) if "data" in one):
            said = output.data.get("text/plain", "<")  # of a drawing, the words that stand in it
            output.metadata["alt"] = heading if said.startswith("<") else f"{heading}: {said}"
    renderer = _Renderer(escape=False, anchor_link_text="#", embed_images=True, path=str(root))
    renderer.target, renderer.where = target, where
    exporter = HTMLExporter(template_name="page", extra_template_basedirs=[str(Path(__file__).parent)])
    exporter.register_filter("markdown2html", MarkdownWithMath(renderer=renderer).render)
    return exporter.from_notebook_node(notebook, {"page": around})[0]


def title_of(notebook: nbformat.NotebookNode) -> str:
    """The first heading of the first rank; empty where there is none."""
    return next((line[2:] for cell in notebook.cells for line in cell.source.splitlines() if line[:2] == "# "), "")


def formula(tex: str, display: str) -> str:
    """A formula as MathML; as it is typed, where latex2mathml (`pip install -e ".[site]"`) is not installed."""
    try:
        from latex2mathml.converter import convert
    except ImportError:
        return f"<code>{escape(tex)}</code>"
    return convert(tex, display=display)


class _Renderer(IPythonRenderer):
    target: Target
    where: str

    def block_math(self, body: str) -> str:
        return f'<span class="formula">{formula(body, "block")}</span>'

    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        found = self.target(url)
        return text if found is None else super().link(text, found, title)

    def table(self, text: str) -> str:
        return f'<div class="scroll"><div>{render_table(self, text)}</div></div>'

    def _html_embed_images(self, html: str) -> str:  # which closes what stays open until a later line, as <details>
        return super()._html_embed_images(html) if "<img" in html else html

    def _src_to_base64(self, src: str) -> str | None:  # nbconvert takes nothing that lies above its folder
        return super()._src_to_base64(posixpath.normpath(posixpath.join(self.where, src)))
