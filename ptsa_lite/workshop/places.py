"""Where the package's own notebooks and results lie: found from where the package lies, never from where you stand."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "figures" / "results"  # the numbers that ship with the notebooks


def notebooks_folder() -> Path:
    """The folder of the notebooks that belong to this package.

    Raises FileNotFoundError that says how to get them, where the package was installed without them.
    """
    if not (ROOT / "pyproject.toml").is_file() or not (ROOT / "notebooks").is_dir():
        raise FileNotFoundError(
            "this installation of ptsa_lite came without its notebooks and their results; clone the repository and "
            "install it from there with `python -m pip install -e .`"
        )
    return ROOT / "notebooks"
