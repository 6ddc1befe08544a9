"""What a training leaves after each epoch: everything that it needs to go on, and what tells it from another."""

import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pandas
import torch
from timm.layers import DropPath
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ptsa_lite.data.disk import make_folder, read_json, write_json, write_text, write_whole
from ptsa_lite.data.open import samples_of
from ptsa_lite.tasks import Task

from .adapters import adapter_state
from .sameness import description, differences, frozen_weights, plain

FREE = ("eval_every", "workers", "gradient_checkpointing", "compile", "cuda_graph", "amp")
"""Settings that may change between two starts of one training: the result depends on them by rounding at most."""


def fingerprint(model: nn.Module, train_set, tasks: Mapping[str, Task], config: Mapping) -> dict:
    """What decides the result of a training, as plain values: settings, tasks, model, and of the frames their number,
    their shapes and how they are augmented.

    Whatever changes it by rounding at most is no part of it: the settings in `FREE`, and the device. The frozen
    weights enter by a hash, because the checkpoint does not hold them.
    """
    trained = {name: list(p.shape) for name, p in model.named_parameters() if p.requires_grad}
    told = {name: asdict(task) for name, task in tasks.items()}
    for task in told.values():
        if task["scale"] == 1:  # older checkpoints know of none
            del task["scale"]
    dropout = {m.p for m in model.modules() if isinstance(m, _DropoutNd)}
    depth = {m.drop_prob for m in model.modules() if isinstance(m, DropPath)}
    return plain({
        **{name: value for name, value in config.items() if name not in FREE},
        "tasks": told,
        "model": description(model),
        "dropout": sorted(dropout - {0}),
        "stochastic depth": sorted(depth - {0}),
        "training frames": len(train_set),
        "shapes of a frame": {key: list(getattr(value, "shape", ())) for key, value in train_set[0].items()},
        "augmentation": samples.recipe or "none" if (samples := samples_of(train_set)) else "its own",
        "trained parameters": trained,
        "order of parameters": list(trained),  # the optimiser's state goes by it
        **frozen_weights(model),
    })  # fmt: skip


class Checkpoint:
    """`checkpoint.pt` and the history in a folder, each written beside and renamed, so that none is ever half.

    The history is there twice: `history.json`, and for a spreadsheet `history.csv`.
    """

    def __init__(self, folder: Path, fingerprint: dict):
        self.path, self.fingerprint = make_folder(folder) / "checkpoint.pt", fingerprint

    def save(self, model: nn.Module, optimizer, history: list[dict]) -> None:
        """What training changes in the model, the optimizer's state, the records so far.

        optimizer: whatever has a state_dict that the next step depends on, such as `step.Stepper`.
        """
        state = {"fingerprint": self.fingerprint, "history": history, "model": adapter_state(model),
                 "optimizer": optimizer.state_dict()}  # fmt: skip
        write_whole(self.path, lambda path: torch.save(state, path))
        _write_history(self.path.parent, history)

    def restore(self, model: nn.Module, optimizer) -> list[dict]:
        """Puts the saved state into model and optimizer, on whatever device they are; returns the records, [] of none.

        Raises ValueError for a file that is no checkpoint, or one of another training, with what differs.
        """
        if not self.path.exists():
            return []
        state = _read(self.path)
        ours = self.fingerprint
        theirs = {"augmentation": ours.get("augmentation")} | state["fingerprint"]  # older checkpoints know of none
        if found := differences(theirs, ours):
            more = [f"and {len(found) - 3} more"] if len(found) > 3 else []
            raise ValueError(
                f"{self.path} is of another training: {', '.join(found[:3] + more)}; "
                "set it back to go on with that one, or give another folder for a new one"
            )
        lacking = sorted(adapter_state(model).keys() ^ state["model"].keys())
        if lacking:
            raise ValueError(f"{self.path} and this model do not both have {lacking[0]}; delete it to start again")
        try:
            model.load_state_dict(state["model"], strict=False)  # it lacks the frozen weights
            optimizer.load_state_dict(state["optimizer"])
        except Exception as error:  # torch raises whatever the wrong content leads it to
            raise ValueError(f"{self.path} does not fit this model ({type(error).__name__}); delete it") from error
        _write_history(self.path.parent, state["history"])  # the last start may have ended between the files
        return state["history"]


def _read(path: Path) -> dict:
    """A whole checkpoint, executing nothing that is in it. Raises ValueError naming the file."""
    try:
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():  # torch itself reads over a flipped bit
                raise ValueError(f"{damaged} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
        kinds = {"fingerprint": dict, "history": list, "model": dict, "optimizer": dict}
        epochs = [record["epoch"] for record in state["history"]]
        counted = epochs and epochs == [*range(1, len(epochs) + 1)]
        if not counted or not all(isinstance(state[key], kind) for key, kind in kinds.items()):
            raise ValueError("it holds something else")
        return state
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}); delete it to start again"
        ) from error


def read_history(folder: str | Path) -> list[dict]:
    """The records of a training's epochs so far, as `loop.train_epochs` yielded them."""
    return read_json(Path(folder) / "history.json", list, "train again with the same settings: a checkpoint renews it")


def _write_history(folder: Path, history: list[dict]) -> None:
    write_json(folder / "history.json", history)
    table = pandas.json_normalize(history, sep=" ").drop(columns="metrics", errors="ignore")  # None where not evaluated
    write_text(folder / "history.csv", table.to_csv(index=False, lineterminator="\n"))
