"""The table of methods, and the one page that a run leaves: report.html, which fetches nothing.

The page is a notebook made of the run's notebooks, their titles and figures without code and prose, and becomes HTML
as those of the site do.
"""

import html
import math
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas
from nbformat import v4
from tqdm import tqdm

from ptsa_lite.data.disk import read_json, write_text

from .notebooks import with_headings
from .pages import page, title_of

METHOD_KEYS = ("method", "label", "tree", "rank", "metrics", "delta_m", "trainable", "gmacs", "seconds")


def read_results(path: Path) -> dict:
    """results.json as the last notebook of the series wrote it; ValueError naming the key that it lacks."""
    results = read_json(path, then="run the notebook that writes it again")
    lacking = [key for key in ("data", "tasks", "methods") if key not in results]
    for row in results.get("methods", []):
        lacking += [f"{key} of method {row.get('label', '?')}" for key in METHOD_KEYS if key not in row]
    if lacking:
        raise ValueError(f"{path} lacks {lacking[0]}; run the notebook that writes it again")
    return results


def table(results: dict, best: str = "{}") -> pandas.DataFrame:
    """The methods as texts, a row each; `best` is how the best of a column is written."""
    rows = results["methods"]
    columns = {"method": [row["label"] for row in rows]}
    for key, heading in (("tree", "groups"), ("rank", "rank")):
        columns[heading] = ["–" if row[key] is None else str(row[key]) for row in rows]
    for task in results["tasks"]:
        values, higher = [row["metrics"].get(task["name"]) for row in rows], task["higher_is_better"]
        columns[f"{task['name']} {task['metric']} {'↑' if higher else '↓'}"] = _texts(values, 4, higher, best)
    columns["delta_m % ↑"] = _texts([row["delta_m"] for row in rows], 2, True, best, "+")
    columns["trainable M"] = _texts([row["trainable"] / 1e6 for row in rows], 3)
    columns["GMACs"] = _texts([row["gmacs"] for row in rows], 3)
    columns["time"] = [tqdm.format_interval(row["seconds"]) for row in rows]
    return pandas.DataFrame(columns)


def _texts(values: list, digits: int, higher: bool | None = None, best: str = "{}", sign: str = "") -> list[str]:
    """Numbers with decimals in keeping with their size (0.4132, 24.13, 1,234.5), and the best of them marked."""
    real = [value for value in values if value is not None and math.isfinite(value)]
    top = (max if higher else min)(real) if higher is not None and len(real) > 1 else None

    def text(value: float | None) -> str:
        if value not in real:
            return "–"
        said = f"{value:{sign},.{digits if abs(value) < 10 else min(digits, 2)}f}"
        return best.format(said) if value == top else said

    return list(map(text, values))


def results_table(results: dict) -> str:
    """The table as plain text, the first column to the left, the others to the right."""
    texts = table(results)
    labels = texts["method"]
    return texts.assign(method=labels.str.ljust(labels.str.len().max())).to_string(index=False)


def html_table(results: dict) -> str:
    """The table as HTML, the best of each column bold."""
    methods = [row | {"label": html.escape(row["label"])} for row in results["methods"]]
    texts = table({**results, "methods": methods}, best="<b>{}</b>")
    return texts.to_html(index=False, escape=False, border=0, classes="results")


def remarks(results: dict) -> list[str]:
    """What a reader should not have to find out alone: trained methods that do no better than the decoders alone."""
    gains = {row["label"]: row["delta_m"] for row in results["methods"] if row["method"] != "decoders_only"}
    floors = [row for row in results["methods"] if row["method"] == "decoders_only" and row["delta_m"] is not None]
    return [
        f"{label} does not beat {floor['label']} in this run (delta_m {gain:+.2f} against {floor['delta_m']:+.2f} %)."
        for floor in floors[:1] for label, gain in gains.items() if gain is not None and not gain > floor["delta_m"]
    ]  # fmt: skip


def write_report(run: Path) -> Path:
    """Write RUN/report.html from what the run's folder holds: run.json, results.json and the executed notebooks."""
    state = read_json(run / "run.json")
    title = f"ptsa_lite on {state['request']['data']}"
    cells = [v4.new_markdown_cell(text) for text in (f"# {title}", *_summary(run, state))]
    for stem, entry in state["notebooks"].items():
        cells += _figures_of(run, stem, entry)
    write_text(run / "report.html", page(v4.new_notebook(cells=cells), title=title, series="ptsa-lite"))
    return run / "report.html"


def _summary(run: Path, state: dict) -> Iterator[str]:
    """What was asked for, with which versions, and the table of methods."""
    seconds = sum(entry["seconds"] for entry in state["notebooks"].values())
    facts = {"command": state["command"], "started": state["started"], "time": tqdm.format_interval(seconds)}
    if not (run / "results.json").is_file():
        yield pandas.Series(facts).to_frame().to_html(header=False, border=0) + "\n\nNo results.json was written."
        return
    results = read_results(run / "results.json")
    facts |= {key.replace("_", " "): results[key] for key in ("img_size", "seed") if key in results}
    facts["versions"] = ", ".join(f"{name} {number}" for name, number in results.get("versions", {}).items())
    yield pandas.Series(facts).to_frame().to_html(header=False, border=0)
    yield ("## Methods\n\ndelta_m is the mean gain over single-task training in per cent; bold is the best of a "
           "column.")  # fmt: skip
    yield html_table(results)
    yield "\n".join(f"- {html.escape(remark)}" for remark in remarks(results))


def _figures_of(run: Path, stem: str, entry: dict) -> Iterator[nbformat.NotebookNode]:
    """A section for one notebook: how it went, its figures under their headings, and the error where it failed."""
    name = f"{stem}.unfinished.ipynb" if entry["status"] == "failed" else f"{stem}.ipynb"
    words = entry["status"] + (f" in {tqdm.format_interval(entry['seconds'])}" if entry["status"] == "finished" else "")
    if entry["status"] == "not run" or not (run / name).is_file():
        yield v4.new_markdown_cell(f"## {stem}\n\n{words}")
        return
    notebook = nbformat.read(run / name, as_version=4)
    title = said = title_of(notebook) or stem
    yield v4.new_markdown_cell(f"## {title}\n\n{words}, [{name}]({name})")
    for cell, heading in with_headings(notebook):
        if shown := list(filter(_is_shown, cell.get("outputs", []))):
            if heading != said:
                yield v4.new_markdown_cell(f"### {heading}")
            said = heading
            yield v4.new_code_cell(outputs=shown)


def _is_shown(output: nbformat.NotebookNode) -> bool:
    return output.output_type == "error" or any(kind.startswith("image/") for kind in output.get("data", {}))
