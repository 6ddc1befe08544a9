"""The table of methods as text and as HTML, and the one page that a run leaves: report.html, self-contained."""

import html
import math
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

from ptsa_lite.data.disk import read_json, write_text
from ptsa_lite.training.progress import clock_time

METHOD_KEYS = ("method", "label", "tree", "rank", "metrics", "delta_m", "trainable", "gmacs", "seconds")


def read_results(path: Path) -> dict:
    """results.json as the last notebook of the series wrote it; ValueError naming the key that it lacks."""
    results = read_json(Path(path), then="run the notebook that writes it again")
    lacking = [key for key in ("data", "tasks", "methods") if key not in results]
    lacking += [f"{key} of method {row.get('label', '?')}" for row in results.get("methods", [])
                for key in METHOD_KEYS if key not in row]
    if lacking:
        raise ValueError(f"{path} lacks {lacking[0]}; run the notebook that writes it again")
    return results


def columns(results: dict) -> list[tuple[str, list[str], int | None]]:
    """(heading, one text per method, index of the best or None), the same for the text and the HTML table."""
    rows = results["methods"]
    table = [("method", [row["label"] for row in rows], None)]
    for key, heading in (("tree", "groups"), ("rank", "rank")):
        table.append((heading, ["–" if row[key] is None else str(row[key]) for row in rows], None))
    for task in results["tasks"]:
        values = [row["metrics"].get(task["name"]) for row in rows]
        heading = f"{task['name']} {task['metric']} {'↑' if task['higher_is_better'] else '↓'}"
        table.append((heading, [_number(value, 4) for value in values], _best(values, task["higher_is_better"])))
    gains = [row["delta_m"] for row in rows]
    table.append(("delta_m % ↑", [_number(gain, 2, sign=True) for gain in gains], _best(gains, True)))
    table.append(("trainable M", [_number(row["trainable"] / 1e6, 3) for row in rows], None))
    table.append(("GMACs", [_number(row["gmacs"], 3) for row in rows], None))
    table.append(("time", [clock_time(row["seconds"]) for row in rows], None))
    return table


def results_table(results: dict) -> str:
    """The table as aligned plain text: names to the left, numbers to the right."""
    lines = [[] for _ in range(len(results["methods"]) + 2)]
    for number, (heading, cells, _) in enumerate(columns(results)):
        width = max(len(text) for text in (heading, *cells))
        pad = str.ljust if number == 0 else str.rjust
        for line, text in zip(lines, (heading, "-" * width, *cells), strict=True):
            line.append(pad(text, width))
    return "\n".join("  ".join(line).rstrip() for line in lines)


def remarks(results: dict) -> list[str]:
    """What a reader should not have to find out alone: trained methods that do no better than the decoders alone."""
    gains = {row["label"]: row["delta_m"] for row in results["methods"] if row["method"] != "decoders_only"}
    floor = [row for row in results["methods"] if row["method"] == "decoders_only" and row["delta_m"] is not None]
    return [
        f"{label} does not beat {floor[0]['label']} in this run (delta_m {gain:+.2f} against "
        f"{floor[0]['delta_m']:+.2f} %)."
        for label, gain in gains.items()
        if floor and gain is not None and not gain > floor[0]["delta_m"]
    ]


def _number(value: float | None, digits: int, sign: bool = False) -> str:
    """Decimals in keeping with the size, so that a column stays narrow: 0.4132, 24.13, 1,234.5."""
    if value is None or not math.isfinite(value):
        return "–"
    digits = digits if abs(value) < 10 else min(digits, 2)
    return f"{value:{'+' if sign else ''},.{digits}f}"


def _best(values: list[float | None], higher: bool) -> int | None:
    real = {index: value for index, value in enumerate(values) if value is not None and math.isfinite(value)}
    return (max if higher else min)(real, key=real.get) if len(real) > 1 else None


def write_report(run: Path) -> Path:
    """Write RUN/report.html from what the run's folder holds: run.json, results.json and the executed notebooks."""
    run = Path(run)
    state = read_json(run / "run.json")
    results = read_results(run / "results.json") if (run / "results.json").is_file() else None
    parts = [_setting(state, results), _methods(results) if results else "<p>No results.json was written.</p>"]
    parts += [_notebook(run, stem, entry) for stem, entry in state["notebooks"].items()]
    title = f"ptsa_lite on {html.escape(state['request']['data'])}"
    page = PAGE.format(title=title, style=STYLE, body="\n".join(parts))
    write_text(run / "report.html", page)
    return run / "report.html"


def _setting(state: dict, results: dict | None) -> str:
    seconds = sum(entry["seconds"] for entry in state["notebooks"].values())
    facts = {"command": state["command"], "started": state["started"], "time": clock_time(seconds)}
    for key in ("img_size", "seed"):
        if results and key in results:
            facts[key.replace("_", " ")] = results[key]
    if results:
        facts["versions"] = ", ".join(f"{name} {number}" for name, number in results.get("versions", {}).items())
    items = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(str(v))}</dd>" for k, v in facts.items())
    return f"<dl>{items}</dl>"


def _methods(results: dict) -> str:
    table = columns(results)
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading, _, _ in table)
    rows = []
    for row in range(len(results["methods"])):
        cells = (f"<td{' class=best' if best == row else ''}>{html.escape(c[row])}</td>" for _, c, best in table)
        rows.append(f"<tr>{''.join(cells)}</tr>")
    notes = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in remarks(results))
    return (
        "<h2>Methods</h2><p>delta_m is the mean gain over single-task training in per cent; bold is the best of a "
        f"column.</p><div class=wide><table><tr>{head}</tr>{''.join(rows)}</table></div>{notes}"
    )


def _notebook(run: Path, stem: str, entry: dict) -> str:
    """A section for one notebook: how it went, and its figures."""
    paths = [path for path in (run / f"{stem}.ipynb", run / f"{stem}.unfinished.ipynb") if path.is_file()]
    path = paths[-1] if entry["status"] == "failed" and paths else (paths or [None])[0]
    words = entry["status"] + (f" in {clock_time(entry['seconds'])}" if entry["status"] == "finished" else "")
    title, figures, error = stem, "", ""
    if path and entry["status"] != "not run":
        notebook = nbformat.read(path, as_version=4)
        headings = re.findall(r"(?m)^# (.+)$", "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown"))
        title = headings[0] if headings else stem
        figures = "".join(
            f"<figure>{image}<figcaption>{html.escape(caption)}</figcaption></figure>"
            for image, caption in figures_of(notebook)
        )
        error = "".join(
            f"<pre class=error>{html.escape(output.ename)}: {html.escape(output.evalue)}</pre>"
            for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "error"
        )
    link = f' · <a href="{path.name}">{path.name}</a>' if path else ""
    return f"<section><h2>{html.escape(title)}</h2><p class=state>{words}{link}</p>{error}{figures}</section>"


def figures_of(notebook) -> Iterator[tuple[str, str]]:
    """(image as HTML, caption) of each figure: heading, and first sentence of the prose that stands before it."""
    heading = sentence = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and "papermill-error-cell-tag" not in cell.metadata.get("tags", []):
            heading = (re.findall(r"(?m)^#+\s+(.+)$", cell.source) or [heading])[-1]
            sentence = _first_sentence(cell.source)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            caption = ". ".join(_plain(text).rstrip(".:") for text in (heading, sentence) if text)
            alt = html.escape(caption, quote=True)
            if "image/png" in data:
                code = data["image/png"].replace("\n", "")
                yield f'<img alt="{alt}" src="data:image/png;base64,{code}">', caption
            elif "image/svg+xml" in data:
                yield re.sub(r"^.*?(?=<svg)", "", data["image/svg+xml"], count=1, flags=re.S), caption


def _first_sentence(markdown: str) -> str:
    """The first sentence of the last paragraph of plain prose."""
    prose = re.sub(r"(?m)^#+ .*$", "\n", markdown)
    blocks = [block for block in re.split(r"\n\s*\n", prose) if re.match(r"[\w*_`$(\"]", block.strip())]
    return re.split(r"(?<=[.!?])\s", " ".join(blocks[-1].split()), maxsplit=1)[0] if blocks else ""


def _plain(markdown: str) -> str:
    """Markdown's marks taken off."""
    return re.sub(r"[*_`]{1,3}(?=\S)(.+?)(?<=\S)[*_`]{1,3}", r"\1", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", markdown))


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><main><h1>{title}</h1>
{body}
</main></body></html>
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2730; --paper: #fcfcfa; --line: #d5d9dd; --soft: #5b6770; --bad: #b3261e;
  --accent: #0b5c8f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8eb; --paper: #14181c; --line: #39424a; --soft: #9aa6b0;
  --bad: #ff8a80; --accent: #7cc4f2; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; margin: 0 0 1rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
a { color: var(--accent); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .875rem; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td { white-space: nowrap; } td.best { font-weight: 700; color: var(--accent); }
.state { color: var(--soft); margin: 0 0 1rem; }
figure { margin: 1rem 0 1.75rem; } figure > * { max-width: 100%; }
img, svg { height: auto; border-radius: 4px; background: #fff; display: block; }
figcaption { color: var(--soft); font-size: .875rem; margin-top: .35rem; }
pre.error { color: var(--bad); white-space: pre-wrap; border-left: 3px solid var(--bad); padding-left: .75rem; }
"""
