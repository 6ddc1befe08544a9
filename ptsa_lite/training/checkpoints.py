"""What a training leaves after each epoch: everything that it needs to go on, and a fingerprint of what it is."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from ptsa_lite.data.disk import make_folder, read_json, write_json, write_whole
from ptsa_lite.recipe import FREE
from ptsa_lite.tasks import Task

from .sameness import digest

YOUNGER = {"accumulate": 1}
"""Settings that the first checkpoints do not know, with the value that these were made with."""


def fingerprint(model: nn.Module, train_set, tasks: Mapping[str, Task], config: Mapping) -> dict:
    """What decides the result of a training, as plain values: settings, tasks, model and frames.

    The frozen weights enter by a hash of their values: the checkpoint does not hold them.
    """
    trained = {name: list(p.shape) for name, p in model.named_parameters() if p.requires_grad}
    frozen = ((name, p) for name, p in model.named_parameters() if not p.requires_grad)
    shapes = {key: list(getattr(value, "shape", ())) for key, value in train_set[0].items()}
    return {
        **{name: value for name, value in config.items() if name not in FREE and YOUNGER.get(name) != value},
        "tasks": [list(asdict(task).values()) for task in tasks.values()],
        "training frames": len(train_set),
        "shapes of a frame": shapes,
        "trained parameters": hashlib.sha256(json.dumps(trained).encode()).hexdigest(),
        "frozen weights": digest(frozen),
    }


class Checkpoint:
    """`checkpoint.pt` and `history.json` in a folder, each written beside and renamed, so that neither is ever half."""

    def __init__(self, folder: Path, fingerprint: dict):
        self.path, self.fingerprint = make_folder(folder) / "checkpoint.pt", fingerprint

    def save(self, model: nn.Module, optimizer, history: list[dict]) -> None:
        """Trained parameters and buffers (batch-norm statistics), the optimizer's state, the records so far.

        optimizer: whatever has a state_dict that the next step depends on, such as `steps.Stepper`.
        """
        state = {
            "fingerprint": self.fingerprint,
            "history": history,
            "model": _changing(model),
            "optimizer": optimizer.state_dict(),
        }
        write_whole(self.path, lambda path: torch.save(state, path))
        _write_history(self.path, history)

    def restore(self, model: nn.Module, optimizer) -> list[dict]:
        """Puts the saved state into model and optimizer, returns the records; [] where nothing is saved.

        Raises ValueError for a file that is no checkpoint, or one of another training, with what differs.
        """
        if not self.path.exists():
            return []
        state = _read(self.path)
        theirs = state["fingerprint"]
        differences = [
            name if isinstance(value, dict | list) or name.endswith(("parameters", "weights"))
            else f"{name} ({theirs.get(name)!r} there, {value!r} here)"
            for name, value in self.fingerprint.items()
            if theirs.get(name) != value
        ]  # fmt: skip
        if differences:
            raise ValueError(
                f"{self.path} belongs to another training: {', '.join(differences)} differ; "
                "use another folder, or the same settings to go on"
            )
        lacking = sorted(_changing(model).keys() ^ state["model"].keys())
        if lacking:
            raise ValueError(f"{self.path} and this model do not both have {lacking[0]}; delete it to start again")
        try:
            model.load_state_dict(state["model"], strict=False)  # it lacks the frozen weights
            optimizer.load_state_dict(state["optimizer"])
        except Exception as error:  # torch raises whatever the wrong content leads it to
            raise ValueError(f"{self.path} does not fit this model ({type(error).__name__}); delete it") from error
        _write_history(self.path, state["history"])  # the last start may have ended between the two files
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
    """The records of a training's epochs so far, as `training.train_epochs` yielded them."""
    return read_json(Path(folder) / "history.json", list, "train again with the same settings: a checkpoint renews it")


def _write_history(path: Path, history: list[dict]) -> None:
    write_json(path.with_name("history.json"), history)


def _changing(model: nn.Module) -> dict[str, Tensor]:
    """What training may change: trainable parameters, and the buffers that a state dict holds."""
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    names |= {name for name, _ in model.named_buffers()}
    return {name: value for name, value in model.state_dict().items() if name in names}
