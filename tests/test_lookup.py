"""Names that people type: uuid, name, VOLUME/SNAPSHOT, the start of a uuid, and who wins."""

from pathlib import Path

import pytest

from snapengine import errors, store
from snapengine.engine import Engine
from tests.oracle import MIB, Oracle


def uuid(start: str) -> str:
    """Return a uuid that begins with start and may be given."""
    return start + "00000000-0000-4000-8000-000000000000".replace("-", "")[len(start) :]


DB, WEB, TWIN, OTHER_TWIN, SLASH = (uuid(start) for start in ("d1", "d2", "d3", "d4", "d5"))
ONE, TWO, ALSO_TWO, DEEP, LIKE = (uuid(start) for start in ("abc1", "abc2", "abc3", "eeee1", "eeee2"))

VOLUMES = {DB: "db", WEB: "web", TWIN: "twin", OTHER_TWIN: "twin", SLASH: "db/two"}
SNAPSHOTS = {
    ONE: (DB, "one"),
    TWO: (DB, "two"),
    ALSO_TWO: (WEB, "two"),
    DEEP: (SLASH, "a/b"),
    LIKE: (WEB, "abc1"),  # a name that looks like the start of another's uuid
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = Engine.init(tmp_path_factory.mktemp("lookup") / "storage")
    for volume, name in VOLUMES.items():
        engine.create_volume(name, MIB, uuid=volume)
    for snapshot, (volume, name) in SNAPSHOTS.items():
        engine.create_snapshot(volume, name, uuid=snapshot)
    engine.create_volume(ONE, MIB, uuid=uuid("d6"))  # a name that is the uuid of a snapshot
    engine.create_volume(DB, MIB, uuid=uuid("d7"))  # and one that is the uuid of a volume
    return engine


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (DB, DB),
        ("db", DB),
        ("db/two", SLASH),
        (ONE, uuid("d6")),
        (WEB[:4], WEB),
        (WEB[:31], WEB),
        (uuid("d6")[:4], uuid("d6")),
    ],
    ids=["uuid over name", "name", "name with a slash", "a name like another's uuid", "4 characters", "31", "prefix"],
)
def test_a_volume_is_found(engine: Engine, text: str, found: str) -> None:
    assert engine.find_volume(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TWO, TWO),
        ("one", ONE),
        ("a/b", DEEP),
        ("db/two", TWO),
        ("web/two", ALSO_TWO),
        ("db/two/a/b", DEEP),
        (f"{DB}/two", TWO),
        (f"db/{TWO}", TWO),
        (f"{WEB}/{ALSO_TWO}", ALSO_TWO),
        ("abc1", LIKE),
        (ONE[:5], ONE),
        (TWO[:31], TWO),
        ("eeee2", LIKE),
    ],
    ids=["uuid", "name", "name with a slash", "volume/name", "another volume/name", "slashes in both", "uuid/name",
         "name/uuid", "uuid/uuid", "name over prefix", "prefix", "31 characters", "prefix of one with such a name"],
)  # fmt: skip
def test_a_snapshot_is_found(engine: Engine, text: str, found: str) -> None:
    assert engine.find_snapshot(text) == found


def test_an_exact_name_wins_over_volume_slash_snapshot(engine: Engine) -> None:
    made = engine.create_snapshot(WEB, "web/two").uuid
    assert engine.find_snapshot("web/two") == made
    assert engine.find_snapshot("web/web/two") == made
    engine.update_snapshot(made, name="another")
    assert engine.find_snapshot("web/two") == ALSO_TWO


@pytest.mark.parametrize(
    ("text", "found"),
    [("web", WEB), ("one", ONE), (ALSO_TWO, ALSO_TWO), ("db/two", SLASH), ("web/two", ALSO_TWO), ("eeee1", DEEP)],
    ids=["a volume", "a snapshot", "a uuid", "a volume over VOLUME/SNAPSHOT", "VOLUME/SNAPSHOT", "a prefix"],
)
def test_any_object_is_found(engine: Engine, text: str, found: str) -> None:
    assert engine.find_object(text) == found


@pytest.mark.parametrize(
    ("kind", "text", "all_of"),
    [
        ("volume", "twin", (f"{TWIN} (twin)", f"{OTHER_TWIN} (twin)")),
        ("snapshot", "two", (f"{TWO} (db/two)", f"{ALSO_TWO} (web/two)")),
        ("snapshot", "eeee", (f"{DEEP} (db/two/a/b)", f"{LIKE} (web/abc1)")),
        ("object", "twin", (f"{TWIN} (twin)", f"{OTHER_TWIN} (twin)")),
    ],
    ids=["volumes of one name", "snapshots of one name", "one prefix", "any object"],
)
def test_several_matches_are_ambiguous_and_all_are_listed(
    engine: Engine, kind: str, text: str, all_of: tuple[str, ...]
) -> None:
    find = {"volume": engine.find_volume, "snapshot": engine.find_snapshot, "object": engine.find_object}[kind]
    with pytest.raises(errors.Ambiguous, match=f"{kind} '{text}' is ambiguous; it could be ") as caught:
        find(text)
    told = str(caught.value).partition("could be ")[2].removesuffix("; give a uuid")
    assert sorted(told.split(", ")) == sorted(all_of)
    assert caught.value.exit_code == 2


def test_two_volumes_of_one_name_make_a_path_ambiguous(engine: Engine) -> None:
    for volume in (TWIN, OTHER_TWIN):
        engine.create_snapshot(volume, "same")
    with pytest.raises(errors.Ambiguous, match="snapshot 'twin/same' is ambiguous"):
        engine.find_snapshot("twin/same")
    engine.update_snapshot(engine.find_snapshot(f"{TWIN}/same"), name="unique")
    assert engine.find_snapshot("twin/same") == engine.find_snapshot(f"{OTHER_TWIN}/same")


@pytest.mark.parametrize(
    "text",
    ["", " ", "d", "d20", "abc", "D200", "Web", "web ", "web/", "/web", "web/one", "..", "../web", "/", "*", "?" * 32,
     "9" * 32, "0000", "nothing", "web/two/", "x" * 5000],
    ids=lambda text: ascii(text)[:12],
)  # fmt: skip
def test_what_matches_nothing_is_not_found(engine: Engine, text: str) -> None:
    finds = {"volume": engine.find_volume, "snapshot": engine.find_snapshot, "trash": engine.find_trash_item}
    for noun, find in finds.items():
        with pytest.raises(errors.NotFound, match=f"was not found; 'snapengine {noun} list' shows those that are"):
            find(text)
    with pytest.raises(errors.NotFound, match=r"was not found; 'snapengine .* list'"):
        engine.find_object(text)


def test_a_volume_is_no_snapshot_and_a_snapshot_no_volume(engine: Engine) -> None:
    for text in (WEB, "web", WEB[:6]):
        with pytest.raises(errors.NotFound, match=f"that is a volume, 'snapengine snapshot list {WEB}' shows its"):
            engine.find_snapshot(text)
    for text in (TWO, TWO[:6], "two", "db/one"):
        with pytest.raises(errors.NotFound, match="that is a snapshot of volume 'db'"):
            engine.find_volume(text)


def test_what_is_deleted_is_told_with_what_brings_it_back(tmp_path: Path) -> None:
    engine = Engine.init(tmp_path / "storage")
    volume = engine.create_volume("db", MIB).uuid
    snapshot = engine.create_snapshot(volume, "before").uuid
    engine.delete_volumes((volume,))

    for text in (volume, volume[:6], "db"):
        for find in (engine.find_volume, engine.find_object):
            with pytest.raises(errors.NotFound, match=f"it is deleted, 'snapengine volume recover {volume}' brings"):
                find(text)
    for text in (snapshot, snapshot[:6], "before", "db/before"):
        for find in (engine.find_snapshot, engine.find_object):
            with pytest.raises(errors.NotFound, match=f"its volume 'db' is deleted, '.* recover {volume}' brings both"):
                find(text)


def test_what_is_not_deleted_can_not_be_recovered(engine: Engine) -> None:
    for text in (WEB, "web", WEB[:6]):
        with pytest.raises(errors.Conflict, match=rf"volume web \({WEB}\) is not deleted"):
            engine.find_deleted_volume(text)
    with pytest.raises(errors.Conflict, match=rf"volumes twin \({TWIN}\), twin \({OTHER_TWIN}\) are not deleted"):
        engine.find_deleted_volume("twin")
    with pytest.raises(errors.NotFound, match="'snapengine volume list --deleted' shows those that are"):
        engine.find_deleted_volume("two")


def test_a_trash_item_is_found_by_its_uuid_or_the_start_of_it(oracle: Oracle) -> None:
    volume = oracle.volume()
    snapshot = oracle.create(volume, "base").uuid
    items = []
    for _ in range(2):
        oracle.write(volume)
        items.append(oracle.revert(snapshot) or "")
    for item in items:
        assert oracle.engine.find_trash_item(item) == item
        assert oracle.engine.find_trash_item(item[:31]) == item
    with pytest.raises(errors.NotFound, match="trash item '' was not found"):
        oracle.engine.find_trash_item("")


def test_a_damaged_record_keeps_no_other_volume_from_being_found(tmp_path: Path) -> None:
    broken = Engine.init(tmp_path / "storage")
    damaged, whole = broken.create_volume("db", MIB).uuid, broken.create_volume("web", MIB).uuid
    snapshot = broken.create_snapshot(whole, "first").uuid
    broken.volume_path(damaged).with_suffix(".json").write_text("{")

    assert broken.find_volume("web") == whole and broken.find_snapshot("web/first") == snapshot
    assert broken.find_volume(damaged) == damaged
    with pytest.raises(errors.Corrupt, match=f"'db' was not found, but not all could be read.*{damaged}"):
        broken.find_volume("db")


def test_an_empty_store_has_nothing(tmp_path: Path) -> None:
    engine = Engine.init(tmp_path / "storage")
    for find in (engine.find_volume, engine.find_snapshot, engine.find_trash_item, engine.find_object):
        with pytest.raises(errors.NotFound):
            find("db")


def test_a_snapshot_whose_directory_can_not_be_looked_at_is_not_unknown(oracle: Oracle) -> None:
    volumes = [oracle.volume(name) for name in ("one", "two")]
    snapshots = [oracle.create(volume, "s").uuid for volume in volumes]
    directory, other = (oracle.engine.volume_path(volume).parent for volume in volumes)
    directory.rename(directory.with_name("away"))
    directory.symlink_to(directory.name)

    with pytest.raises(OSError, match="symbolic links"):
        store.find_snapshot(oracle.engine.root, snapshots[0])
    assert store.find_snapshot(oracle.engine.root, snapshots[1]) == other
