"""tests/README.md: every test that it names is there, and its counts are those of the campaigns."""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
README = HERE / "README.md"
RESULTS = HERE.parent / "figures" / "results" / "campaigns.json"


def named() -> list[tuple[str, str]]:
    return re.findall(r"`([\w/]*test_\w+\.py)::(\w+)`", README.read_text(encoding="utf-8"))


def sentences() -> list[str]:
    """What the README says of the campaigns, from the file of their counts."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    kill, files, plain = (found[name]["total"] for name in ("kill", "files", "plain_tools"))
    by_kind = ", ".join(f"{counts['kills']} in {kind}" for kind, counts in found["kill"]["kinds"].items())
    return [
        f"{kill['kills']} kills ({by_kind}), {kill['rounds']} times to the end: {kill['losses']} losses",
        *(
            f"{bad['inputs']:,} bad inputs: {bad['refused']:,} refused in one sentence, {bad['handled']:,} handled by "
            f"a rule, {bad['unclear']} unclear, {bad['silent']} silent, {bad['wrong kind']} of another kind"
            for bad in (content["total"] for name, content in found.items() if name.startswith("bad_inputs"))
        ),
        f"{files['inputs']:,} files as other people hold them: {files['handled']:,} read as what they are, "
        f"{files['refused']:,} refused in one sentence, {files['silent']} silent",
        f"{plain['runs']} executions of notebooks by papermill and by nbconvert themselves, beside a busy machine's "
        f"other work: {plain['hangs']} hangs, {plain['failed']} failures",
    ]


def test_every_test_that_the_table_names_is_there():
    assert len(named()) > 80
    sources = {path.relative_to(HERE).as_posix(): path.read_text(encoding="utf-8") for path in HERE.rglob("test_*.py")}
    assert [f"{file}::{test}" for file, test in named() if f"\ndef {test}(" not in sources.get(file, "")] == []


def test_every_row_of_the_table_names_one_test():
    rows = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [row for row in rows if not re.match(r"\| (fault|what|---) \|", row) and "`python" not in row]
    assert len(rows) == len(named()) and all(len(row.split("|")) == 5 for row in rows)


def test_the_counts_are_those_of_the_campaigns_and_nothing_was_lost_or_silent():
    """To renew them: python tests/test_tests_readme.py."""
    text = README.read_text(encoding="utf-8")
    assert [sentence for sentence in sentences() if sentence not in text] == []
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert found["kill"]["total"]["losses"] == 0 and found["kill"]["total"]["kills"] >= 360
    bad = found["bad_inputs, seed 23"]["total"]
    assert bad["unclear"] == bad["silent"] == bad["wrong kind"] == 0 and bad["inputs"] >= 6000


if __name__ == "__main__":
    print("\n".join(sentences()))
