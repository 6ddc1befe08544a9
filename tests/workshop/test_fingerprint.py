"""What a notebook's fingerprint hangs on: its text, its parameters, and the code that it imports, however far down."""

import pytest

from ptsa_lite.workshop import fingerprint as module
from ptsa_lite.workshop.fingerprint import code_behind, fingerprint


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A notebook before a small package: it imports a, a imports b within a function, nobody imports c."""
    package = tmp_path / "ptsa_lite"
    (package / "wing").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from .wing import b\n")
    (package / "wing" / "__init__.py").write_text("")
    (package / "wing" / "b.py").write_text("def f():\n    from ptsa_lite.wing.d import x\n    return x\n")
    (package / "wing" / "d.py").write_text("x = 1\n")
    (package / "c.py").write_text("y = 1\n")
    monkeypatch.setattr(module, "PACKAGE", package)
    (tmp_path / "00_try_it.py").write_text("# %%\nimport os\nfrom ptsa_lite import a\n")
    return tmp_path / "00_try_it.py"


def test_the_code_behind_is_what_is_imported_and_what_that_imports(source):
    assert {path.name for path in code_behind(source)} == {"a.py", "__init__.py", "b.py", "d.py"}


@pytest.mark.parametrize(("file", "text"), [("wing/d.py", "x = 2\n"), ("a.py", ""), ("../00_try_it.py", "1\n")])
def test_a_change_of_what_is_imported_changes_it(source, file, text):
    before = fingerprint(source, {})
    (module.PACKAGE / file).write_text(text)
    assert fingerprint(source, {}) != before


@pytest.mark.parametrize(("file", "text"), [("c.py", "y = 2\n"), ("wing/d.py", "# why\n\nx = 1\n"),
                                            ("wing/d.py", "x = 1\r\n")])  # fmt: skip
def test_other_code_comments_and_line_ends_do_not(source, file, text):
    before = fingerprint(source, {})
    (module.PACKAGE / file).write_bytes(text.encode())
    assert fingerprint(source, {}) == before


def test_parameters_count(source):
    assert fingerprint(source, {"a": 1}) != fingerprint(source, {})
