"""What is missing or wrong in an archive: every file of both splits read once, everything found told at once."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas

from ptsa_lite.tasks import REAL, known

from . import files, frames
from .cache import progress
from .describe import Description
from .files import DataError
from .listing import ARCHIVES
from .own import tables

KINDS = ("missing", "unreadable", "range", "size")
RULES = "ptsa_lite/data/files.py, or pictures.py"
FAR = 50  # a number that a head takes long to reach, and few rooms' depth in metres
ONE_VALUE = "all labelled pixels of the split have one value, so there is nothing to learn"
HEAD = ("split", "label", "expected", "found", "missing", "unreadable", "out of range", "wrong size", "sizes", "values")


@dataclass
class Row:
    """One label of one split. `found` counts the files that are there, `sizes` those that can be used."""

    split: str
    label: str
    expected: int
    faults: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})  # sentences by kind
    remarks: Counter = field(default_factory=Counter)  # what a documented rule put right, or what is worth knowing
    sizes: Counter = field(default_factory=Counter)
    low: float = np.inf
    high: float = -np.inf
    unread: bool = False
    kind: str = ""  # of the label, as `frames.labelled` has it; of a picture none

    @property
    def found(self) -> int:
        return self.expected - len(self.faults["missing"]) - self.remarks["not annotated"]

    @property
    def n_faults(self) -> int:
        return sum(len(found) for found in self.faults.values())

    def cells(self) -> list[str]:
        if self.unread:
            return [self.split, self.label, str(self.expected), "none", *["-"] * 6]
        size = "".join(f"{w}x{h}" for (h, w), _ in self.sizes.most_common(1))
        others = f" and {len(self.sizes) - 1} more" * (len(self.sizes) > 1)
        values = f"{self.low:.4g}..{self.high:.4g}" if self.low <= self.high else "-"
        counts = [self.expected, self.found, *(len(self.faults[kind]) for kind in KINDS)]
        return [self.split, self.label, *map(str, counts), (size or "-") + others, values]


@dataclass
class Report:
    """What was found. `str(report)` is the table with what to do; `ok` is whether nothing is wrong."""

    root: Path
    described: str
    rows: list[Row]
    faults: list[str]  # of the split lists, or of the data as a whole
    advice: list[str]
    ready: str = ""  # what can be done where no file is wrong

    @property
    def ok(self) -> bool:
        return not self.faults and not any(row.n_faults or row.unread for row in self.rows)

    def __str__(self) -> str:
        table = pandas.DataFrame([row.cells() for row in self.rows], columns=HEAD).to_string(index=False)
        head = f"{self.root}: {self.described}" + f"\n{table}" * bool(self.rows)
        sound = not self.faults and not any(row.n_faults for row in self.rows)
        return "\n- ".join([f"{head}\n\nWhat to do:", *self.advice, *[f"Ready: {self.ready}"] * sound])


def verify(name: str, root: str | Path) -> Report:
    """Reads every listed file of an archive once. Nothing that it finds makes it stop."""
    layout, root = ARCHIVES[known(name, ARCHIVES, "archive")], Path(root)
    try:
        archive = layout.open(root)
    except DataError as error:
        return Report(root, f"no {name} archive that can be read", [], [str(error)], [str(error)])
    rows, faults, listed, notes, tasks = [], [], [], [], archive.tasks
    for split, published in layout.published.items():
        try:
            names, wrong = files.parse_list(archive.list_path(split))
            faults += [f"{archive.list_path(split)}, {fault}" for fault in wrong]
        except DataError as error:
            names, faults = [], [*faults, str(error)]
        listed.append(set(names))
        kinds = {task: frames.KINDS[task] for task in layout.tasks}
        found = (archive.readers(frame, tasks) for frame in names)
        rows += _check_all(split, len(names), found, kinds, tasks, f"{split} of {root}")
        if names and len(names) != published:
            notes.append(f"{split} lists {len(names)} frames, the published split {published}; use it, but numbers do "
                         "not compare with published ones")  # fmt: skip
    if both := sorted(set.intersection(*listed)):
        faults.append(f"{len(both)} frames, such as {both[0]!r}, stand in both lists, so they measure nothing")
    for task in layout.tasks:
        if task not in tasks:
            notes.append(f"{task}: {archive.lack(task)}. Add it, or leave the task out: tasks={tasks}")
    words = {"missing": "bring the file or take the frame off the list", "unreadable": "fetch it again"}
    advice = [*(f"Mend the split list: {fault}" for fault in faults), *notes]
    advice += _findings(rows, words, "bring the archive of this layout")
    ready = f"open_dataset({name!r}, {str(root)!r}, tasks={tasks})"
    return Report(root, archive.described, rows, faults, advice, ready)


def verify_own(described: Description, root: str | Path = "", splits: Sequence[str] = ("train", "val")) -> Report:
    """Reads every frame of data of one's own once, as `verify` does an archive's."""
    rows, faults, notes = [], [], []
    kinds = {name: task.moves for name, task in described.tasks.items()}
    for split in splits:
        try:
            sets = tables(described, split, root)
        except ValueError as error:
            (notes if rows else faults).append(str(error))  # a part of the training frames may be held out instead
            continue
        checked = [_check_all(split, len(t), map(t.readers, range(len(t))), kinds, kinds, t.name) for t in sets]
        rows += itertools.chain(*checked)
        for task, *found in zip(kinds, *(labels for _, *labels in checked), strict=True):
            if not any(row.sizes or row.n_faults for row in found):
                faults.append(f"{split}: no frame has a label for task {task!r}; leave it out, or look at its column")
    for row in rows:
        if row.kind in REAL and row.high > FAR:
            words = f"{row.split} {row.label}: values reach {row.high:g}, and a head begins near 0 and moves slowly"
            notes.append(f"{words}; a scale brings them to about 1, such as scale: 0.001 for millimetres")
    words = {"missing": "bring the file, or empty the cell"}
    advice = [*faults, *notes, *_findings(rows, words, "mend it, or describe it as it is")]
    sources = ", ".join(str(one)[:80] for one in described.sources if isinstance(one, str | Path)) or "data"
    return Report(Path(root) / sources, "data of your own", rows, faults, advice, "train by these settings")


def _check_all(
    split: str, n: int, readers: Iterable[frames.Readers], kinds: dict[str, str], readable: Collection[str], title: str
) -> list[Row]:
    """The rows of the pictures and of each label, read once. kinds: of each label, as `frames.labelled` has it."""
    pictures = Row(split, "image", n)
    rows = {task: Row(split, task, n, unread=task not in readable, kind=kind) for task, kind in kinds.items()}
    with progress(n, f"checking {title}") as bar:
        for read, labels in readers:
            image = _check(pictures, read)
            for task, row in rows.items():
                if task in labels:
                    _check(row, partial(labels[task], None if image is None else image.shape[:2]))
                elif not row.unread:
                    row.remarks["not annotated"] += 1
            bar.update()
    for row in rows.values():
        if row.sizes.total() > 2 and not row.remarks["not annotated"] and row.low >= row.high:
            row.remarks[ONE_VALUE] += row.sizes.total()
    return [pictures, *rows.values()]


def _check(row: Row, read) -> np.ndarray | None:
    """Reads one label and adds what is seen to its row."""
    try:
        with files.remarks() as remarks:
            array = read()
    except DataError as error:
        row.faults[error.kind].append(str(error))
        return None
    row.remarks.update(set(remarks))
    if array is None:
        row.remarks["no object"] += 1
        return None
    row.sizes[array.shape[:2]] += 1
    valid = array[frames.labelled(row.kind, array)] if row.kind else array
    if not valid.size:
        row.remarks["no labelled pixel"] += 1
        return array
    if row.kind == "parts" and not valid.any():
        row.remarks["nobody in it"] += 1
    row.low, row.high = min(row.low, float(valid.min())), max(row.high, float(valid.max()))
    return array


def _findings(rows: list[Row], words: dict[str, str], else_do: str) -> list[str]:
    """Each kind of fault of each label, with what to do about it; then what the rules of reading have changed."""
    lines = []
    for row in rows:
        for kind, found in row.faults.items():
            lines += [f"{row.split} {row.label}: {fault}; {words.get(kind, else_do)}" for fault in found[:3]]
            if len(found) > 3:
                lines.append(f"{row.split} {row.label}: and {len(found) - 3} more of this kind")
    for row in rows:
        for text, n in row.remarks.items():
            end = {ONE_VALUE: "look at the files", "not annotated": "nothing to do, a frame may lack a label"}.get(text)
            end = end or f"nothing to do, the rule stands in {RULES}"
            lines.append(f"{row.split} {row.label}: {text} ({n} frames); {end}")
    return lines
