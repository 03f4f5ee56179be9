"""The records: their JSON is the contract's, and nothing but a record is taken for one."""

import json
from collections.abc import Mapping
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapengine import errors, inventory, journal, units
from snapengine.intent import Entry, Rename
from snapengine.inventory import (
    BackupStorageRef,
    PrimaryStorage,
    Snapshot,
    SnapshotRecord,
    Status,
    Struct,
    TrashRecord,
    Tree,
    VolumeRecord,
)
from snapengine.owners import AccountRecord, Accounts

# CONTRACT.md, section 1, word for word.
PUBLISHED = json.loads("""
{"uuid":"ec8f396d8a5d48ce8bd949d469c0be62","name":"Snapshot-1","description":"create-snapshot-from-volume","type":"Hypervisor",
 "volumeUuid":"e60a0fb0b75743c1b0fcb017e31db043","treeUuid":"b5cf59580ef443c4b7106cf755e6c572","parentUuid":"cc0e37297d76486186f0dd2b61ddf4e2",
 "primaryStorageUuid":"82280d3f2f01482bbcdfee03599bcad5",
 "primaryStorageInstallPath":"/Cloud_ps/rootVolumes/acct-36c27e8ff05c4780bf6d2fa65700f22e/vol-e60a0fb0b75743c1b0fcb017e31db043/snapshots/ec8f396d8a5d48ce8bd949d469c0be62.qcow2",
 "volumeType":"Root","format":"qcow2","latest":true,"size":1073741824,"state":"Enabled","status":"Ready",
 "createDate":"Jun 7, 2017 9:20:17 PM","lastOpDate":"Jun 7, 2017 9:20:17 PM","backupStorageRefs":[]}
""")  # noqa: E501
MADE, CHANGED = "Jun 7, 2017 9:20:17 PM", "Dec 31, 2024 11:59:59 PM"
OF_THE_RECORD = {"distance": 2, "generation": 3, "schemaVersion": 1}

RECORDS: list[tuple[str, Struct]] = [
    ("snapshot", inventory.decode(json.dumps(PUBLISHED | OF_THE_RECORD).encode(), SnapshotRecord, "")),
    (
        "volume",
        VolumeRecord(
            uuid="v", name="db", primary_storage_uuid="p", install_path="/v.qcow2", type="Root", format="qcow2", size=1,
            actual_size=2, state="Disabled", status="Ready", create_date=MADE, last_op_date=CHANGED, is_shareable=False,
            description="", vm_instance_uuid="w", device_id=0, schema_version=1, generation=1, account="a",
            trees=(Tree(uuid="t", latest="s", current=True, create_date=MADE, last_op_date=CHANGED),),
            system_tags=("x::y",), user_tags=("u",), broken_bitmaps=("b",), vm_name="web", channel="qmp:/run/x",
        ),
    ),
    (
        "trash",
        TrashRecord(
            uuid="i", kind="ActiveImage", volume_uuid="v", size=1, create_date=MADE, snapshot_uuid="s",
            schema_version=1, generation=2,
        ),
    ),
    (
        "storage",
        PrimaryStorage(
            uuid="p", name="n", root="/r", schema_version=1, create_date=MADE, max_incremental_snapshot_num=3,
        ),
    ),
    ("accounts", Accounts(schema_version=1, accounts=(AccountRecord(uuid="a", name="admin", create_date=MADE),))),
    (
        "journal entry",
        Entry(
            uuid="o", verb="revert", volume_uuid="v", directory="d", pid=1, started="c", schema_version=1,
            commit=Rename(source="a", target="b"), backing="s", made=("m",), publish=(Rename(source="p", target="q"),),
            drop=("d",), reserved=("r",),
        ),
    ),
]  # fmt: skip
ALL = pytest.mark.parametrize("record", [record for _, record in RECORDS], ids=[name for name, _ in RECORDS])

TEXTS = ("uuid", "name", "type", "volume_uuid", "tree_uuid", "format")
DATES = ("create_date", "last_op_date")
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
snapshots = st.builds(
    SnapshotRecord,
    **dict.fromkeys(TEXTS, text),
    **dict.fromkeys(DATES, st.integers(0, 2**37).map(units.format_date)),
    size=st.integers(0, 2**63 - 1),
    latest=st.booleans(),
    distance=st.integers(1, 119),
    status=st.sampled_from(get_args(Status)),
    description=st.none() | text,
    parent_uuid=st.none() | text,
    backup_storage_refs=st.lists(
        st.builds(BackupStorageRef, volume_snapshot_uuid=text, backup_storage_uuid=text, install_path=text), max_size=2
    ).map(tuple),
    system_tags=st.lists(text, max_size=2).map(tuple),
    schema_version=st.just(inventory.SCHEMA_VERSION),
)


def built_in(record: Struct) -> Mapping[str, object]:
    """Return record as json, not msgspec, reads what was written of it."""
    found: Mapping[str, object] = json.loads(inventory.encode(record))
    return found


def decoded(document: object, kind: type[Struct] = SnapshotRecord) -> Struct:
    return inventory.decode(json.dumps(document).encode(), kind, "/srv/s.json")


def test_the_published_inventory_is_read_and_written_word_for_word() -> None:
    document = PUBLISHED | OF_THE_RECORD
    assert built_in(decoded(document)) == document


def test_what_the_contract_shows_is_the_published_inventory_and_the_distance() -> None:
    shown = inventory.decode(json.dumps(PUBLISHED | OF_THE_RECORD).encode(), Snapshot, "")
    assert built_in(shown) == PUBLISHED | {"distance": 2}


@given(snapshots)
def test_a_record_comes_back_as_it_was(record: SnapshotRecord) -> None:
    assert inventory.decode(inventory.encode(record), SnapshotRecord, "") == record


@ALL
def test_every_kind_of_record_comes_back_as_it_was(record: Struct) -> None:
    data = inventory.encode(record)
    assert inventory.decode(data, type(record), "") == record
    assert journal.is_whole(data)


@ALL
def test_keys_are_camel_case_and_sorted_at_every_level(record: Struct) -> None:
    def keys(document: object) -> None:
        if isinstance(document, dict):
            assert list(document) == sorted(document)
            assert all(key.isalpha() and key[0].islower() for key in document), document
        for part in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
            keys(part)

    keys(built_in(record))


@ALL
def test_nulls_and_what_is_empty_by_default_are_left_out(record: Struct) -> None:
    optional = {f.name: f.default for f in msgspec.structs.fields(record) if f.default is not msgspec.NODEFAULT}
    bare = msgspec.structs.replace(record, **optional)
    whole = not record.__struct_config__.omit_defaults  # the store's record tells every setting
    required = {f.encode_name for f in msgspec.structs.fields(record) if whole or f.name not in optional}

    assert set(built_in(bare)) == required
    assert inventory.decode(inventory.encode(bare), type(record), "") == bare


def test_an_empty_list_of_backup_storages_is_always_there() -> None:
    assert built_in(decoded(PUBLISHED | OF_THE_RECORD))["backupStorageRefs"] == []


@ALL
def test_unknown_keys_are_ignored(record: Struct) -> None:
    document = {**built_in(record), "zzz": {"deep": [1, None, {"er": True}]}, "aaa": None, "UUID": "x"}
    assert decoded(document, type(record)) == record


@ALL
def test_records_can_not_be_changed(record: Struct) -> None:
    with pytest.raises(AttributeError):
        setattr(record, msgspec.structs.fields(record)[0].name, "x")


@ALL
def test_a_newer_schema_is_corrupt_and_names_the_way_out(record: Struct) -> None:
    with pytest.raises(errors.Corrupt, match="/srv/s.json was written by a newer snapengine; upgrade to read it"):
        decoded({**built_in(record), "schemaVersion": 2, "newKey": []}, type(record))


@ALL
def test_a_record_that_is_cut_off_anywhere_is_corrupt_and_not_whole(record: Struct) -> None:
    data = inventory.encode(record)
    for length in range(len(data)):
        assert not journal.is_whole(data[:length])
        with pytest.raises(errors.Corrupt, match="record /srv/s.json is damaged"):
            inventory.decode(data[:length], type(record), "/srv/s.json")


WRONG: list[tuple[str, object]] = [
    ("uuid", None), ("uuid", 1), ("uuid", ["x"]), ("name", None), ("size", "1"), ("size", 1.5), ("size", None),
    ("latest", 1), ("latest", "true"), ("volumeType", "root"), ("volumeType", None), ("status", "ready"),
    ("status", ""), ("state", "On"), ("createDate", 1496870417), ("createDate", ""), ("createDate", "2017-06-07"),
    ("lastOpDate", "Jun 07, 2017 9:20:17 PM"), ("lastOpDate", f"{MADE}\n"), ("parentUuid", 7), ("description", {}),
    ("backupStorageRefs", None), ("backupStorageRefs", [None]), ("backupStorageRefs", {}), ("systemTags", "x"),
    ("systemTags", [None]), ("userTags", [1]), ("distance", "2"), ("generation", None), ("schemaVersion", "1"),
    ("schemaVersion", None),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG, ids=[f"{key} {value}" for key, value in WRONG])
def test_a_wrong_type_is_corrupt_and_the_key_is_told(key: str, value: object) -> None:
    with pytest.raises(errors.Corrupt, match=rf"record /srv/s\.json is damaged: .*{key}.*; run 'snapengine verify'"):
        decoded(PUBLISHED | OF_THE_RECORD | {key: value})


@pytest.mark.parametrize("key", [*sorted(set(PUBLISHED) - {"parentUuid", "description"}), *OF_THE_RECORD])
def test_a_missing_key_is_corrupt_and_told(key: str) -> None:
    document = PUBLISHED | OF_THE_RECORD
    del document[key]
    with pytest.raises(errors.Corrupt, match=f"missing required field `{key}`"):
        decoded(document)


@ALL
def test_a_record_of_another_kind_is_corrupt(record: Struct) -> None:
    for _, other in RECORDS:
        if type(other) is not type(record):
            with pytest.raises(errors.Corrupt):
                inventory.decode(inventory.encode(other), type(record), "x")


@pytest.mark.parametrize(
    "data",
    [b"", b" ", b"\0" * 300, b"null", b"[]", b"7", b'"x"', b"{}", b"{", b"QFI\xfb\0\0\0\3", b"\xff\xfe{\0}\0",
     b'{"uuid": "\xff"}', b'{"uuid": "\xed\xb2\x80"}', b'{"uuid": NaN}', b"{}{}", b"{'uuid': 1}", b"\xef\xbb\xbf{}"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_record_is_corrupt(data: bytes) -> None:
    for _, record in RECORDS:
        with pytest.raises(errors.Corrupt, match="record /srv/s.json is damaged"):
            inventory.decode(data, type(record), "/srv/s.json")


@given(st.binary())
def test_no_other_error_than_corrupt_comes_out_of_any_bytes(data: bytes) -> None:
    for _, record in RECORDS:
        with pytest.raises(errors.Corrupt):
            inventory.decode(data, type(record), "x")


DEEP = 10_000
NESTED: list[tuple[str, bytes]] = [
    ("lists", b"[" * DEEP + b"]" * DEEP),
    ("lists, cut off", b"[" * DEEP),
    ("objects", b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    ("a known key", b'{"uuid":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    ("an unknown key", b'{"zzz":' + b"[" * DEEP + b"]" * DEEP + b"}"),
]


@pytest.mark.parametrize("data", [data for _, data in NESTED], ids=[name for name, _ in NESTED])
def test_json_that_is_nested_deeply_is_corrupt_too(data: bytes) -> None:
    for _, record in RECORDS:
        with pytest.raises(errors.Corrupt, match="is damaged"):
            inventory.decode(data, type(record), "x")


@pytest.mark.parametrize("data", [data for _, data in NESTED], ids=[name for name, _ in NESTED])
def test_json_that_is_nested_deeply_is_not_taken_for_one_that_a_power_cut_cut_off(data: bytes) -> None:
    assert journal.is_whole(data)


@pytest.mark.parametrize("data", [b"{}", b"[]", b"null", b' {"a": [1]} '], ids=ascii)
def test_any_whole_document_is_whole(data: bytes) -> None:
    assert journal.is_whole(data)
