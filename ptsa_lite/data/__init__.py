"""Data sets of images with several labels, all as Hugging Face `datasets.Dataset` with a transform set.

    scenes   procedural frames with exact labels for six tasks; needs nothing
    nyud     an NYUD-v2 archive (`nyud.py`)
    pascal   a PASCAL-Context archive (`pascal.py`)
    your own anything that `datasets` loads, with the columns and tasks that you name (`own.py`, `describe.py`)

Instead of an archive, nyud and pascal take a folder that `data prepare` made of it (`prepared.py`).
"""

from importlib import import_module

__all__ = ["SOURCES", "count_frames", "make_loader", "open_dataset", "set_epoch"]


def __getattr__(name: str):
    """What is asked for, imported only then: torch takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".loading" if name == "make_loader" else ".open", __name__), name)
