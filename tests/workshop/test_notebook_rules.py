"""Each fault of a notebook is found, and a notebook without fault is not accused."""

import nbformat
import pytest
from notebook_rules import broken_rules, prose_and_code

from ptsa_lite.workshop.fingerprint import fingerprint
from ptsa_lite.workshop.notebooks import out_of_date, read, reading_minutes, unlike_source

GOOD = """# %% [markdown]
# # Draw a line
# See ![the line](../figures/00_line.svg), [the next](00_draw_line.ipynb#end) and [the paper](https://arxiv.org).

# %% tags=["parameters"]
steps: int = 3  # how many

# %%
print("fine")

# %% [markdown]
# ## What we found
# A line.
"""


@pytest.fixture
def folder(tmp_path):
    """A repository whose one notebook is without fault."""
    made = tmp_path / "repository" / "notebooks"
    made.mkdir(parents=True)
    (tmp_path / "repository" / "figures").mkdir()
    (tmp_path / "repository" / "figures" / "00_line.svg").write_text("<svg/>")
    write(made)
    return made


def write(folder, source=GOOD, name="00_draw_line", output=None):
    """A source and its .ipynb as if it had been executed, with one output where one is given."""
    (folder / f"{name}.py").write_text(source)
    notebook = read(folder / f"{name}.py")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
    if output:
        code[-1].outputs = [nbformat.v4.new_output(**output)]
    notebook.metadata["ptsa_lite"] = {"built_from": fingerprint(folder / f"{name}.py", {})}
    nbformat.write(notebook, folder / f"{name}.ipynb")


def read_source(folder, source):
    """The notebook of a source that stands in the folder."""
    (folder / "00_draw_line.py").write_text(source)
    return read(folder / "00_draw_line.py")


def stream(text, name="stdout"):
    return dict(output_type="stream", name=name, text=text)


def test_a_notebook_without_fault_passes(folder):
    write(folder, output=stream("3 of 4\n"))
    assert broken_rules(folder) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("# # Draw a line", "# Draw a line", "no title"),
        ("# # Draw a line", "# # A line", "lacks the verb 'draw'"),
        (' tags=["parameters"]', "", "no cell is tagged parameters"),
        ("steps: int = 3", "steps = 3", "the parameters cell holds 'steps = 3"),
        ("## What we found", "## End", "no heading 'What we found'"),
        ("00_line.svg", "00_circle.svg", "names ../figures/00_circle.svg"),
        ("(00_draw_line.ipynb#end)", "(01_go_on.ipynb)", "names 01_go_on.ipynb"),
        ('print("fine")', "\n".join(["print()"] * 31), "a code cell of 31 lines"),
    ],
)
def test_a_fault_of_the_source_is_told(folder, old, new, words):
    assert old in GOOD
    write(folder, GOOD.replace(old, new))
    assert any(words in sentence and sentence.startswith("00_draw_line: ") for sentence in broken_rules(folder))


def test_imports_make_no_cell_long(folder):
    imports = "".join(f"import os as a{i}\n" for i in range(25)) + "from os import (\n    path,\n    sep,\n)\n"
    write(folder, GOOD.replace('print("fine")', imports + "\n".join(["print()"] * 30)) + "# words\n" * 200)
    assert broken_rules(folder) == []


def test_prose_is_at_least_as_long_as_code(folder):
    lines = "\n".join(f"value_{i} = {i}" for i in range(5))
    assert prose_and_code(read_source(folder, GOOD)) == (18, 4)
    write(folder, GOOD.replace('print("fine")', lines))
    assert broken_rules(folder) == [], "13 names and numbers against 18 words"
    write(folder, GOOD.replace('print("fine")', lines + "\nfor _ in range(3): pass"))
    assert ["18 words of prose for 19" in sentence for sentence in broken_rules(folder)] == [True]


@pytest.mark.parametrize(
    ("added", "prose", "code"),
    [
        ("# a remark of six words here", 6, 0),
        ('def f():\n    """Two words."""', 2, 2),
        ("print('words that are only printed')", 0, 1),
        ("%matplotlib inline", 0, 0),
        ("x = f(1)  # one", 1, 3),
    ],
)
def test_comments_and_docstrings_are_prose_and_printed_words_are_neither(folder, added, prose, code):
    before = prose_and_code(read_source(folder, GOOD))
    after = prose_and_code(read_source(folder, GOOD.replace('print("fine")', f'print("fine")\n{added}')))
    assert (after[0] - before[0], after[1] - before[1]) == (prose, code)


def test_solutions_do_not_count(folder):
    solved = GOOD.replace("# %%\nprint", '# %% tags=["solution"]\nprint')
    assert prose_and_code(read_source(folder, solved))[1] == prose_and_code(read_source(folder, GOOD))[1] - 1


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (stream("UserWarning: old\n", "stderr"), "words on stderr, 'UserWarning: old'"),
        (dict(output_type="error", ename="KeyError", evalue="depth", traceback=[]), "the error KeyError"),
        (stream("saved to " + "/" + "home/someone/runs"), "the machine's path"),
        (stream("in lib/python3.11/site-packages/timm"), "the machine's path"),
        (stream("<function f at 0x7f3a2b1c9d00>"), "the memory address 0x7f3a2b1c9d00"),
    ],
)
def test_a_fault_in_an_output_is_told_with_its_cell(folder, output, words):
    write(folder, output=output)
    assert any(words in sentence and "cell [2]" in sentence for sentence in broken_rules(folder))


def test_the_repositorys_own_path_in_an_output_is_told(folder):
    write(folder, output=stream(f"{folder.parent}/runs"))
    assert any("the machine's path" in sentence for sentence in broken_rules(folder))


def test_a_missing_a_stale_and_an_unexecuted_notebook_are_told(folder):
    (folder / "00_draw_line.py").write_text(GOOD.replace("fine", "finer"))
    assert any("differ from 00_draw_line.py" in sentence for sentence in unlike_source(folder))
    write(folder)
    built = nbformat.read(folder / "00_draw_line.ipynb", as_version=4)
    built.cells[2].execution_count = 7
    nbformat.write(built, folder / "00_draw_line.ipynb")
    assert any("not executed from top to bottom" in sentence for sentence in unlike_source(folder))
    write(folder)
    (folder / "00_draw_line.py").write_text(GOOD.replace("# %%\nprint", '# %% tags=["solution"]\nprint'))
    assert any("differ from 00_draw_line.py" in sentence for sentence in unlike_source(folder)), "tags count"
    (folder / "00_draw_line.ipynb").unlink()
    assert any("is missing" in sentence and "build 00" in sentence for sentence in unlike_source(folder))


def test_a_notebook_that_other_code_built_is_told(folder, monkeypatch):
    assert out_of_date(folder) == []
    monkeypatch.setattr("ptsa_lite.workshop.notebooks.fingerprint", lambda source, parameters: "of other code")
    assert ["00_draw_line: built by other code" in words for words in out_of_date(folder)] == [True]
    assert broken_rules(folder) == [], "which is no fault of the notebook"


def test_a_notebook_above_one_megabyte_is_told(folder):
    write(folder, output=stream("x" * 1_000_001))
    assert any("1.0 MB" in sentence for sentence in broken_rules(folder))


def test_an_ipynb_without_source_and_a_figure_that_nobody_names_are_told(folder):
    (folder / "01_go_on.ipynb").write_text("{}")
    (folder.parent / "figures" / "00_circle.png").write_text("")
    found = broken_rules(folder)
    assert "01_go_on.ipynb: there is no 01_go_on.py that it could be built from" in found
    assert "figures/00_circle.png: no notebook and not README.md names it" in found
    assert len(found) == 2


def test_a_figure_may_be_named_by_an_f_string(folder):
    source = GOOD + '\n# %%\nfor name in ("a",):\n    save_figure(figure, f"00_of_{name}", out_dir)\n'
    (folder / "00_draw_line.py").write_text(source)
    for stem in ("00_of_a", "01_of_a", "00_for_a"):
        (folder.parent / "figures" / f"{stem}.png").write_text("")
    orphans = [sentence for sentence in broken_rules(folder) if "names it" in sentence]
    assert [sentence.partition(":")[0] for sentence in orphans] == ["figures/00_for_a.png", "figures/01_of_a.png"]


def test_reading_takes_a_minute_for_200_words_or_12_lines_and_what_is_folded_takes_none(folder):
    prose = "# %% [markdown]\n# " + "word " * 400 + "\n# <details>" + "word " * 999 + "</details>\n\n"
    code = "# %%{}\n" + "x = 1\n\n" * 36 + "\n"
    folded = code.format(' tags=["hide-input"]') + code.format(' tags=["solution"]')
    assert reading_minutes(read_source(folder, prose + code.format("") + folded)) == 2 + 3
