"""What runs are called where several stand beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ptsa_lite.methods import METHODS
from ptsa_lite.tree import TaskTree

from .run import Run


def labels_of(runs: Sequence[Run]) -> list[str]:
    """For each run its label, or its method's title, and what it differs in from others that are called so.

    "LoRA, shared, lr 0.001" where there are several rates. Under a label that a grid gives, trees may differ: it stands
    for all of them. Seeds are not told.
    """
    titles = [run.label or METHODS[run.method].title for run in runs]
    settings = [_settings(run) for run in runs]
    labels = []
    for title, own in zip(titles, settings, strict=True):
        others = [other for other, name in zip(settings, titles, strict=True) if name == title]
        keys = dict.fromkeys(key for other in others for key in other)
        differ = [key for key in keys if any(other.get(key) != own.get(key) for other in others)]
        shown = [_own_stages(own, others) if key == "tree" else f"{key} {own.get(key)}" for key in differ]
        labels.append(", ".join([title, *shown]))
    return labels


def _settings(run: Run) -> dict:
    """What decides a run, but for its seed; settings of the training beside the others."""
    stages = TaskTree.from_dict(run.tree).stages if run.tree else ()
    settings = {**asdict(run), **run.config, "tree": stages}
    for same in ("seed", "root", "config", "label", *["tree"] * bool(run.label)):
        del settings[same]
    return settings


def _own_stages(own: Mapping, others: Sequence[Mapping]) -> str:
    """The stages of a tree that not all of the others have."""
    stages = [stage for s, stage in enumerate(own["tree"]) if any(o["tree"][s : s + 1] != (stage,) for o in others)]
    return " > ".join(" | ".join(map("+".join, stage)) for stage in stages)
