"""ptsa_lite: progressive task-specific adaptation (TGLoRA, arXiv 2509.19602) in a module that reads in an evening.

The flat files of this folder are the paper; every folder in it is a wing with a name, and none is needed to read them.
A good order: tasks, tree, lora, model, similarity, then what you need.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_FACE = {
    "TaskTree": "tree",
    "GroupedLoRALinear": "lora",
    "MultiTaskModel": "model",
    "load_backbone": "backbones",
    "build_model": "methods",
    "gradient_similarity": "similarity",
    "Task": "tasks",
    "PASCAL": "tasks",
    "NYUD": "tasks",
}
__all__ = list(_FACE)


def __getattr__(name: str) -> Any:
    """The names of `_FACE`, imported when they are first asked for: the command line needs no torch to say --help."""
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its face is {', '.join(_FACE)}")
    return getattr(import_module(f".{_FACE[name]}", __name__), name)
