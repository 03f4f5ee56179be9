"""Groups whose record, or a member of which, was damaged by hand: told beforehand, and nothing is changed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from snapengine import errors
from snapengine.engine import Engine
from tests.oracle import CLUSTER, Oracle


@pytest.fixture
def group(oracle: Oracle) -> str:
    volumes = [oracle.volume(name) for name in ("one", "two")]
    for volume in volumes:
        oracle.write(volume)
    made = oracle.create_group("g", *volumes)
    for volume in volumes:
        oracle.write(volume, CLUSTER)
    return made.uuid


def test_a_member_without_its_image_keeps_the_group_from_being_reverted_to(oracle: Oracle, group: str) -> None:
    engine = oracle.engine
    _, ref = engine.get_group(group).volume_snapshot_refs
    image = engine.snapshot_path(ref.volume_snapshot_uuid)
    away = image.with_suffix(".away")
    image.rename(away)

    (told,) = engine.groups_available((group,))
    assert not told.available
    assert f"snapshot {ref.volume_snapshot_uuid} (g-two)" in told.reason and "has no image" in told.reason
    for refused in (engine.revert_group, engine.preview_revert_group):
        with pytest.raises(errors.Conflict, match="has no image; run 'snapengine verify'"):
            refused(group)
    with pytest.raises(errors.Corrupt, match="is missing"):
        engine.preview_revert(ref.volume_snapshot_uuid)

    away.rename(image)
    oracle.check()
    oracle.revert_group(group)
    oracle.check()


def test_a_bad_image_of_a_member_is_told_before_anybody_is_asked(oracle: Oracle, group: str) -> None:
    engine = oracle.engine
    _, ref = engine.get_group(group).volume_snapshot_refs
    image = engine.snapshot_path(ref.volume_snapshot_uuid)
    whole = image.read_bytes()
    image.write_bytes(whole[:1000])

    for refused in (engine.preview_revert_group, engine.revert_group):
        with pytest.raises(errors.Refused, match="outside the file"):
            refused(group)

    image.write_bytes(whole)
    oracle.check()


@pytest.mark.parametrize("verb", [Engine.get_group, Engine.revert_group, Engine.delete_group, Engine.ungroup])
@pytest.mark.parametrize("damage", [list.clear, lambda members: members.append(members[0])], ids=["none", "twice"])
def test_a_record_without_members_or_with_one_twice_is_corrupt(
    oracle: Oracle, group: str, verb: Callable[[Engine, str], object], damage: Callable[[list[Any]], object]
) -> None:
    path = oracle.engine.root / "groups" / f"{group}.json"
    whole = path.read_text()
    record = json.loads(whole)
    damage(record["members"])
    path.write_text(json.dumps(record))

    with pytest.raises(errors.Corrupt, match="has no member, or a volume twice"):
        verb(oracle.engine, group)

    path.write_text(whole)
    oracle.check()
