"""Whether two things are the same: the one judge of files, models and trainings, and its words where they are not."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor, nn

from ptsa_lite.model import MultiTaskModel

POSITION_TABLES = ("relative_position_bias_table", "pos_embed")
"""Ends of names. Their shapes follow the size of the images, so another size's are fitted rather than compared."""


def differences(theirs: Mapping, ours: Mapping, free: Collection[str] = (), there: str = "there") -> list[str]:
    """One phrase for each value that differs, as "config.lr is 0.01 there and 0.02 here"; [] where nothing does.

    theirs, ours: plain values as JSON holds them; maps in them are compared key by key.
    free: names, at whatever depth, that may differ.
    """
    found = []
    for key in [*theirs, *(key for key in ours if key not in theirs)]:
        if key in free:
            continue
        a, b = theirs.get(key), ours.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += [f"{key}.{words}" for words in differences(a, b, free, there)]
        elif a != b:
            said = ["not set" if value is None else f"{value!r:.100}" for value in (a, b)]
            hashed = str(a or b).startswith("sha256 ")  # a hash tells a reader nothing
            found.append(f"{key} differ" if hashed else f"{key} is {said[0]} {there} and {said[1]} here")
    return found


def plain(values: Mapping) -> dict:
    """The same values as JSON gives them back, so that what was written compares with what was not."""
    return json.loads(json.dumps(values))


def description(model: nn.Module) -> dict:
    """Everything but the weights that decides what a model computes, as plain values; of another's what is its `own`.

    An adapter file must agree on it with the model that loads it, but for the size of the images.
    """
    if hasattr(model, "models"):  # of several tasks, each its own
        return {name: description(one) for name, one in model.models.items()}
    if not isinstance(model, MultiTaskModel):
        return dict(getattr(model, "own", {}))
    adapted = list(model.backbone.adapted_linears())
    return {
        "backbone": model.backbone.name,
        "widths": list(model.backbone.widths),
        "img_size": list(model.img_size),
        "tasks": {n: {"kind": t.kind, "channels": t.channels, "unit": t.unit} for n, t in model.tasks.items()},
        "heads": _kinds(model.heads.values()),
        "tree": model.tree.to_dict(),
        "ranks": list(model.ranks),
        "scale": model.scale if any(model.ranks) else None,  # without adapters there is nothing to scale
        "adapted": sorted({name for *_, name, _ in adapted}),
        "layers": _kinds(layer for *_, layer in adapted),
        **model.own,
    }


def _kinds(modules: Iterable[nn.Module]) -> list[str]:
    """The names of their classes; of a faster form, that of its equation."""
    return sorted({getattr(module, "plain", type(module)).__name__ for module in modules})


def frozen_weights(model: nn.Module) -> dict[str, str]:
    """Hashes of what training leaves as it is, which files of what it changes do not hold."""
    frozen = [(name, p) for name, p in model.named_parameters() if not p.requires_grad]
    return {
        "frozen weights": digest(pair for pair in frozen if not pair[0].endswith(POSITION_TABLES)),
        "frozen position tables": digest(pair for pair in frozen if pair[0].endswith(POSITION_TABLES)),
    }


def digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """ "sha256 ..." of names and values, in the order given."""
    content = hashlib.sha256()
    for name, tensor in tensors:
        content.update(name.encode())
        content.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"sha256 {content.hexdigest()}"
