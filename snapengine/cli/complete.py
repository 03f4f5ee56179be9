"""What a shell may complete: names and uuids of what the store holds. Quiet about all that goes wrong."""

import functools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import click

import snapengine
from snapengine.cli import session, settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Candidates: TypeAlias = Iterable[tuple[str, str]]  # a uuid and a name, which may be empty

_PLAIN = re.compile(r"\w[\w.+%/-]*")  # what every shell leaves in one piece, unquoted


def volumes(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name or uuid of a volume."""
    return _matching(ctx, incomplete, _volumes)


def deleted_volumes(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name or uuid of a deleted volume."""
    return _matching(ctx, incomplete, lambda engine: [(v.uuid, v.name) for v in engine.list_volumes(deleted=True)])


def snapshots(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name or uuid of a snapshot; VOLUME/SNAPSHOT where that is begun, or others have the name too."""
    return _matching(ctx, incomplete, functools.partial(_snapshots, within="/" in incomplete))


def objects(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name or uuid of a volume or snapshot."""
    return _matching(ctx, incomplete, lambda engine: [*_volumes(engine), *_snapshots(engine, "/" in incomplete)])


def groups(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name or uuid of a group."""
    return _matching(ctx, incomplete, lambda engine: [(g.uuid, g.name) for g in engine.list_groups()])


def trash_items(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the uuid of a trash item."""
    return _matching(ctx, incomplete, lambda engine: [(item.uuid, "") for item in engine.list_trash()])


def accounts(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name of an account."""
    return _matching(ctx, incomplete, lambda engine: [(a.uuid, a.name) for a in engine.list_accounts()])


def _volumes(engine: "snapengine.Engine") -> Candidates:
    return [(volume.uuid, volume.name) for volume in engine.list_volumes()]


def _snapshots(engine: "snapengine.Engine", within: bool) -> Candidates:
    volumes = session.volume_names(engine)
    found = engine.list_snapshots()
    count = Counter(snapshot.name for snapshot in found)
    for s in found:
        yield s.uuid, f"{volumes.get(s.volume_uuid, '')}/{s.name}" if within or count[s.name] > 1 else s.name


def _matching(
    ctx: click.Context, incomplete: str, find: "Callable[[snapengine.Engine], Candidates]"
) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem  # late: only a shell that completes needs it

    try:
        root = os.path.expanduser(settings.of(ctx).root)
        found = list(find(snapengine.Engine.open(root, recover=False)))
    except Exception:  # whatever it is, a shell's prompt is no place to say so
        return []
    return [CompletionItem(text, help=help) for text, help in _offers(found, incomplete)]


def _offers(found: Candidates, incomplete: str) -> Iterator[tuple[str, str]]:
    """Give what to offer, with what stands beside it: names, and uuids once they are begun or the name won't do."""
    every = list(found)
    count = Counter(name for _, name in every)
    for uuid, name in every:
        by_name = _PLAIN.fullmatch(name) is not None and count[name] == 1
        if by_name and name.startswith(incomplete):
            yield name, uuid
        if uuid.startswith(incomplete) and (incomplete or not by_name):
            yield uuid, name or "trash item"
