"""How people read things: sizes, local times, one line for each value, columns."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from snapengine import units

if TYPE_CHECKING:
    from snapengine.health import Problem
    from snapengine.inventory import Struct

NAMED = 5  # of what a question is about; of more the rest is counted

_SIZES = {
    "size", "actual_size", "virtual_size", "chain_size", "allocated", "free", "used", "trash", "bytes", "frees",
    "freed_if_deleted", "old_size", "delta_size",
}  # fmt: skip
_DATES = {"create_date", "last_op_date", "started"}
_SHORT = {"volume_uuid", "snapshot_uuid", "group_uuid", "vm_instance_uuid"}
_LABELS = {
    "actual_size": "allocated",
    "create_date": "created",
    "device_id": "device",
    "install_path": "path",
    "is_shareable": "shareable",
    "last_op_date": "changed",
    "max_incremental_snapshot_num": "depth limit",
    "primary_storage_install_path": "path",
    "primary_storage_uuid": "primary storage",
    "reflinks_setting": "reflinks set",
    "resource_type": "kind",
    "resource_uuid": "object",
    "snapshot_count": "snapshots",
    "snapshot_deleted": "deleted",
    "vm_instance_uuid": "vm",
    "volume_name": "volume",
    "volume_snapshot_name": "snapshot",
    "volume_snapshot_uuid": "uuid",
    "volume_type": "volume type",
}


def plain(text: str) -> str:
    """Return text on one line that does nothing to a terminal: what can't be printed is escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def problem(found: "Problem") -> str:
    """Return a problem as a line."""
    return plain(f"{found.kind}: {found.message}: {found.path} (of {found.object}); {found.repair}")


def counted(number: int, noun: str) -> str:
    """Return a number with what is counted: `1 snapshot`, `2 snapshots`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def first(names: Sequence[str], number: int) -> str:
    """Return the first names of so many, and how many more there are."""
    more = number - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def label(name: str) -> str:
    """Return what people call a field."""
    return _LABELS.get(name) or name.removesuffix("_uuid" if name in _SHORT else "").replace("_", " ")


def value(name: str, content: object) -> str:
    """Return the content of the field called name as people read it."""
    if content is None or content == ():
        return "-"
    if isinstance(content, tuple):
        return str(len(content))
    if name in _DATES:
        return _date(str(content))
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, int) and name in _SIZES:
        return units.format_size(content)
    return plain(str(content))


def _date(content: str) -> str:
    try:
        return units.local_time(content)
    except ValueError:  # a damaged record; people see what stands there
        return plain(content)


def fields(struct: "Struct", **more: object) -> str:
    """Return a struct, and more fields, as lines of label and value; what it does not have is left out."""
    found = {name: getattr(struct, name) for name in struct.__struct_fields__} | more
    pairs = [(label(name), value(name, content)) for name, content in found.items()]
    return columns([(name, shown) for name, shown in pairs if shown != "-"])


def rows(structs: Sequence["Struct"], names: Sequence[str], known: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return the fields called names of each struct; the uuid of another object as known calls it, or shortened."""
    columns = [[getattr(struct, name) for struct in structs] for name in names]
    cells = (
        _others(column, known) if name in _SHORT else _own(name, column)
        for name, column in zip(names, columns, strict=True)
    )
    return list(zip(*cells, strict=True))


def _own(name: str, column: Sequence[object]) -> list[str]:
    return [value(name, content) for content in column]


def _others(column: Sequence[object], known: Mapping[str, str]) -> list[str]:
    return ["-" if uuid is None else plain(known.get(str(uuid), str(uuid)[:8])) for uuid in column]


def columns(table: Sequence[Sequence[str]]) -> str:
    """Return the rows of table, of which there is one at least, as lines with their cells aligned."""
    *widths, _ = _widths(table)
    return "\n".join("".join(map(padded, row, (*(width + 2 for width in widths), 0))) for row in table)


def padded(text: str, width: int) -> str:
    """Return text with spaces behind it until it takes width columns of a terminal."""
    return text + " " * (width - columns_of(text))


def columns_of(text: str) -> int:
    """Return how many columns of a terminal text takes: wide characters (CJK) two, those that combine none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def width(table: Sequence[Sequence[str]]) -> int:
    """Return how many characters wide table is when it is drawn with a frame."""
    return sum(width + 3 for width in _widths(table)) + 1


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(columns_of, column)) for column in zip(*table, strict=True)]
