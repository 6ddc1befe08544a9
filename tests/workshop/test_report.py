"""The table of methods, and the page."""

import json
import re
from html.parser import HTMLParser

import nbformat
import pytest

from ptsa_lite.workshop.report import figures_of, read_results, remarks, results_table, write_report

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def method(name, label, delta_m, **more):
    row = dict(method=name, label=label, tree=None, rank=None, metrics={"semseg": 0.41, "depth": 0.9},
               delta_m=delta_m, trainable=2_000_000, gmacs=3.25, seconds=75)
    return {**row, **more}


def results(*methods):
    tasks = [dict(name="semseg", metric="mIoU", higher_is_better=True),
             dict(name="depth", metric="RMSE (m)", higher_is_better=False)]
    return dict(data="scenes", tasks=tasks, methods=list(methods), versions={"torch": "2.14.1"}, seed=0, img_size=64)


FOUR = results(
    method("single_task", "single task", 0.0),
    method("decoders_only", "decoders only", -9.5, metrics={"semseg": 0.3, "depth": float("nan")}),
    method("lora_shared", "shared <LoRA>", -10.0, metrics={"semseg": 0.2}),
    method("ptsa", "grouped", 12.3456, tree="(1, 1, 2, 4)", rank=4, metrics={"semseg": 0.5, "depth": 0.7}),
)


def test_the_text_table_is_aligned_and_shows_what_is_missing():
    lines = results_table(FOUR).splitlines()
    assert len(lines) == 6
    assert "semseg mIoU ↑" in lines[0] and "depth RMSE (m) ↓" in lines[0]
    assert len({len(line) for line in lines}) == 1, "numbers end in one column"
    assert " ".join(lines[5].split()) == "grouped (1, 1, 2, 4) 4 0.5000 0.7000 +12.35 2.000 3.250 1:15"
    assert "–" in lines[3] and "nan" not in lines[3]


def test_a_method_that_does_no_better_than_the_decoders_alone_is_named():
    said = remarks(FOUR)
    assert len(said) == 1 and said[0].startswith("shared <LoRA> does not beat decoders only")
    assert remarks(results(method("ptsa", "grouped", 1.0))) == []
    assert remarks(results(method("decoders_only", "d", None), method("ptsa", "grouped", 1.0))) == []


@pytest.mark.parametrize("key", ["tasks", "methods"])
def test_results_without_a_key_are_refused_by_name(tmp_path, key):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({k: v for k, v in FOUR.items() if k != key}))
    with pytest.raises(ValueError, match=f"lacks {key}"):
        read_results(path)


def test_a_method_without_a_key_is_refused_by_label(tmp_path):
    broken = method("ptsa", "grouped", 1.0)
    del broken["gmacs"]
    (tmp_path / "results.json").write_text(json.dumps(results(broken)))
    with pytest.raises(ValueError, match="lacks gmacs of method grouped"):
        read_results(tmp_path / "results.json")


def notebook():
    new = nbformat.v4
    picture = new.new_output("display_data", data={"image/png": PIXEL})
    vector = new.new_output("display_data", data={"image/svg+xml": "<?xml?>\n<svg/>"})
    return new.new_notebook(cells=[
        new.new_markdown_cell("# Train it\n\nFirst words."),
        new.new_markdown_cell("## Look at *one* row\nYes.\n\n$$a = b$$\n\nHere the `loss` falls [far](x.md). It does."),
        new.new_code_cell("draw()", outputs=[picture]),
        new.new_code_cell("draw()", outputs=[vector]),
    ])


def test_a_figures_caption_is_the_nearest_heading_and_sentence():
    (first, caption), (second, _) = figures_of(notebook())
    assert caption == "Look at one row. Here the loss falls far"
    assert first.startswith('<img alt="Look at one row') and PIXEL in first
    assert second == "<svg/>"
    glued = nbformat.v4.new_notebook(cells=notebook().cells[2:3])
    glued.cells.insert(0, nbformat.v4.new_markdown_cell("## Look\nIt falls. It rises."))
    assert [words for _, words in figures_of(glued)] == ["Look. It falls"]


def page(tmp_path, with_results=True):
    entries = {"05_train_it": dict(status="finished", seconds=75.0), "06_x_y": dict(status="not run", seconds=0.0)}
    state = dict(request={"data": "scenes"}, command="python -m ptsa_lite reproduce", started="now", notebooks=entries)
    (tmp_path / "run.json").write_text(json.dumps(state))
    if with_results:
        (tmp_path / "results.json").write_text(json.dumps(FOUR))
    nbformat.write(notebook(), tmp_path / "05_train_it.ipynb")
    return write_report(tmp_path).read_text()


def test_the_page_is_self_contained_and_well_formed(tmp_path):
    text = page(tmp_path)
    assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", text), "nothing is fetched"
    open_tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            open_tags.append(tag) if tag not in ("meta", "img") else None

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Reader().feed(text)
    assert open_tags == []


def test_the_page_holds_table_figures_setting_and_versions_and_escapes_names(tmp_path):
    text = page(tmp_path)
    for words in ("shared &lt;LoRA&gt;", "<td class=best>+12.35</td>", "torch 2.14.1", "img size", "Train it",
                  "finished in 1:15", "not run", PIXEL, "prefers-color-scheme: dark"):
        assert words in text, words


def test_a_run_without_results_still_has_a_page(tmp_path):
    assert "No results.json was written" in page(tmp_path, with_results=False)
