"""What a task is, and the two suites of tasks that the paper trains."""

from collections.abc import Iterable
from dataclasses import dataclass

from .checks import known

IGNORE = 255
"""The value that marks "no label here", the same in every label tensor of the project.

No class id, binary map, unit vector or depth in metres reaches it, so one constant serves all five kinds of label.
"""


@dataclass(frozen=True)
class Task:
    """One dense prediction task: what its head puts out, how it is trained, how it is measured.

    Labels, as the transforms make them and losses and meters read them, IGNORE where there is none:

    ============ =============================== ====================================================
    kind         label tensor                    prediction, (C, H, W)
    ============ =============================== ====================================================
    segmentation (H, W) int64, a class id        C logits
    binary       (1, H, W) float32, 0 or 1       one logit (saliency, edges)
    normals      (3, H, W) float32, unit vectors a vector of any length: x right, y down, z forward
    depth        (1, H, W) float32, metres       metres
    ============ =============================== ====================================================
    """

    name: str
    kind: str  # segmentation, binary, normals or depth
    channels: int  # C, what the head puts out
    loss_weight: float  # the recipe's weight in the sum of losses (facts: the MTLoRA line)
    metric: str  # as printed in tables
    higher_is_better: bool
    positive_weight: float | None = None  # of a binary task's loss; None: the batch's share of negatives


def _suite(*tasks: Task) -> dict[str, Task]:
    return {task.name: task for task in tasks}


PASCAL = _suite(
    Task("semseg", "segmentation", 21, 1.0, "mIoU", True),
    Task("human_parts", "segmentation", 7, 2.0, "mIoU", True),
    Task("saliency", "binary", 1, 5.0, "maxIoU", True),
    Task("normals", "normals", 3, 10.0, "mean angle (°)", False),
)

NYUD = _suite(
    Task("semseg", "segmentation", 40, 1.0, "mIoU", True),
    Task("depth", "depth", 1, 1.0, "RMSE (m)", False),
    Task("normals", "normals", 3, 10.0, "mean angle (°)", False),
    Task("edge", "binary", 1, 50.0, "loss", False, positive_weight=0.95),
)

SCENES = _suite(  # the procedural scenes carry exact labels for every task of both suites
    Task("semseg", "segmentation", 14, 1.0, "mIoU", True),
    PASCAL["human_parts"],
    PASCAL["saliency"],
    NYUD["depth"],
    PASCAL["normals"],
    NYUD["edge"],
)

NYUV2_13 = _suite(  # the Hugging Face copy of NYUv2; its numbers compare with no other's
    Task("semseg", "segmentation", 13, 1.0, "mIoU", True),
    NYUD["depth"],
    NYUD["normals"],
)

SUITES = {"pascal": PASCAL, "nyud": NYUD, "scenes": SCENES, "nyuv2_13": NYUV2_13}


def suite(name: str) -> dict[str, Task]:
    """The tasks of a suite by name, in the order that every table and figure keeps."""
    return SUITES[known(name, SUITES, "data set")]


def default_tasks(data: str) -> dict[str, Task]:
    """The four tasks that a data set is studied with: its suite's, and for the scenes those of PASCAL-Context."""
    return select(SCENES, PASCAL) if data == "scenes" else suite(data)


def select(tasks: dict[str, Task], names: Iterable[str]) -> dict[str, Task]:
    """The named tasks of a suite, in the suite's order. Raises ValueError on an unknown or repeated name."""
    names = [known(name, tasks, "task") for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f"a task is named twice in {names}; name each once")
    return {name: task for name, task in tasks.items() if name in names}
