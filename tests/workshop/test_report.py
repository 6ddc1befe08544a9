"""The table of methods, and the page."""

import json
import re
from html.parser import HTMLParser

import nbformat
import pytest

from ptsa_lite.workshop.report import read_results, remarks, results_table, write_report

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def method(name, label, delta_m, **more):
    row = dict(
        method=name,
        label=label,
        tree=None,
        rank=None,
        metrics={"semseg": 0.41, "depth": 0.9},
        delta_m=delta_m,
        trainable=2_000_000,
        gmacs=3.25,
        seconds=75,
    )
    return {**row, **more}


def results(*methods):
    tasks = [
        dict(name="semseg", metric="mIoU", higher_is_better=True),
        dict(name="depth", metric="RMSE (m)", higher_is_better=False),
    ]
    return dict(data="scenes", tasks=tasks, methods=list(methods), versions={"torch": "2.14.1"}, seed=0, img_size=64)


FOUR = results(
    method("single_task", "single task", 0.0),
    method("decoders_only", "decoders only", -9.5, metrics={"semseg": 0.3, "depth": float("nan")}),
    method("lora_shared", "shared <LoRA>", -10.0, metrics={"semseg": 0.2}),
    method("ptsa", "grouped", 12.3456, tree="(1, 1, 2, 4)", rank=4, metrics={"semseg": 0.5, "depth": 0.7}),
)


def test_the_text_table_is_aligned_and_shows_what_is_missing():
    lines = results_table(FOUR).splitlines()
    assert len(lines) == 5
    assert "semseg mIoU ↑" in lines[0] and "depth RMSE (m) ↓" in lines[0]
    assert len({len(line) for line in lines}) == 1, "numbers end in one column"
    assert lines[1].strip().startswith("single task ") and lines[4].strip().startswith("grouped ")
    assert lines[1].index("single") == lines[4].index("grouped"), "names begin in one"
    assert " ".join(lines[4].split()) == "grouped (1, 1, 2, 4) 4 0.5000 0.7000 +12.35 2.000 3.250 01:15"
    assert "–" in lines[2] and "nan" not in lines[2]


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
    picture = new.new_output("display_data", data={"image/png": PIXEL, "text/plain": "<Drawing>"})
    vector = new.new_output("display_data", data={"image/svg+xml": "<svg></svg>"})
    return new.new_notebook(
        cells=[
            new.new_markdown_cell("# Train it\n\nFirst words."),
            new.new_markdown_cell("## Look at *one* row\nYes.\n\nHere the `loss` falls. It does."),
            new.new_code_cell("draw()", outputs=[picture, new.new_output("stream", text="a line")]),
            new.new_code_cell("draw()", outputs=[vector]),
            new.new_code_cell(
                "1 / 0", outputs=[new.new_output("error", ename="Zero", evalue="by 0", traceback=["by 0"])]
            ),
        ]
    )


def page(tmp_path, with_results=True):
    entries = {"05_train_it": dict(status="finished", seconds=75.0), "06_x_y": dict(status="not run", seconds=0.0)}
    state = dict(request={"data": "scenes"}, command="python -m ptsa_lite reproduce", started="now", notebooks=entries)
    (tmp_path / "run.json").write_text(json.dumps(state))
    if with_results:
        (tmp_path / "results.json").write_text(json.dumps(FOUR))
    nbformat.write(notebook(), tmp_path / "05_train_it.ipynb")
    return write_report(tmp_path).read_text(encoding="utf-8")


def test_the_page_is_self_contained_and_well_formed(tmp_path):
    text = page(tmp_path)
    assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", text) and "@import" not in text, "nothing is fetched"
    open_tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            open_tags.append(tag) if tag != "meta" else None

        def handle_startendtag(self, tag, attributes):
            assert PIXEL not in dict(attributes).get("src", "") or dict(attributes)["alt"] == "Look at *one* row"

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Reader().feed(text)
    assert open_tags == []


def test_the_page_holds_table_setting_and_versions_and_escapes_names(tmp_path):
    text = page(tmp_path)
    for words in ("shared &lt;LoRA&gt;", "<b>+12.35</b>", "torch 2.14.1", "img size", "finished in 01:15", "not run"):
        assert words in text, words


def test_a_notebooks_section_holds_its_figures_under_their_headings_and_neither_code_nor_prose(tmp_path):
    text = page(tmp_path)
    for words in (PIXEL, "data:image/svg+xml", "by 0", "Train it", "Look at <em>one</em> row"):
        assert text.count(words) == 1, words
    for words in ("First words", "It does", "draw()", "a line", "Drawing"):
        assert words not in text, words


def test_a_run_without_results_still_has_a_page(tmp_path):
    assert "No results.json was written" in page(tmp_path, with_results=False)
