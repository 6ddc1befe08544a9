"""Two small notebooks, of which the second reads what the first wrote, as work that `kill.py` kills.

A killed process leaves a kernel behind that goes on for a moment, in the folder where the next start works too.
"""

import json
from pathlib import Path

from ptsa_lite.workshop import notebooks
from ptsa_lite.workshop.reproduce import Request, reproduce

FIRST = """# %% tags=["parameters"]
data: str = "scenes"  # which
out_dir: str = "runs/series"  # where

# %%
import json
from pathlib import Path

Path(out_dir).mkdir(parents=True, exist_ok=True)
squares = [i * i for i in range(100)]
_ = (Path(out_dir) / "squares.json").write_text(json.dumps(squares))
print(sum(squares))
"""
SECOND = """# %% tags=["parameters"]
data: str = "scenes"  # which
out_dir: str = "runs/series"  # where

# %%
import json
from pathlib import Path

squares = json.loads((Path(out_dir) / "squares.json").read_text())
print(squares[-1])
"""


class Building:
    """`notebooks build`: a built notebook is not built again, and all end as an undisturbed build leaves them."""

    built = "notebooks"

    def __init__(self, archive: Path):
        pass

    def work(self, place: Path) -> None:
        notebooks.build(_written(place), say=lambda line: None)

    def state(self, place: Path) -> dict:
        done = {path.name: path for path in (place / self.built).glob("*.ipynb") if "unfinished" not in path.name}
        assert all(json.loads(path.read_text())["metadata"]["ptsa_lite"] for path in done.values()), "half a notebook"
        return {name: path.stat().st_mtime_ns for name, path in done.items()}

    def end(self, place: Path):
        done = [json.loads((place / self.built / name).read_text()) for name in sorted(self.state(place))]
        assert len(done) == 2, "a notebook is missing"
        return [[[output.get("text") for output in cell.get("outputs", [])] for cell in one["cells"]] for one in done]


class Reproducing(Building):
    """`reproduce`: a finished notebook is not executed again; the end is that of an undisturbed series."""

    built = "run"

    def work(self, place: Path) -> None:
        folder, run = _written(place), str(place / "run")
        begun = {"resume": run} if (place / "run" / "run.json").is_file() else {"out": run}
        if status := reproduce(Request(), folder=folder, **begun):
            raise SystemExit(status)


def _written(place: Path) -> Path:
    """The folder of the two notebooks, written as a user's are: before any work."""
    folder = place / "notebooks"
    folder.mkdir(exist_ok=True)
    for name, text in (("00_write_squares.py", FIRST), ("01_read_squares.py", SECOND)):
        if not (folder / name).is_file() or (folder / name).read_text() != text:
            (folder / name).write_text(text)
    return folder
