"""The language of settings: a YAML file describes one training, or many that `train` takes one of and `study` all.

    include: recipe.yaml             # another file, whose settings these replace
    data: nyud                       # settings of `run.Run`
    method: ptsa
    tree: [1, 1, 2, 4]
    config: {epochs: 300}            # settings of `recipe.TrainConfig`
    rows:                            # what each run has of its own, by name ...
      mtlora_r16: {method: mtlora, rank: 16, tree: null}
    runs:                            # ... or as a list: the rows 1, 2, ...
      - {rank: 4}
    grid: {seed: [0, 1, 2]}          # every row at every point of these lists
    plan:                            # what will be compared, decided before it is run, by the conditions' labels:
      primary: [PTSA (TGLoRA), Single task]  # the first less the second; a run without a label has its method's title
      others: [[PTSA (TGLoRA), MTLoRA]]      # tested as well, and corrected together
      margin: 0.5                            # what counts as the same, in per cent points of delta_m
      remark: Parts are pseudo-labels.       # what its tables must not be shown without

A tree is written as trees are printed, `a+b > a | b`; or as groups a stage, `[1, 1, 2, 4]`, of a tree that is grown by
the tasks' similarity, which `similarity` has the settings of; or as `{every: [1, 1, 2, 4]}`, a run for each tree with
these groups; or as `{by_seed: [TREE, TREE, ...]}`, one of these after the other from seed to seed. What stands further
down that list replaces what stands above; `config` and `similarity` are joined setting by setting. The tasks are the
data set's usual ones where none are named. Data of your own are a map that says where they lie, and tasks then a map
that says what they are (`data.describe`); so these two are joined as well.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from ptsa_lite.checks import POSITIVE, SIZE, TEXT, Rule, check
from ptsa_lite.methods import METHODS
from ptsa_lite.tasks import default_tasks, known, suite
from ptsa_lite.tree import TaskTree

from .run import RULES, Run
from .yaml_files import parse_yaml, read_yaml

JOINED = ("config", "similarity", "rows", "data", "tasks")
PARTS: dict[str, Rule] = {
    "rows": (lambda v: isinstance(v, dict) and all(isinstance(one, dict) for one in v.values()),
             "a map of names to settings, such as `small: {rank: 4}`"),
    "runs": (lambda v: isinstance(v, list) and v and all(isinstance(one, dict) for one in v),
             "a list of settings, such as `- {method: bitfit}`"),
    "grid": (lambda v: isinstance(v, dict) and all(isinstance(one, list) and one for one in v.values()),
             "a map of settings to lists of values, such as `seed: [0, 1]`"),
    "plan": (lambda v: isinstance(v, dict) and "primary" in v, "a map that names primary: [LABEL, LABEL]"),
}  # fmt: skip
PAIR: Rule = (lambda v: isinstance(v, list) and len(v) == 2 and all(map(TEXT[0], v)) and v[0] != v[1],
              "two different labels, [LABEL, LABEL]")  # fmt: skip
PAIRS: Rule = (lambda v: isinstance(v, list) and all(map(PAIR[0], v)), "a list of pairs, [[LABEL, LABEL], ...]")
PLAN = {"primary": PAIR, "others": PAIRS, "margin": POSITIVE, "remark": TEXT}


def read_run(path: str | Path, row: str = "", changes: Mapping | None = None) -> Run:
    """The one run that a file describes, or that its row does.

    path: also the name of a file of this package, pascal or nyud. changes: replace what the file says, also the lists
    of its grid; "config.epochs" names a setting of the training. Raises FileNotFoundError, or ValueError in one
    sentence that names the file and the setting, with the nearest name for an unknown one.
    """
    path, rows = find(path), rows_of(path)
    if not row and rows:
        raise ValueError(f"{path.name} holds several rows; name one of: {', '.join(rows)}")
    found = read_runs(path, changes, [row])
    if len(found) > 1:
        varied = [*_read(path).get("grid", {}), "tree"]
        raise ValueError(f"{path.name} {row} describes {len(found)} runs; choose one by --set {varied[0]}=VALUE")
    return found[0]


def read_runs(path: str | Path, changes: Mapping | None = None, names: Sequence[str] = ()) -> list[Run]:
    """Every run that a file describes, each once, in the order of grid and rows; else as `read_run`.

    names: of the rows, where not all are wanted.
    """
    path = find(path)
    content = _read(path)
    base = {key: value for key, value in content.items() if key not in PARTS}
    rows, grid, changed, runs = _rows(content), content.get("grid", {}), _nested(changes or {}), {}
    for values in itertools.product(*grid.values()):
        point = _nested(dict(zip(grid, values, strict=True)))
        for name in names or rows:
            row = rows[known(name, rows, f"row of {path.name}")]
            settings = _join(base, point, row, changed)
            try:
                _check_varied(grid, row)
                for run in _with_trees(settings):
                    told = runs.setdefault(run.name(), run)
                    if (told.data, told.root) != (run.data, run.root):
                        raise ValueError(
                            "its data and those of another run differ only in the folder that they lie in, "
                            "which no name of a run tells; give the files or folders names of their own"
                        )
                    runs[run.name()] = run  # named again, it takes the last label
            except ValueError as error:
                raise ValueError(f"{path}{f', row {name}' if name else ''}: {error}") from None
    return list(runs.values())


def _check_varied(grid: Mapping, row: Mapping) -> None:
    """What the grid varies, no row may fix: all points of the grid would be one."""
    for key in grid:
        outer, _, inner = key.partition(".")
        if outer in row and (inner in (row[outer] or ()) if inner else outer not in JOINED):
            raise ValueError(f"it sets {key}, which the grid varies; take one of the two out")


def read_plan(path: str | Path) -> dict:
    """A file's plan: {"primary", "others", "margin", "remark"}; where it names none, no others, 0.5 and no remark.

    Raises ValueError where there is no plan, and for a label that no run of the file has.
    """
    path = find(path)
    plan = {"others": [], "margin": 0.5, "remark": ""} | _read(path).get("plan", {})
    if "primary" not in plan:
        raise ValueError(f"{path} holds no plan; write what will be compared: `plan: {{primary: [LABEL, LABEL]}}`")
    labels = dict.fromkeys(run.label or METHODS[run.method].title for run in read_runs(path))
    for label in itertools.chain(plan["primary"], *plan["others"]):
        known(label, labels, f"label in the plan of {path}")
    return plan


def rows_of(path: str | Path) -> list[str]:
    """The names of a file's rows; none where the file is one run."""
    return [name for name in _rows(_read(find(path))) if name]


def changes_of(given: list[str]) -> dict:
    """KEY=VALUE pairs of a command line, values as YAML reads them."""
    changes = {}
    for change in given:
        key, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"--set {change!r} sets nothing; write --set KEY=VALUE, such as --set config.epochs=10")
        changes[key] = parse_yaml(value, f"the value in --set {change}")
    return changes


def find(path: str | Path) -> Path:
    """The file at a path, or the package's of that name."""
    packaged = {file.stem: file for file in Path(str(files("ptsa_lite") / "configs")).glob("*.yaml")}
    found = Path(path) if Path(path).is_file() else packaged.get(str(path))
    if not found:
        raise FileNotFoundError(f"no settings at {path}; give a YAML file, or one of {', '.join(sorted(packaged))}")
    return found


def _read(path: Path, includers: tuple[Path, ...] = ()) -> dict:
    """The file's content over that of what it includes, each part of the kind that the language wants."""
    content = read_yaml(path)
    try:
        check(PARTS, content)
        plan = content.get("plan", {})
        check(PLAN, {known(key, PLAN, "part of a plan"): value for key, value in plan.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    included = content.pop("include", "")
    if not included:
        return content
    inner, includers = path.parent / str(included), (*includers, path.resolve())
    if not inner.is_file() or inner.resolve() in includers:
        raise ValueError(f"{path} includes {included}, which {'includes it' if inner.is_file() else 'is no file'}")
    return _join(_read(inner, includers), content)


def _rows(content: Mapping) -> dict[str, dict]:
    """The file's rows by name; one without a name where it has none."""
    numbered = {str(number): one for number, one in enumerate(content.get("runs", ()), 1)}
    return content.get("rows", {}) | numbered or {"": {}}


def _nested(settings: Mapping) -> dict:
    """{"config.epochs": 3} as {"config": {"epochs": 3}}."""
    nested = {}
    for key, value in settings.items():
        outer, _, inner = key.partition(".")
        nested = _join(nested, {outer: {inner: value} if inner else value})
    return nested


def _join(*layers: Mapping) -> dict:
    """Each over those before it; of the keys in `JOINED`, what are maps in both are joined setting by setting."""
    joined: dict = {}
    for layer in layers:
        for key, value in layer.items():
            below = joined.get(key) if key in JOINED else None
            joined[key] = below | value if isinstance(below, dict) and isinstance(value, dict) else value
    return joined


def _with_trees(settings: dict) -> Iterator[Run]:
    """One run; or, of settings that ask for it, one with every tree."""
    check({key: RULES[key] for key in ("data", "tasks", "metrics")}, settings)
    if isinstance(data := settings.get("data", "scenes"), str):
        settings.setdefault("tasks", list(default_tasks(data)))
        left = suite(data).keys() - {*settings["tasks"]}  # what a file says of their metrics says nothing here
        settings["metrics"] = {t: m for t, m in settings.get("metrics", {}).items() if t not in left}
    tree = settings.get("tree")
    if isinstance(tree, dict) and "by_seed" in tree:
        check({"by_seed": (lambda v: isinstance(v, list) and v, "a list of trees, one for each seed in turn")}, tree)
        check({"seed": SIZE}, settings)
        tree = tree["by_seed"][settings.get("seed", 0) % len(tree["by_seed"])]
    trees = [{}]
    if isinstance(tree, dict) and "every" in tree:
        trees = [{"tree": one.to_dict()} for one in TaskTree.enumerate(settings["tasks"], tree["every"])]
    elif isinstance(tree, list):
        trees = [{"tree": None, "groups": tree}]
    elif isinstance(tree, str):
        trees = [{"tree": TaskTree.parse(tree).to_dict()}]
    yield from (Run.from_dict(settings | one) for one in trees)
