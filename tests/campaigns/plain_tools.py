"""Every notebook executed many times by papermill itself and by nbconvert, in its smallest setting: none may hang.

    python tests/campaigns/plain_tools.py --times 10 --out figures/results/campaigns.json

A widget once made one run in five wait for ever. A run that takes longer than --minutes counts as a hang, one that ends
with another status than 0 as failed. The machine should have something else to do meanwhile, or chances do not vary.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from campaigns.record import record  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def run(times: int, seconds: float, only: str = "") -> dict[str, dict]:
    """Counts by tool."""
    settings = yaml.safe_load((ROOT / "notebooks/settings/smoke.yaml").read_text(encoding="utf-8"))
    found = {tool: Counter(runs=0, hangs=0, failed=0) for tool in ("papermill", "nbconvert")}
    for number in range(times):
        for source in sorted((ROOT / "notebooks").glob(f"{only or '[0-9]'}*.ipynb")):
            for tool, counts in found.items():
                with tempfile.TemporaryDirectory() as folder:
                    kind = _execute(tool, source, settings.get(source.stem, {}), Path(folder), seconds)
                counts.update(["runs", *[kind] * bool(kind)])
                print(f"{number + 1} of {times}: {tool} {source.stem} {kind or 'done'}", flush=True)
    return {tool: dict(counts) for tool, counts in found.items()}


def _execute(tool: str, source: Path, parameters: dict, folder: Path, seconds: float) -> str:
    """Nothing, "hangs" or "failed"."""
    given = [word for name, value in (parameters | {"out_dir": str(folder)}).items()
             for word in ("-y", yaml.safe_dump({name: value}))]  # fmt: skip
    papermill = [sys.executable, "-m", "papermill", "--no-progress-bar", str(source), str(folder / "run.ipynb"), *given]
    commands = [papermill]
    if tool == "nbconvert":  # it takes no parameters, so they are written into the notebook first
        execute = ["nbconvert", "--to", "notebook", "--execute", "--output", "done.ipynb", str(folder / "run.ipynb")]
        commands = [[*papermill, "--prepare-only"], [sys.executable, "-m", *execute]]
    try:
        for command in commands:
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return "hangs"
    except subprocess.CalledProcessError as error:
        print(error.stderr.decode(errors="replace")[-2000:])
        return "failed"
    return ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--only", default="", metavar="NN", help="One notebook, such as 03.")
    parser.add_argument("--out", type=Path, help="a JSON file, in which this campaign's entry is replaced")
    args = parser.parse_args()
    counts = run(args.times, 60 * args.minutes, args.only)
    record("plain_tools", counts, args.out)
    sys.exit(any(tool["hangs"] or tool["failed"] for tool in counts.values()))
