"""What the module never does with what others wrote: execute it, hand it to a shell, unpack it, unpickle it."""

import ast
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).resolve().parents[1] / "ptsa_lite").rglob("*.py"))
NEVER_IMPORTED = {"pickle", "marshal", "shelve", "dill", "joblib", "tarfile", "ctypes"}
NEVER_CALLED = {"eval", "exec", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load", "extractall", "extract",
                "unpack_archive"}  # fmt: skip
NEEDED = {"torch.load": ("weights_only", "True")}
NEVER_GIVEN = {"shell": "True", "allow_pickle": "True"}
LOADERS = {"_Loader"}  # yaml.load's, a yaml.SafeLoader


def faults(text: str) -> list[str]:
    """What a source does that it must not."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [f"imports {name}" for name in names if name.split(".")[0] in NEVER_IMPORTED]
        elif isinstance(node, ast.Call):
            name, given = ast.unparse(node.func), {k.arg: k.value for k in node.keywords}
            if name in NEVER_CALLED or (name.split(".")[-1] in NEVER_CALLED and isinstance(node.func, ast.Attribute)
                                        and name.split(".")[-1] not in ("eval", "exec")):  # fmt: skip
                found.append(f"calls {name}")
            found += [f"{name} with {k}" for k, value in NEVER_GIVEN.items() if k in given and _text(given[k]) == value]
            wanted, value = NEEDED.get(name, (None, None))
            if wanted and _text(given.get(wanted)) != value:
                found.append(f"{name} without {wanted}={value}")
            if name == "yaml.load" and _text(given.get("Loader")) not in LOADERS:
                found.append("yaml.load without the safe loader")
    return found


def _text(node) -> str:
    return "" if node is None else ast.unparse(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_source_executes_unpacks_or_unpickles_what_it_reads(path):
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", [
    "import pickle", "from pickle import loads", "eval(x)", "os.system(x)", "subprocess.run(x, shell=True)",
    "torch.load(x)", "torch.load(x, weights_only=False)", "np.load(x, allow_pickle=True)", "yaml.load(x)",
    "yaml.load(x, Loader=yaml.Loader)", "zipfile.ZipFile(x).extractall()", "shutil.unpack_archive(x)",
])  # fmt: skip
def test_each_of_these_would_be_found(text):
    assert faults(text)


def test_the_yaml_loader_is_a_safe_one():
    import yaml

    from ptsa_lite.experiments.yaml_files import _Loader

    assert issubclass(_Loader, yaml.SafeLoader) and not issubclass(_Loader, yaml.UnsafeLoader)
