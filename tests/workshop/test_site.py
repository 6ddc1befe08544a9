"""The series as pages: nothing is fetched, links lead to pages, formulas and tables are what they are."""

import sys

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat import v4

from ptsa_lite.workshop.pages import formula
from ptsa_lite.workshop.site import END, build_site

pytest.importorskip("latex2mathml", reason='no latex2mathml: pip install -e ".[site]"')
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FIRST = """# Draw a line

*First of two.* [next >](01_read_it.ipynb)

- See how a line is drawn. And more.

Here is [a section](01_read_it.ipynb#Table), [the recipe](../ptsa_lite/recipe.yaml), [the paper](https://arxiv.org).

$$\\min_x \\lVert x \\rVert^2 < 3$$

With $x_1 < x_2$ and ![](../figures/one.png)"""
SECOND = "# Read it\n\n[< previous](00_draw_line.ipynb)\n\n## Table\n\n| a | b |\n| --- | --- |\n| 1 | $\\sigma$ |"
FOLDED = "<details><summary>Words</summary>\n\n| word |\n| --- |\n| leaf |\n\n</details>"


@pytest.fixture
def folder(tmp_path):
    """A repository with two built notebooks."""
    made = tmp_path / "repository" / "notebooks"
    made.mkdir(parents=True)
    picture = v4.new_output("display_data", data={"image/png": PIXEL, "text/plain": "a figure that says: <a>"})
    solution = v4.new_code_cell("1 + 1", metadata={"tags": ["solution"]})
    cells = {"00_draw_line": [v4.new_markdown_cell(FIRST), v4.new_code_cell("draw(1 < 2)", outputs=[picture])],
             "01_read_it": [v4.new_markdown_cell(SECOND), v4.new_markdown_cell(FOLDED), solution]}  # fmt: skip
    for stem, own in cells.items():
        (made / f"{stem}.py").write_text("# %%\n")
        nbformat.write(v4.new_notebook(cells=own), made / f"{stem}.ipynb")
    (made.parent / "figures").mkdir()
    (made.parent / "figures" / "one.png").write_bytes(b"png")
    story = "# Series\n\n<img src='figures/one.png'> A story, with [a start](notebooks/00_draw_line.ipynb)."
    (made.parent / "README.md").write_text(f"{story}\n\n{END}\n\nMore.")
    return made


def site(folder, **options):
    written = build_site(folder, folder.parent / "site", say=lambda line: None, **options)
    return {path.name: path.read_text(encoding="utf-8") for path in written}


def links(text: str, where: str = "a") -> dict[str, str]:
    """The links of a page by their words."""
    return {link.text: link["href"] for link in BeautifulSoup(text, "html.parser").select(where)}


def test_there_is_a_page_a_notebook_and_none_fetches_anything(folder):
    pages = site(folder)
    assert list(pages) == ["index.html", "00_draw_line.html", "01_read_it.html"]
    for text in pages.values():
        fetched = BeautifulSoup(text, "html.parser").select("[src], link[href]")
        assert [tag for tag in fetched if not (tag.get("src") or tag.get("href")).startswith("data:")] == []
        assert "@import" not in text and "url(" not in text


def test_the_first_page_tells_the_story_and_has_a_card_for_each_notebook(folder):
    text = site(folder)["index.html"]
    assert "A story" in text and "More." not in text and "data:image/png;base64,cG5n" in text
    assert links(text)["a start"] == "00_draw_line.html"
    assert "See how a line is drawn." in text and "And more" not in text and "data:image/webp" in text


def test_links_lead_to_pages_and_to_the_repository_where_it_has_an_address(folder):
    text = site(folder)["00_draw_line.html"]
    found = links(text)
    assert found["next >"] == "01_read_it.html" and found["a section"] == "01_read_it.html#Table"
    assert "the recipe" in text and "the recipe" not in found and found["the paper"] == "https://arxiv.org"
    found = links(site(folder, repository="https://host/us/it/blob/main/")["00_draw_line.html"])
    assert found["the recipe"] == "https://host/us/it/blob/main/ptsa_lite/recipe.yaml"


def test_a_page_names_its_neighbours_and_where_it_stands(folder):
    first, second = list(site(folder).values())[1:]
    assert links(first, ".turn a") == {"The story": "index.html", "01 Read it": "01_read_it.html"}
    assert links(second, ".turn a") == {"00 Draw a line": "00_draw_line.html"}
    assert links(second, "[aria-current]") == {"01 Read it": "01_read_it.html"}


def test_formulas_are_mathml_tables_are_tables_and_code_and_solutions_are_folded(folder):
    first, second = list(site(folder).values())[1:]
    assert first.count("<math") == 2 and "lVert" not in first and "$$" not in first
    assert "<td>1</td>" in second and second.count("<math") == 1
    assert (
        '<details class="code">' in first
        and "draw(1 &lt; 2)" in first
        and 'alt="Draw a line: a figure that says: &lt;a&gt;"' in first
    )
    assert '<details class="solution">' in second
    assert BeautifulSoup(second, "html.parser").select("details td")[0].text == "leaf"


def test_a_notebook_that_was_not_built_and_a_readme_without_the_mark_are_named(folder):
    (folder.parent / "README.md").write_text("# Series\n")
    with pytest.raises(ValueError, match="README.md lacks"):
        site(folder)
    (folder / "01_read_it.ipynb").unlink()
    with pytest.raises(FileNotFoundError, match="notebooks build 01"):
        site(folder)


def test_without_latex2mathml_a_formula_is_shown_as_typed(monkeypatch):
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", None)
    assert formula("x < 1", "inline") == "<code>x &lt; 1</code>"


def test_a_page_of_somebody_else_is_not_replaced(folder):
    (folder.parent / "site").mkdir()
    (folder.parent / "site" / "index.html").write_text("my own page")
    with pytest.raises(ValueError, match="index.html is no page of this series; give another folder"):
        site(folder)
    assert (folder.parent / "site" / "index.html").read_text() == "my own page"
