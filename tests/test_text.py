"""What the project says of itself: README's table of notebooks, and no path of anyone's machine."""

import json
import re
import shlex
import subprocess
from contextlib import nullcontext, suppress
from pathlib import Path
from statistics import mean, stdev

import click
import pytest

from ptsa_lite.__main__ import cli
from ptsa_lite.workshop.notebooks import read, reading_minutes, sources

ROOT = Path(__file__).resolve().parents[1]


def tracked() -> list[Path]:
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("this copy is no git clone, so nothing says which files are tracked")
    return [ROOT / name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_readmes_table_of_notebooks_equals_the_folder():
    readme = ROOT / "README.md"
    assert readme.is_file(), "README.md is missing"
    rows = [line for line in readme.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    listed = [stem for row in rows for stem in re.findall(r"\(notebooks/(\d\d_\w+)\.ipynb\)", row)]
    assert listed == sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.py"))


def test_readmes_times_to_read_are_within_a_minute_of_the_notebooks():
    """To renew them: ptsa_lite.workshop.notebooks.reading_minutes(ptsa_lite.workshop.notebooks.read(source))."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"notebooks/(\w+)\.ipynb\) \| [^|]+ \| (\d+) min \|", text))
    took = {path.stem: reading_minutes(read(path)) for path in sources(ROOT / "notebooks")}
    assert said.keys() == took.keys()
    assert {stem: n for stem, n in said.items() if abs(int(n) - took[stem]) > 1} == {}, took


def test_the_glossary_is_in_alphabetical_order_and_names_no_word_twice():
    text = (ROOT / "notebooks" / "00_take_the_tour.py").read_text(encoding="utf-8")
    words = [word.lower() for word in re.findall(r"(?m)^# \| \*\*([^*]+)\*\*", text.partition("## Glossary")[2])]
    assert len(words) > 40 and words == sorted(set(words))


PAPERS = {
    "LoRA": "2106.09685", "Swin": "2103.14030", "MTLoRA": "2403.20320", "TGLoRA": "2509.19602", "DiTASK": "2502.06029",
    "TADFormer": "2501.04293", "Task2Vec": "1902.03545", "BitFit": "2106.10199", "DoRA": "2402.09353",
    "Compacter": "2106.04647", "HyperFormer": "2106.04489", "Polyhistor": "2210.03265", "PVT": "2102.12122",
    "FAAR": "2603.20403", "Sinewich": "2603.21111", "AdamW": "1711.05101", "ASTMT": "1904.08918", "ATRC": "2104.13874",
    "InvPT": "2203.07997",
}  # fmt: skip


@pytest.mark.parametrize("source", sorted((ROOT / "notebooks").glob("0[0-9]_*.py")), ids=lambda path: path.stem[:2])
def test_a_notebook_that_names_a_paper_links_it(source):
    text = source.read_text(encoding="utf-8")
    prose = "\n".join(line for line in text.partition("## Glossary")[0].splitlines() if line.startswith("# "))
    prose = re.sub(r"`[^`]*`|\[[^\]]*\]\(\w+\.ipynb\)", "", prose)  # neither code nor the titles of other notebooks
    named = [name for name in PAPERS if re.search(rf"\b{name}\b", prose)]
    linked = re.findall(r'arxiv\.org/abs/(\d{4}\.\d{5})|"(\d{4}\.\d{5})"', text)
    assert [name for name in named if PAPERS[name] not in map("".join, linked)] == []


def test_readmes_links_lead_somewhere():
    readme = ROOT / "README.md"
    assert readme.is_file(), "README.md is missing"
    text = readme.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    local = [link.split("#")[0] for link in links if not re.match(r"https?:|mailto:|#", link)]
    assert not [link for link in local if not (ROOT / link).exists()]


def test_no_tracked_file_names_a_folder_of_some_machine():
    homes = r"/(?:home|Users|root)/\w"
    here = re.escape(str(ROOT.parent)) + "/" if len(ROOT.parent.parts) > 1 else homes
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and weights
        if path.suffix == ".ipynb":
            text = re.sub(r'"image/png": "[^"]*"', "", text)  # base64 spells anything now and then
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in re.finditer(f"{homes}|{here}", text)]
    assert not found


def test_every_notebook_stays_within_the_memory_that_the_readme_names():
    """To renew the file: python tests/bench/notebook_memory.py."""
    measured = json.loads((ROOT / "figures" / "results" / "notebook_memory.json").read_text(encoding="utf-8"))
    assert "more than 2 GB of memory" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(found["megabytes"] < 2048 for found in measured["notebooks"].values())


def test_readmes_times_of_a_step_are_those_of_the_results_files():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    read = {name: json.loads((ROOT / "figures" / "results" / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("gpu_step", "gpu_step_small", "speed")}  # fmt: skip
    large, small = (read[name]["steps"] for name in ("gpu_step", "gpu_step_small"))
    ratios, memory = read["speed"]["ratios"], read["speed"]["memory"]["ratios"]
    mtlora = "MTLoRA's step / by its authors' operations"
    for part in (
        f"{large['ptsa']['ms']} ms and {large['ptsa']['gb']:.1f} GB",
        f"{large['ptsa, no CUDA graph']['ms']} ms without",
        f"{small['ptsa']['ms']} ms with the graph and {small['ptsa, no CUDA graph']['ms']} without",
        f"{ratios['training step / loop over tasks']['median']:.2f} of the time",
        f"{memory['peak memory / loop over tasks']['median']:.2f} of the memory",
        f"{ratios['training step / loop over groups']['median']:.2f} of the time of a loop over groups",
        f"{ratios['training step, all shared / peft']['median']:.2f} of that of the `peft` library",
        f"{ratios[mtlora]['median']:.2f} of the time of its authors' operations",
    ):  # fmt: skip
        assert part in text, f"README should say: {part}"


def test_what_readme_and_tour_say_of_the_rates_at_224_pixels_is_what_their_file_holds():
    """A shared LoRA is ahead of the tree at each of three rates, in delta_m against the best single-task models, and
    with more seeds at the rate that is best for both."""
    from ptsa_lite.experiments.results import collected
    from ptsa_lite.experiments.run import Run, run_tasks
    from ptsa_lite.experiments.statistics import paired_difference
    from ptsa_lite.metrics import delta_m

    results_in = ROOT / "figures" / "results"
    results = collected(results_in / "rates_nyud_224.json")
    found = {(one["run"]["label"] or one["run"]["method"], one["run"]["config"]["lr"]): one for one in results}
    tasks = run_tasks(Run.from_dict(results[0]["run"]))
    alone = [one["metrics"] for (label, _), one in found.items() if label == "single_task"]
    best = max(alone, key=lambda metrics: delta_m(metrics, alone[0], tasks))
    pairs = [[found[label, rate] for label in ("LoRA, shared", "PTSA")] for rate in (5e-4, 1e-3, 2e-3)]
    again = {(one["run"]["label"], one["run"]["seed"]): one for one in collected(results_in / "seeds_nyud_224.json")}
    seeds = sorted({seed for _, seed in again})
    pairs += [[again[label, seed] for label in ("LoRA, shared", "PTSA")] for seed in seeds]
    inner = {name: task for name, task in tasks.items() if name != "edge"}
    lead, bare = (
        [delta_m(shared["metrics"], best, some) - delta_m(tree["metrics"], best, some) for shared, tree in pairs]
        for some in (tasks, inner)
    )
    n = 1 + len(seeds)
    over, bare_over = (paired_difference(dict(enumerate([x[1], *x[3:]])), dict.fromkeys(range(n), 0.0))
                       for x in (lead, bare))  # fmt: skip
    zero = [one["low"] < 0 < one["high"] for one in (over, bare_over)]
    (size,) = {found[label, 1e-3]["parameters"]["trainable"] for label in ("PTSA", "LoRA, shared")}
    count, total = (("one", "two", "three", "four", "five", "six")[k - 1] for k in (n - 1, n))
    listed = ", ".join(f"{x:.1f}" for x in lead[3:-1])
    parts = [
        f"train {size / 1e6:.1f} million parameters each",
        f"at all three rates, by {min(lead[:3]):.1f} to {max(lead[:3]):.1f} points",
        f"with {count} more seeds at the middle rate, by {listed} and {lead[-1]:.1f}",
        f"Over these {total} seeds the mean is {over['mean']:.2f}, with an interval of 95 % from {over['low']:.2f} to "
        f"{over['high']:.2f}; without edges",
        f"it is {bare_over['mean']:.2f}, from {bare_over['low']:.2f} to {bare_over['high']:.2f}",
        {(True, True): "Both intervals contain zero", (False, False): "Neither interval contains zero",
         (True, False): "The first interval contains zero, and the second does not",
         (False, True): "The second interval contains zero, and the first does not"}[tuple(zero)],
    ]  # fmt: skip
    assert bare_over["low"] > -1.1, "the first look's lead lies outside the interval"
    for path in (ROOT / "README.md", ROOT / "notebooks" / "00_take_the_tour.py"):
        text = path.read_text(encoding="utf-8").replace("\n# ", " ").replace("−", "-")
        text = " ".join(re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text).split())
        for part in parts:
            assert part in text, f"{path.name} should say: {part}"


def test_figures_readme_names_every_file_of_results_with_its_command_and_what_its_trainings_took():
    text = (ROOT / "figures" / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in text.splitlines() if line.startswith("| `")]
    told = {name: (command, trainings) for _, name, _, command, trainings, _ in rows}
    results = (ROOT / "figures" / "results").glob("*.json")
    files = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in results}
    assert told.keys() == files.keys()
    for name, content in files.items():
        command, trainings = told[name]
        assert command == content.get("command") or "written in the file" in command, name
        if runs := content.get("runs"):
            took = sum(run["seconds"] for run in runs) / 3600
            assert trainings.startswith(f"{len(runs)}, {took:.1f} h"), name
            if left := content["left"]:
                assert f"{name}.yaml --root PATH --jobs 5`: {left} of {left + len(runs)} rates are missing" in text


def test_the_built_notebook_05_trains_the_tree_that_notebook_04_grew():
    """Built by itself, where 04 has left no tree, it is another page: one whose tree was cut by the tasks' order."""
    built = (ROOT / "notebooks" / "05_train_many_tasks.ipynb").read_text(encoding="utf-8")
    assert "*Where the tree comes from:* the tree that notebook 04 grew." in built


def test_readmes_sentence_on_the_study_holds_the_intervals_of_notebook_08_and_none_leaves_zero_out():
    from ptsa_lite.experiments.comparison import compare
    from ptsa_lite.experiments.results import collected
    from ptsa_lite.experiments.tables import summarise

    ours, equal = "PTSA (TGLoRA)", "LoRA, shared, PTSA's parameters"
    others = ("LoRA, one per task, PTSA's parameters", "LoRA, shared, PTSA's multiply-adds", "PTSA, another tree")
    found = {
        name: compare(
            collected(ROOT / "figures" / "results" / f"{name}.json"), (ours, equal), [(ours, o) for o in others]
        )
        for name in ("study_scenes", "study_nyud")
    }
    for row in sum(found.values(), []):
        assert row["n"] == 3 and row["low"] < 0 < row["high"], "README says that it could not be distinguished"
    nyud = collected(ROOT / "figures" / "results" / "study_nyud.json")
    bare = compare(nyud, (ours, equal), without=["edge"])
    gain = {one["label"]: f"{one['delta_m']:+.2f}" for one in summarise(nyud, "mean", by_label=True) if one["delta_m"]}
    said = [(f"{d['mean']:+.2f}", f"{d['low']:+.2f} to {d['high']:+.2f}") for d in found["study_nyud"] + bare]
    (shared, shared_interval), (separate, separate_interval), _, trees, (alone, alone_interval) = said
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for part in (
        f"is {shared} points (95 % interval {shared_interval}) where all tasks share that LoRA",
        f"and {separate} ({separate_interval}) where each task has its own",
        f"Without edges the first is {alone} ({alone_interval})",
        f"the six others ({', '.join(trees)})",
        f"a model per task with LoRA has {gain['Single task, LoRA']}. Decoders alone have {gain['Decoders only']}",
        f"more than PTSA's {gain[ours]}",
    ):
        assert part in text, f"README should say: {part}"


@pytest.mark.parametrize("file", ["backbone_nyud", "backbone_nyud_long"])
def test_the_cards_tables_of_the_packaged_backbone_are_those_of_the_results_files(file):
    runs = json.loads((ROOT / "figures" / "results" / f"{file}.json").read_text(encoding="utf-8"))["runs"]
    card = (ROOT / "ptsa_lite" / "assets" / "swin_small_distilled.md").read_text(encoding="utf-8")
    for weights, name in (("pretrained", "distilled"), ("random", "random")):
        found = [run["metrics"] for run in runs if run["run"]["weights"] == weights]
        cells = [_with_spread([metrics[task] for metrics in found], digits)
                 for task, digits in (("semseg", 2), ("depth", 3), ("normals", 2), ("edge", 4))]  # fmt: skip
        assert f"| {name} | {' | '.join(cells)} |" in card


def _with_spread(values, digits):
    return " ± ".join(f"{value:.{digits}f}" for value in (mean(values), *([stdev(values)] if values[1:] else [])))


def test_readmes_python_trains_a_step():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["loss"].item() > 0 and set(names["by_task"]) == {"semseg", "depth", "normals"}
    assert all(p.grad is None for p in names["model"].parameters() if not p.requires_grad)


def documented() -> list[list[str]]:
    """The words of every command of ours that a text of the project shows, in prose, in a block or in a comment."""
    found = []
    for path in tracked():
        if path.suffix in (".md", ".py", ".yaml", ".yml") and "tests" not in path.parts:
            text = re.sub(r"\n# (?=\S)", " ", path.read_text(encoding="utf-8")) if path.suffix == ".py" else ""
            spans = re.findall(r"`python -m ptsa_lite ([^`]+)`", text or path.read_text(encoding="utf-8"))
            lines = re.findall(r"(?m)^(?:# )?python -m ptsa_lite ([^#\n]+)", path.read_text(encoding="utf-8"))
            found += [shlex.split(line) for line in (*spans, *lines) if not {"{", "COMMAND"} & {*line, *line.split()}]
    return found


def test_every_command_that_a_text_shows_is_one_and_its_files_are_there(monkeypatch):
    def quieten(command):
        for inner in getattr(command, "commands", {}).values():
            quieten(inner)
        if not hasattr(command, "commands"):
            monkeypatch.setattr(command, "callback", lambda **_: None)

    quieten(cli)
    assert len(documented()) > 40
    for words in documented():
        with suppress(click.MissingParameter) if words[1:] == [] else nullcontext():  # a command named in prose
            cli.main(words, standalone_mode=False)
        for word in words:
            assert not re.fullmatch(r"(figures|notebooks)/[^A-Z]+", word) or (ROOT / word).exists(), words
