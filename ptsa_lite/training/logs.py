"""Epochs told to where people look. Anything else is a loop of one's own over `loop.train_epochs`:

for record in train_epochs(model, train_set, val_set, tasks, config, folder):
    wandb.log({"loss": record["loss"], "lr": record["lr"], **(record["metrics"] or {})}, record["epoch"])
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from torch import nn


def to_tensorboard(folder: str | Path) -> Callable[[nn.Module, dict], None]:
    """What writes epochs' records for TensorBoard (`watch` of a training). Raises ValueError where that is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("TensorBoard is not there; python -m pip install tensorboard, or leave --log out") from None
    writer = cache(lambda: SummaryWriter(str(folder)))  # a training that is refused leaves no file

    def log(model: nn.Module, record: dict) -> None:
        values = {name: record[name] for name in ("loss", "lr", "seconds")}
        for group in ("losses", "metrics"):
            values |= {f"{group}/{name}": value for name, value in (record[group] or {}).items()}
        for name, value in values.items():
            writer().add_scalar(name, value, record["epoch"])
        writer().flush()

    return log
