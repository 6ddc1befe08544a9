"""The rules of the project's notebooks, in sentences on whatever breaks one: how they are written, what they show."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import nbformat

from ptsa_lite.workshop.notebooks import WORD, cell_with_parameters, declared, read, sources, unlike_source

LARGEST = 1_000_000  # bytes; beyond it GitHub's viewer gives up now and then
LONGEST = 30  # lines of one code cell, imports aside
IMPORT = re.compile(r"(?m)^(?:from|import) (?:[^(\n]*|[^(\n]*\([^)]*\).*)\n")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)|<(?:img|a)\b[^>]*?(?:src|href)=[\"']([^\"']+)")
# Folders of some machine: homes, temporary folders, an installed package, an object's address.
MACHINE = re.compile(r"(?:/(?:home|Users|root|tmp)/|[A-Z]:\\+Users)[^\s'\"<>]*|site-packages/[^\s'\"<>]*")
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")


def broken_rules(folder: Path) -> list[str]:
    """Sentences on every notebook of the folder that is not as it should be; empty where all is well."""
    folder = Path(folder).resolve()
    found = [
        f"{source.stem}: {sentence}"
        for source in sources(folder)
        for sentence in (*_source(source), *_links(source), *_built(source, folder.parent))
    ]
    return unlike_source(folder) + found + list(_orphans(folder))


def _source(source: Path) -> Iterator[str]:
    """Title, parameters, summary, length of cells."""
    notebook = read(source)
    verb, first = source.stem.split("_")[1], next(iter(notebook.cells), None)
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        yield "the first cell is no title; start it with '# '"
    elif verb not in re.findall(r"\w+", first.source.splitlines()[0].lower()):
        yield f"the title {first.source.splitlines()[0]!r} lacks the verb {verb!r} of the file's name"
    try:
        if cell_with_parameters(notebook) is None:
            yield "no cell is tagged parameters"
        declared(source)
    except ValueError as error:
        yield str(error)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    if not re.search(r"(?m)^#+ (.*\bSummary\b|What we found)", text):
        yield "no heading 'What we found'"
    prose, code = prose_and_code(notebook)
    if prose < code:
        yield f"{prose} words of prose for {code} names and numbers of code; explain more, or move plots to the module"
    for cell in notebook.cells:
        lines = len(IMPORT.sub("", cell.source + "\n").splitlines())
        if cell.cell_type == "code" and lines > LONGEST:
            yield f"a code cell of {lines} lines begins with {cell.source.splitlines()[0]!r}; {LONGEST} is the most"


def prose_and_code(notebook) -> tuple[int, int]:
    """What there is to read: words of prose, comments and docstrings among them, against names and numbers of code.

    Other strings are words that the code prints. Solutions are left out, and the target of a link is no word.
    """
    prose = code = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            prose += len(WORD.findall(re.sub(r"\]\([^)]*\)", "]", cell.source)))
        elif "solution" not in cell.metadata.get("tags", []):
            words, names = _read_code(cell.source)
            prose, code = prose + words, code + names
    return prose, code


def _read_code(source: str) -> tuple[int, int]:
    """(words of comments and docstrings, names and numbers) of a cell; lines of magic are left out."""
    lines = "\n".join(line for line in source.splitlines() if not line.startswith(("%", "!"))) + "\n"
    words = names = 0
    begins = True  # a string that begins a statement is a docstring
    for token in tokenize.generate_tokens(io.StringIO(lines).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and begins):
            words += len(WORD.findall(token.string))
        elif token.type in (tokenize.NAME, tokenize.NUMBER):
            names += 1
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            begins = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return words, names


def _links(source: Path) -> Iterator[str]:
    """Figures and links in the prose that lead nowhere."""
    for cell in read(source).cells:
        if cell.cell_type != "markdown":
            continue
        for groups in LINK.findall(cell.source):
            link = "".join(groups).partition("#")[0]
            if link and not re.match(r"[a-z]+:", link) and not (source.parent / link).exists():
                yield f"the prose names {link}, which does not exist beside the notebook"


def _built(source: Path, root: Path) -> Iterator[str]:
    """What the .ipynb holds."""
    target = source.with_suffix(".ipynb")
    if not target.is_file():
        return
    if (size := target.stat().st_size) > LARGEST:
        yield f"{target.name} has {size / 1e6:.1f} MB; {LARGEST / 1e6:.0f} MB is the most"
    for cell in nbformat.read(target, as_version=4).cells:
        for output in cell.get("outputs", []):
            yield from (f"{words} in the output of cell [{cell.execution_count}]" for words in _output(output, root))


def _output(output, root: Path) -> Iterator[str]:
    if output.output_type == "error":
        yield f"the error {output.ename}: {output.evalue!r}"
        return
    if output.output_type == "stream" and output.name == "stderr":
        yield f"words on stderr, {output.text.strip().splitlines()[0][:100]!r},"
    data = {"text/plain": output.text} if output.output_type == "stream" else output.data
    text = "\n".join(value for kind, value in data.items() if isinstance(value, str) and kind != "image/png")
    if match := MACHINE.search(text) or re.search(re.escape(str(root)), text):
        yield f"the machine's path {match.group()!r}"
    if match := ADDRESS.search(text):
        yield f"the memory address {match.group()[4:]}, which changes from run to run,"


def _orphans(folder: Path) -> Iterator[str]:
    """Files in figures/ that neither a notebook nor README.md names, as they are or as an f-string with {holes}."""
    texts = [
        path.read_text(encoding="utf-8") for path in (*sources(folder), folder.parent / "README.md") if path.is_file()
    ]
    formed = [
        re.sub(r"\\{.*?\\}", "[0-9a-z_]+", re.escape(name))
        for text in texts
        for name in re.findall(r'f"(\d\d_[^"]*\{[^"]*)"', text)
    ]
    for figure in sorted((folder.parent / "figures").glob("*")):
        named = any(figure.stem in text for text in texts) or any(re.fullmatch(one, figure.stem) for one in formed)
        if figure.is_file() and not figure.name.startswith(".") and not named:
            yield f"figures/{figure.name}: no notebook and not README.md names it"
