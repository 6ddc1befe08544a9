"""Generated bad inputs, many thousand: each is refused in one sentence that names it, or handled by a documented rule.

    python tests/campaigns/bad_inputs.py --inputs 6000 --seed 0 --out figures/results/campaigns.json

refused    ValueError or FileNotFoundError, one line, naming the file, setting or thing
handled    it was taken, and what came of it passes an independent check of what it must be
unclear    refused, in several lines, at great length, or without a name: a fault of ours
silent     taken, and what came of it is wrong: a fault of ours
wrong kind another exception: a fault of ours
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from campaigns import bad_files, bad_settings  # noqa: E402
from campaigns.cases import outcome  # noqa: E402
from campaigns.record import record  # noqa: E402

FAMILIES = (
    bad_settings.configurations, bad_settings.trees, bad_settings.ranks, bad_settings.plans, bad_settings.grids,
    bad_files.lists, bad_files.labels, bad_files.pictures, bad_files.adapters, bad_files.checkpoints,
    bad_files.manifests,
)  # fmt: skip


FAULTS = ("unclear", "silent", "wrong kind")


def run(inputs: int, seed: int, say: Callable[[str], None] = print, families: tuple = FAMILIES) -> dict[str, dict]:
    """Counts by family, `inputs` shared by all of them; what is a fault of ours is told with its number."""
    found = {}
    for family in families:
        folder = Path(tempfile.mkdtemp())
        counts = Counter({"inputs": 0, "refused": 0, "handled": 0, "unclear": 0, "silent": 0, "wrong kind": 0})
        cases = family(random.Random(f"{family.__name__} {seed}"), folder)
        for number in range(-(-inputs // len(families))):
            case = next(cases)
            kind, words = outcome(case)
            counts.update(["inputs", kind])
            if kind not in ("refused", "handled"):
                say(f"{family.__name__} {number}, seed {seed}: {kind}: {words}\n    of {str(case.shown)[:300]}")
        shutil.rmtree(folder)
        found[family.__name__] = dict(counts)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file, in which this campaign's entry is replaced")
    args = parser.parse_args()
    counts = run(args.inputs, args.seed)
    record("bad_inputs", counts, args.out, args.seed)
    sys.exit(any(kind[fault] for kind in counts.values() for fault in FAULTS))
