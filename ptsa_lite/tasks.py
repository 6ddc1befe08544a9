"""What a task is, and the two suites of tasks that the paper trains."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .checks import AT_LEAST_0, COUNT, FLAG, POSITIVE, SHARE, SIZE, TEXT, check, known, number, or_none

IGNORE = 255  # "no label here", in every label tensor: no class id, unit vector or depth in metres reaches it
"""A regression's value that is exactly 255 becomes the next number of float32, 1.5e-5 above."""

KINDS = {  # the outputs of a head (0: as many as there are classes), and the usual metric
    "segmentation": (0, "mIoU"),
    "binary": (1, "maxIoU"),
    "normals": (3, "mean angle (°)"),
    "regression": (1, "RMSE"),
    "depth": (1, "RMSE (m)"),
}
REAL = ("regression", "depth")
METRICS = {  # the kinds that it measures, and whether more is better; a regression's unit follows in brackets
    "mIoU": (("segmentation",), True),
    "maxIoU": (("binary",), True),
    "odsF": (("binary",), True),
    "loss": (("binary",), False),
    "mean angle": (("normals",), False),
    "RMSE": (REAL, False),
}


@dataclass(frozen=True)
class Task:
    """One dense prediction task: what its head puts out, how it is trained, how it is measured.

    Labels, as the transforms make them and losses and meters read them, IGNORE where there is none:

    ============ =============================== =============================== =====================================
    kind         label tensor                    prediction, (C, H, W)           when the picture is flipped or zoomed
    ============ =============================== =============================== =====================================
    segmentation (H, W) int64, a class id        C logits                        stays
    binary       (1, H, W) float32, 0 or 1       one logit (saliency, edges)     stays
    normals      (3, H, W) float32, unit vectors a vector of any length: x       turns along
                                                 right, y down, z forward
    regression   (1, H, W) float32               a number, in the task's unit    stays
    depth        (1, H, W) float32, metres       metres                          is divided by the zoom: all is nearer
    ============ =============================== =============================== =====================================

    Only name and kind must be given, and the classes of a segmentation; the rest is the kind's usual.
    """

    name: str
    kind: str  # one of KINDS
    channels: int = 0  # C, what the head puts out; 0: the kind's
    loss_weight: float = 1.0  # the recipe's weight in the sum of losses (facts: the MTLoRA line)
    metric: str = ""  # as printed in tables, a unit behind it in brackets; "": the kind's
    higher_is_better: bool | None = None  # None: as the metric is known
    positive_weight: float | None = None  # of a binary task's loss; None: the batch's share of negatives
    unit: str | None = None  # of a regression
    ignore: float | None = None  # what stands for "no label" where labels are stored (`data.own`)
    scale: float = 1.0  # of a regression or depth: times what is stored, its numbers are in the unit
    foreground: bool | None = None  # of a segmentation: a sample in which only class 0 is seen says nothing

    def __post_init__(self) -> None:
        channels, metric = KINDS[known(self.kind, KINDS, f"kind of task {self.name!r}:")]
        check({"name": TEXT, "metric": TEXT, "loss_weight": AT_LEAST_0, "scale": POSITIVE,
               "channels": (lambda v: SIZE[0](v) and v <= IGNORE, f"0 to {IGNORE}, as a label is one byte"),
               "positive_weight": or_none(SHARE), "higher_is_better": or_none(FLAG),
               "foreground": (lambda v: not v or self.kind == "segmentation", "of a segmentation alone"),
               "ignore": or_none((number, "a number"))}, vars(self))  # fmt: skip
        if self.unit and self.kind == "regression":
            metric += f" ({self.unit})"
        if not self.channels:
            object.__setattr__(self, "channels", channels)
        if not self.metric:
            object.__setattr__(self, "metric", metric)
        if self.higher_is_better is None:
            _, more = METRICS.get(plain_metric(self.metric), ((), None))
            object.__setattr__(self, "higher_is_better", more)
        check({"channels": COUNT}, vars(self))

    @property
    def moves(self) -> str:
        """How its label is stored and how it moves with the picture: a key of `data.transforms.LABELS`."""
        return "parts" if self.foreground else self.kind


def plain_metric(metric: str) -> str:
    """A metric without its unit: "RMSE (m)" is "RMSE"."""
    return metric.partition(" (")[0]


def _suite(*tasks: Task) -> dict[str, Task]:
    return {task.name: task for task in tasks}


PASCAL = _suite(
    Task("semseg", "segmentation", 21),
    Task("human_parts", "segmentation", 7, loss_weight=2.0, foreground=True),
    Task("saliency", "binary", loss_weight=5.0),
    Task("normals", "normals", loss_weight=10.0),
)

NYUD = _suite(
    Task("semseg", "segmentation", 40),
    Task("depth", "depth"),
    PASCAL["normals"],
    Task("edge", "binary", loss_weight=50.0, metric="loss", positive_weight=0.95),
)

SCENES = _suite(  # the procedural scenes carry exact labels for every task of both suites
    Task("semseg", "segmentation", 14),
    PASCAL["human_parts"],
    PASCAL["saliency"],
    NYUD["depth"],
    PASCAL["normals"],
    NYUD["edge"],
)

SUITES = {"pascal": PASCAL, "nyud": NYUD, "scenes": SCENES}


def suite(name: str) -> dict[str, Task]:
    """The tasks of a suite by name, in the order that every table and figure keeps."""
    return SUITES[known(name, SUITES, "data set")]


def default_tasks(data: str) -> dict[str, Task]:
    """The four tasks that a data set is studied with: its suite's, and for the scenes those of PASCAL-Context."""
    return select(SCENES, PASCAL) if data == "scenes" else suite(data)


def select(tasks: Mapping[str, Any], names: str | Iterable[str], what: str = "task") -> dict[str, Any]:
    """The named tasks, in the order of all. Raises ValueError on an unknown or repeated name, and for none."""
    names = [known(name, tasks, what) for name in ([names] if isinstance(names, str) else names)]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"{what}s are {names}; name at least one, and each once")
    return {name: task for name, task in tasks.items() if name in names}
