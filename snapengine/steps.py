"""Take the steps of a removal (removal.py), each an operation of its own that leaves a whole store."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from snapengine import (
    choice,
    clones,
    durable,
    hold,
    imagelock,
    inventory,
    layout,
    merge,
    notes,
    operation,
    presence,
    printed,
    records,
    removal,
    sound,
    step_plan,
    store,
    units,
)
from snapengine.choice import Choice
from snapengine.cost import Direction, Way
from snapengine.draft import Plan
from snapengine.hold import Held, Image
from snapengine.inventory import SnapshotRecord, TrashRecord
from snapengine.merge import Join
from snapengine.printed import Progress
from snapengine.records import Contents
from snapengine.removal import Family, Step


def family(contents: Contents) -> Family:
    """Return a volume's records as removal knows them."""
    return Family(contents.volume, contents.snapshots, contents.trash)


def take_all(work: Held, todo: Sequence[Step], direction: Direction, progress: Progress | None) -> None:
    """
    Take steps, each as an operation of its own.

    What would refuse one of them, but for a lack of room, is found before the first: then nothing was changed.
    """
    before = family(records.contents(work.directory))
    for number, step in enumerate(todo):
        if number > 0:  # the first one's own look comes in time
            with _ready(work, before, step, direction):
                pass
        before = removal.applied(before, step, work.place.operation, work.place.now)
    for number, step in enumerate(todo):
        _take(work, step, direction, printed.part(progress, number, len(todo)))


def _take(work: Held, step: Step, direction: Direction, progress: Progress | None) -> None:
    """Take one step, as an operation of its own."""
    before = family(records.contents(work.directory))
    work = work._replace(volume=before.volume, place=hold.place(work.store, work.directory, work.place.verb))
    after = removal.applied(before, step, work.place.operation, work.place.now)
    with _ready(work, before, step, direction) as (chosen, images):
        way = chosen.cost.way if chosen.cost else None
        marks = merge.marked(chosen.join, pulled=way in ("pull", "rebase")) if chosen.join else ()
        made = step_plan.removal(work.place, before, after, step, way, *marks)
        _run(work, made, chosen, images, progress)
    if step.child is not None and step.child != before.volume.uuid:
        _note_size(work.directory, after, step.child)


@contextmanager
def _ready(work: Held, before: Family, step: Step, direction: Direction) -> Iterator[tuple[Choice, dict[str, Image]]]:
    """Keep everybody out of what a step touches for the block, once nothing is wrong there; gives what will move."""
    with ExitStack() as stack:
        moving = [before.volume.uuid, *([step.child] if step.child else [])]
        images = _held(work, before, moving, stack)
        _keep_clones(work, stack)
        chosen = choice.chosen(work.store, work.directory, before, step, direction)
        way = chosen.cost.way if chosen.cost else None
        written = step.run[-1:] if way == "commit" else ()  # by qemu-img under QEMU's own lock
        with ExitStack() as looked:
            _held(work, before, written, looked)  # nobody may read it either, whom that lock would not keep out
        _require_single(work, before, written if way in ("clone", "commit") else moving)
        _held(work, before, [uuid for uuid in (*step.run, *step.drop) if uuid not in written], stack)
        _require_consistent(work, before, step, way)
        yield chosen, images


def _require_single(work: Held, family: Family, written: Iterable[str]) -> None:
    """Raise Conflict where an image that is about to be written to has another name."""
    for path in (work.directory / step_plan.image_of(family, uuid) for uuid in written):
        hold.require_single(path, path)


def _require_consistent(work: Held, family: Family, step: Step, way: Way | None) -> None:
    """Raise Corrupt where the tables of the image that a way writes to in place contradict each other."""
    written = step.run[-1] if way == "commit" else step.child if way in ("pull", "rebase") else None
    if written is not None:
        sound.require_consistent(work.directory / step_plan.image_of(family, written))


def _note_size(directory: Path, after: Family, uuid: str) -> None:
    """Write down what the file of a snapshot or trash item takes by now."""
    name = step_plan.record_of(after, uuid)
    record: SnapshotRecord | TrashRecord = after.snapshots[uuid] if uuid in after.snapshots else after.trash[uuid]
    size = units.allocated(os.lstat((directory / name).with_suffix(".qcow2")))
    if size != record.size:
        notes.write(directory / name, msgspec.structs.replace(record, size=size))


def _held(work: Held, family: Family, uuids: Iterable[str], stack: ExitStack) -> dict[str, Image]:
    """Keep everybody out of these images of the volume until the stack ends; gives what is there, by uuid."""
    frozen: dict[str, inventory.SnapshotRecord | inventory.TrashRecord] = {**family.snapshots, **family.trash}
    held = {}
    for uuid in dict.fromkeys(uuids):
        path = work.directory / step_plan.image_of(family, uuid)
        if uuid == family.volume.uuid:
            held[uuid] = stack.enter_context(hold.image(work))
        elif presence.is_there(path):
            held[uuid] = stack.enter_context(hold.kept(work, path, frozen[uuid]))
    return held


def _keep_clones(work: Held, stack: ExitStack) -> None:
    """Keep every VM out of the volume's linked clones until the stack ends: images under them change places."""
    for clone in clones.of(work.store.root, work.volume.uuid):
        if clone.status != "Deleted":
            directory = store.find_volume(work.store.root, clone.uuid)
            stack.enter_context(imagelock.held(directory / layout.active_name(clone), clone.uuid))


def _run(work: Held, made: Plan, chosen: Choice, images: dict[str, Image], progress: Progress | None) -> None:
    kept = {image.layer.path.name: image.fd for image in images.values()}
    if chosen.join is None or chosen.cost is None:
        operation.recorded(work, made, kept)
        return
    join, way = chosen.join, chosen.cost.way
    durable.require_room(work.directory, choice.room(join, way, chosen.copied) + choice.SLACK)
    if way == "clone":
        making = _cloning(work, join, made, progress)
        operation.over_active(work, made.entry, images[chosen.step.child or ""], making)
    elif way == "commit":
        operation.recorded(work, made, kept, progress)
    else:
        operation.pulled(work, made, kept, lambda: merge.pull(join, progress, header_only=way == "rebase"))


def _cloning(work: Held, join: Join, made: Plan, progress: Progress | None) -> operation.Making:
    @contextmanager
    def making(new: Path) -> Iterator[Plan]:
        merge.clone(join, new, progress, shared=work.store.record.reflinks)
        yield made

    return making
