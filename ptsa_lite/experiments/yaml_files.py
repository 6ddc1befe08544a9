"""A YAML file as plain names and values. Nothing in it is ever executed, and nothing is read twice over."""

from collections.abc import Mapping
from pathlib import Path

import yaml

LARGEST = 100_000  # values in a file, each counted as often as it is referred to: a page of aliases can mean billions


class _Loader(yaml.SafeLoader):
    """The safe loader, but for a key that stands twice in a map: of the two, it would silently keep the last."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.composer.ComposerError(None, None, f"{key!r} stands twice in one map", node.start_mark)
        return node


def read_yaml(path: str | Path) -> dict:
    """The settings that a file maps to values; empty for an empty file. Raises ValueError naming the file."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8; save it as such") from None
    content = parse_yaml(text, str(path))
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path} must map settings to values, such as `epochs: 10`")
    return content


def parse_yaml(text: str, where: str):
    """The value that a text of YAML stands for. Raises ValueError in one sentence that begins with `where`."""
    try:
        content = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2020-99-99 is a ValueError
        raise ValueError(f"{where} is no YAML: {' '.join(str(error).split())[:300]}") from None
    if _count(content, LARGEST) > LARGEST:
        raise ValueError(f"{where} holds more than {LARGEST:,} values, or refers to itself; write it out, and shorter")
    return content


def _count(value, most: int) -> int:
    """How many values a nested one holds; counting stops above `most`."""
    todo, count = [value], 0
    while todo and count <= most:
        one = todo.pop()
        count += 1
        if isinstance(one, Mapping):
            todo += one.values()
        elif isinstance(one, list | tuple | set):
            todo += one
    return count
