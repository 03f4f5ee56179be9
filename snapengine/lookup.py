"""
Find the object that a person names: by uuid, name, VOLUME/SNAPSHOT, or the start of a uuid (CLI.md, section 1).

An exact uuid wins over an exact name, that over VOLUME/SNAPSHOT, that over the start of a uuid. A volume with a damaged
record does not keep the others from being found; an exact uuid finds that one too.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from snapengine import deleted, errors, journal, layout, records, roster, store
from snapengine.records import Contents
from snapengine.store import Store

MIN_PREFIX = 4


class Named(Protocol):
    """What can be found: everything with a uuid and a name."""

    @property
    def uuid(self) -> str: ...
    @property
    def name(self) -> str: ...


class Place(NamedTuple):
    """A snapshot as it is looked for: with its volume's uuid and name."""

    uuid: str
    name: str
    volume: "Thing"


class Thing(NamedTuple):
    """Any object's uuid and name."""

    uuid: str
    name: str


def volume(opened: Store, text: str) -> str:
    """Return the uuid of the volume that text names; NotFound, or Ambiguous with all matches."""
    if layout.is_uuid(text) and store.has_volume(opened.root, text):
        return text
    return _one(opened, "volume", text, _volumes(opened), ())


def deleted_volume(opened: Store, text: str) -> str:
    """Return the uuid of the deleted volume that text names; Conflict where that is one which is not deleted."""
    if deleted.has(opened.root, text):
        return text
    try:
        return _one(opened, "deleted volume", text, _deleted(opened), ())
    except errors.NotFound:
        there = _matching(_volumes(opened), text)
        if not there:
            raise
        raise errors.Conflict(what=f"{_each(there)} not deleted, so there is nothing to recover or expunge") from None


def _each(found: Sequence[Named]) -> str:
    """Return volumes with a verb behind them: `volume db (7f…) is`."""
    told = ", ".join(f"{t.name} ({t.uuid})" for t in found)
    return f"volume {told} is" if len(found) == 1 else f"volumes {told} are"


def snapshot(opened: Store, text: str) -> str:
    """Return the uuid of the snapshot that text names; NotFound, or Ambiguous with all matches."""
    if layout.is_uuid(text) and store.has_snapshot(opened.root, text):
        return text
    places = _snapshots(opened)
    return _one(opened, "snapshot", text, places, _within(places, text))


def going(opened: Store, text: str) -> str | None:
    """Return the uuid of the snapshot that text names and that an unfinished delete destroys; None if it names none."""
    places = [place for entry in journal.readable(opened.root) for place in _going(opened.root / entry.directory)]
    return next((place.uuid for place in _named(places, text)), None)


def _going(directory: Path) -> list[Place]:
    """Return the snapshots in directory that are gone for readers but still have a record."""
    found: list[Place] = []
    with suppress(errors.NotFound, errors.Corrupt):
        volume = records.read_volume(directory)
        for uuid in volume.gone:
            with suppress(errors.NotFound, errors.Corrupt):
                record = records.read_snapshot(directory, uuid)
                found.append(Place(uuid, record.name, Thing(volume.uuid, volume.name)))
    return found


def group(opened: Store, text: str) -> str:
    """Return the uuid of the group that text names; NotFound, or Ambiguous with all matches."""
    if text in roster.uuids(opened.root):
        return text
    return _one(opened, "group", text, [Thing(g.uuid, g.name) for g in roster.every(opened.root)], ())


def trash_item(opened: Store, text: str) -> str:
    """Return the uuid of the trash item that text names, by its uuid or the start of it."""
    if layout.is_uuid(text):
        with suppress(errors.NotFound):
            if not deleted.has(opened.root, text):
                store.find_trash(opened.root, text)
            return text
    items = [Thing(item.uuid, "") for contents in store.every(opened.root) for item in contents.trash.values()]
    items += _deleted(opened)
    return _one(opened, "trash item", text, items, ())


def anything(opened: Store, text: str) -> str:
    """Return the uuid of the volume or snapshot that text names."""
    places = _snapshots(opened)
    within = _within(places, text)
    return _one(opened, "object", text, [*_volumes(opened), *places], within)


def vm_names(opened: Store) -> dict[str, str]:
    """Return the name, as it was given, of every VM that has volumes, by its uuid."""
    every = (volume for _, volume in store.volumes(opened.root))
    return {v.vm_instance_uuid: v.vm_name for v in every if v.vm_instance_uuid and v.vm_name}


def _deleted(opened: Store) -> list[Thing]:
    return [Thing(record.uuid, record.name) for _, record in deleted.volumes(opened.root)]


def _volumes(opened: Store) -> list[Thing]:
    return [Thing(record.uuid, record.name) for _, record in store.volumes(opened.root)]


def _snapshots(opened: Store) -> list[Place]:
    return [place for contents in store.every(opened.root) for place in _places(contents)]


def _deleted_snapshots(opened: Store) -> list[Place]:
    return [place for contents in deleted.every(opened.root) for place in _places(contents)]


def _places(contents: Contents) -> list[Place]:
    volume = Thing(contents.volume.uuid, contents.volume.name)
    return [Place(record.uuid, record.name, volume) for record in contents.snapshots.values()]


def _within(places: Sequence[Place], text: str) -> list[Place]:
    """Return the places whose VOLUME/SNAPSHOT text is, else those with the start of the volume's uuid for VOLUME."""
    return [p for p in places if _is_within(p, text)] or [p for p in places if _is_within_start(p, text)]


def _is_within(place: Place, text: str) -> bool:
    """Tell whether text is the place's VOLUME/SNAPSHOT; both names may hold slashes."""
    volumes = (place.volume.name, place.volume.uuid)
    snapshots = (place.name, place.uuid)
    return any(text == f"{v}/{s}" for v in volumes for s in snapshots)


def _is_within_start(place: Place, text: str) -> bool:
    start, _, rest = text.partition("/")
    return len(start) >= MIN_PREFIX and place.volume.uuid.startswith(start) and rest in (place.name, place.uuid)


def _one(opened: Store, kind: str, text: str, things: Sequence[Named], within: Iterable[Named]) -> str:
    for found in (
        [t for t in things if t.uuid == text],
        [t for t in things if t.name and t.name == text],
        list(within),
        [t for t in things if _is_start(t, text)],
    ):
        if len(found) == 1:
            return found[0].uuid
        if found:
            matches = ", ".join(f"{t.uuid} ({_called(t)})" if t.name else t.uuid for t in found)
            raise errors.Ambiguous(kind=kind, name=text, matches=matches)
    if kind == "group":
        _check_groups(opened, text)
    else:
        _check_damaged(opened, kind, text)
    if known := _known(opened, kind, text):
        raise errors.NotFound(kind=kind, name=text, hint=known)
    short = f", and the start of a uuid has {MIN_PREFIX} characters or more" if 0 < len(text) < MIN_PREFIX else ""
    if kind == "object":
        hint = "'snapengine volume list' and 'snapengine snapshot list' show those that are"
        raise errors.NotFound(kind=kind, name=text, hint=hint + short)
    raise errors.unknown(kind, text, short)


def _known(opened: Store, kind: str, text: str) -> str | None:
    """Return what else text names, and what to do then; None where it names nothing."""
    if kind in ("volume", "object") and (found := _matching(_deleted(opened), text)):
        return f"it is deleted, 'snapengine volume recover {found[0].uuid}' brings it back"
    if kind in ("snapshot", "object") and (gone := _named(_deleted_snapshots(opened), text)):
        name, uuid = gone[0].volume.name, gone[0].volume.uuid
        return f"its volume '{name}' is deleted, 'snapengine volume recover {uuid}' brings both back"
    if kind == "snapshot" and (volumes := _matching(_volumes(opened), text)):
        return f"that is a volume, 'snapengine snapshot list {volumes[0].uuid}' shows its snapshots"
    if kind == "trash item":
        return _live(opened, text)
    if kind == "volume" and (places := _named(_snapshots(opened), text)):
        return f"that is a snapshot of volume '{places[0].volume.name}'"
    return None


def _live(opened: Store, text: str) -> str | None:
    """Return which volume or snapshot that is not deleted text names; None where it names none."""
    things: list[tuple[str, Named]] = [("volume", volume) for volume in _matching(_volumes(opened), text)]
    things += [("snapshot", place) for place in _named(_snapshots(opened), text)]
    return next((f"that is {kind} {_called(t)} ({t.uuid}), which is not deleted" for kind, t in things), None)


def _matching(things: Sequence[Thing], text: str) -> list[Thing]:
    """Return the things of which text is the uuid or name, else those whose uuid it begins."""
    return [t for t in things if text in t] or [t for t in things if _is_start(t, text)]


def _named(places: Sequence[Place], text: str) -> list[Place]:
    """Return the places that text names in any of the ways in which a snapshot is named."""
    exact = [p for p in places if text in (p.uuid, p.name)]
    return exact or _within(places, text) or [p for p in places if _is_start(p, text)]


def _is_start(thing: Named, text: str) -> bool:
    return len(text) >= MIN_PREFIX and thing.uuid.startswith(text)


def _called(thing: Named) -> str:
    return f"{thing.volume.name}/{thing.name}" if isinstance(thing, Place) else thing.name


def _check_damaged(opened: Store, kind: str, text: str) -> None:
    """Raise Corrupt where a volume has records that can't be read: it may be the one that text means."""
    for directory in store.directories(opened.root):
        with suppress(errors.NotFound):
            try:
                records.contents(directory)
            except errors.Corrupt as e:
                raise errors.Corrupt(what=f"{kind} '{text}' was not found, but not all could be read: {e.what}") from e


def _check_groups(opened: Store, text: str) -> None:
    """Raise Corrupt where a group's record can't be read: it may be the one that text means."""
    for uuid in roster.uuids(opened.root):
        with suppress(errors.NotFound):
            try:
                roster.read(opened.root, uuid)
            except errors.Corrupt as e:
                raise errors.Corrupt(what=f"group '{text}' was not found, but not all could be read: {e.what}") from e
