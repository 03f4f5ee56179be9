"""
Snapshot trees as lines and as JSON, however deep they are: nothing here recurses.

Snapshots that stand on each other alone go straight down, a *run*; where several stand on one, each begins a run that
is indented below it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from snapengine.cli import text, wire

if TYPE_CHECKING:
    from snapengine.tree import DrawnTree, Node

INDENT = 4
_WIDEST = 60  # characters of indent and name; what is wider is not aligned


class Row(NamedTuple):
    """One line of a tree: how deep its run is, from 1 on, whether it begins that run, and what it says."""

    depth: int
    begins: bool
    words: tuple[str, ...]


def headline(tree: "DrawnTree") -> str:
    """Return a tree's first line."""
    return f"tree {tree.uuid[:8]}, {'current' if tree.current else 'not current'}"


def rows(tree: "DrawnTree", volume: str, clones: Mapping[str, Sequence[str]]) -> list[Row]:
    """
    Return a tree's lines; volume is the name of the one that stands on it if the tree is current.

    clones are, by the uuid of a snapshot, the names of the linked clones that stand on it.
    """
    found = list(_walk(tree, f"* volume {text.plain(volume)} stands here", clones))
    ends = (INDENT * row.depth + text.columns_of(row.words[0]) for row in found if len(row.words) > 1)
    width = max((end for end in ends if end <= _WIDEST), default=0)
    return [_aligned(row, width) if len(row.words) > 1 else row for row in found]


def _aligned(row: Row, width: int) -> Row:
    name, *others = row.words
    return row._replace(words=(text.padded(name, width - INDENT * row.depth), *others))


def _walk(tree: "DrawnTree", here: str, clones: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    straight = _to_latest(tree.tree)
    todo: list[tuple[int, bool, Node | None]] = [(1, True, tree.tree)]
    while todo:
        depth, begins, node = todo.pop()
        yield Row(depth, begins, (here,) if node is None else _words(node, clones))
        above = _onward(node, tree.current, straight) if node is not None else []
        if len(above) == 1:
            todo.append((depth, False, above[0]))
        else:
            todo += [(depth + 1, True, each) for each in reversed(above)]


def _onward(node: "Node", current: bool, straight: set[str]) -> "list[Node | None]":
    """Return what stands on node, the one that leads to the latest snapshot last; None is the volume."""
    found = sorted(node.children, key=lambda child: child.inventory.uuid in straight)  # else oldest first, as they are
    return [*found, None] if current and node.inventory.latest else [*found]


def _to_latest(origin: "Node") -> set[str]:
    """Return the uuids from the tree's latest snapshot down to origin."""
    parents: dict[str, str] = {}
    latest = None
    todo = [origin]
    while todo:
        node = todo.pop()
        parents.update((child.inventory.uuid, node.inventory.uuid) for child in node.children)
        latest = node.inventory.uuid if node.inventory.latest else latest
        todo += node.children
    path = set()
    while latest is not None:
        path.add(latest)
        latest = parents.get(latest)
    return path


def _words(node: "Node", clones: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    own = node.inventory
    latest = ("latest",) if own.latest else ()
    linked = tuple(f"clone {text.plain(name)}" for name in clones.get(own.uuid, ()))
    size, date = text.value("size", own.size), text.value("create_date", own.create_date)
    return text.plain(own.name), own.uuid[:8], size, date, *latest, *linked


def plain(rows: Sequence[Row]) -> list[str]:
    """Return rows as lines of text in characters that every pipe takes."""
    found = []
    later: list[bool] = []  # for each depth, whether another run begins there further down, on the same snapshot
    for depth, begins, words in reversed(rows):
        later = [*later[:depth], *[False] * (depth - len(later))]
        *below, own = ("|   " if more else "    " for more in later)
        if begins:
            own = "|-- " if later[-1] else "`-- "
            later[-1] = True
        found.append("".join(below) + own + "  ".join(words))
    return found[::-1]


def document(trees: Sequence["DrawnTree"]) -> bytes:
    """Return the trees as JSON, in the contract's form."""
    return b'{"inventories":[' + b",".join(_tree(tree) for tree in trees) + b"]}"


def _tree(tree: "DrawnTree") -> bytes:
    names = zip(tree.__struct_encode_fields__, tree.__struct_fields__, strict=True)
    shown = {key: getattr(tree, name) for key, name in names if name != "tree"}
    before, after = ({k: v for k, v in shown.items() if (k < "tree") is first} for first in (True, False))
    return wire.document(before)[:-1] + b',"tree":' + _nested(tree.tree) + b"," + wire.document(after)[1:]


def _nested(origin: "Node") -> bytes:
    pieces = []
    todo: list[Node | bytes] = [origin]
    while todo:
        node = todo.pop()
        if isinstance(node, bytes):
            pieces.append(node)
            continue
        pieces.append(b'{"children":[')
        parent = b',"parentUuid":' + wire.document(node.parent_uuid) if node.parent_uuid else b""
        todo.append(b'],"inventory":' + wire.document(node.inventory) + parent + b"}")
        for child in reversed(node.children):
            todo += [child] if child is node.children[0] else [child, b","]
    return b"".join(pieces)
