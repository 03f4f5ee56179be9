"""Where everything lies: the names, and that nothing but a uuid becomes part of a path."""

import uuid
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapengine import errors, layout
from snapengine.inventory import Volume

DATE = "Jun 7, 2017 9:20:17 PM"
A = "ec8f396d8a5d48ce8bd949d469c0be62"
NOT_UUIDS = [
    "", "..", "/", "a/b", f"../{A[3:]}", f"{A}/", f"{A}\n", f" {A}", A[:31], f"{A}0", A.upper(), A[:31] + "g",
    str(uuid.UUID(A)), A[:31] + "٣", A[:31] + "\0", f"{A}.qcow2", "*" * 32, "?" * 32,
]  # fmt: skip


def volume(name: str) -> Volume:
    return Volume(
        uuid=A, name="db", primary_storage_uuid=A, install_path=f"/anywhere/{name}", type="Root", format="qcow2",
        size=512, actual_size=0, state="Enabled", status="Ready", create_date=DATE, last_op_date=DATE,
        is_shareable=False,
    )  # fmt: skip


def test_the_published_pages_path_is_made_of_the_same_parts() -> None:
    directory = layout.volume_directory(Path("/Cloud_ps"), "Root", layout.ADMIN, "e60a0fb0b75743c1b0fcb017e31db043")
    assert str(directory / layout.SNAPSHOTS / layout.image(A)) == (
        "/Cloud_ps/rootVolumes/acct-36c27e8ff05c4780bf6d2fa65700f22e/vol-e60a0fb0b75743c1b0fcb017e31db043"
        "/snapshots/ec8f396d8a5d48ce8bd949d469c0be62.qcow2"
    )


def test_data_volumes_lie_beside_root_volumes() -> None:
    directory = layout.volume_directory(Path("/r"), "Data", "a" * 32, A)
    assert directory == Path(f"/r/dataVolumes/acct-{'a' * 32}/vol-{A}")


def test_every_file_of_an_object_has_its_uuid_in_the_name() -> None:
    names = [layout.image(A), layout.record(A), layout.trash_image(A), layout.trash_record(A)]
    assert names == [f"{A}.qcow2", f"{A}.json", f"{A}.trash.qcow2", f"{A}.trash.json"]


@given(st.uuids())
def test_32_lower_case_hex_characters_are_a_uuid(made: uuid.UUID) -> None:
    assert layout.is_uuid(made.hex)
    assert layout.uuid_of(layout.image(made.hex)) == made.hex


@pytest.mark.parametrize("text", NOT_UUIDS, ids=ascii)
def test_nothing_else_is_a_uuid(text: str) -> None:
    assert not layout.is_uuid(text)
    assert layout.uuid_of(f"{text}.qcow2") is None
    with pytest.raises(errors.Invalid, match="is not a uuid: give 32 lower-case hex characters"):
        layout.check_given_uuid(text)


@given(st.text("0123456789abcdef", min_size=31, max_size=31), st.characters(), st.integers(0, 31))
def test_one_other_character_is_enough_to_be_no_uuid(rest: str, character: str, at: int) -> None:
    assert layout.is_uuid(rest[:at] + character + rest[at:]) is (character in "0123456789abcdef")


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("variant", "89ab")
def test_a_given_uuid_of_each_version_is_taken(version: int, variant: str) -> None:
    text = f"{A[:12]}{version}{A[13:16]}{variant}{A[17:]}"
    assert layout.check_given_uuid(text) == text


@pytest.mark.parametrize("digit", "06789abcdef")
def test_a_given_uuid_of_an_unknown_version_is_invalid(digit: str) -> None:
    with pytest.raises(errors.Invalid, match="of a version 1-5 uuid"):
        layout.check_given_uuid(f"{A[:12]}{digit}{A[13:]}")


@pytest.mark.parametrize("digit", "01234567cdef")
def test_a_given_uuid_of_an_unknown_variant_is_invalid(digit: str) -> None:
    with pytest.raises(errors.Invalid):
        layout.check_given_uuid(f"{A[:16]}{digit}{A[17:]}")


def test_a_long_thing_that_is_no_uuid_is_shown_cut_off() -> None:
    with pytest.raises(errors.Invalid) as caught:
        layout.check_given_uuid("x" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", [f"{A}.qcow2", f"{A}.0.qcow2", f"{A}.17.qcow2"])
def test_the_active_image_has_the_stable_name_or_a_numbered_one(name: str) -> None:
    assert layout.active_name(volume(name)) == name


@pytest.mark.parametrize(
    "name",
    ["", "x.qcow2", f"{A}", f"{A}.", f"{A}.json", f"{A}.qcow2\n", f"{A}..qcow2", f"{A}.x.qcow2", f"{A}.1.2.qcow2",
     f"{A}.-1.qcow2", f"{A}.١.qcow2", f"{A}.trash.qcow2", f".{A}.qcow2", f"{'b' * 32}.qcow2", f"{A}.qcow2/", "..",
     f"{A}\0.qcow2"],
    ids=ascii,
)  # fmt: skip
def test_a_record_with_any_other_active_image_is_corrupt(name: str) -> None:
    with pytest.raises(errors.Corrupt, match=f"volume {A} has the install path .* not one of its own") as caught:
        layout.active_name(volume(name))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("path", ["/etc/passwd", "", "passwd", f"/a/../../{A}.qcow2", f"{A}.qcow2"])
def test_only_the_last_part_of_a_recorded_path_is_used(path: str) -> None:
    record = msgspec.structs.replace(volume(""), install_path=path)
    if path.endswith(f"{A}.qcow2"):
        assert layout.active_name(record) == f"{A}.qcow2"
    else:
        with pytest.raises(errors.Corrupt):
            layout.active_name(record)


@pytest.mark.parametrize("name", ["a", A, f".{A}.json.new", "...", "a b", "ä", "\n"], ids=ascii)
def test_a_bare_name_is_a_file_in_its_own_directory(name: str) -> None:
    assert layout.is_bare(name)


@pytest.mark.parametrize("name", ["", ".", "..", "/", "/etc", "a/", "a/b", "../a", "a\0", "\0"], ids=ascii)
def test_no_other_name_is_bare(name: str) -> None:
    assert not layout.is_bare(name)


@pytest.mark.parametrize("part", ["rootVolumes", "dataVolumes"])
def test_an_operation_works_in_the_directory_of_an_account_or_a_volume(part: str) -> None:
    assert layout.is_own_directory(f"{part}/acct-{A}")
    assert layout.is_own_directory(f"{part}/acct-{A}/vol-{A}/snapshots")


@pytest.mark.parametrize(
    "below",
    ["", ".", "..", "/", "journal", "dataVolumes", f"/dataVolumes/acct-{A}", f"dataVolumes/acct-{A}/", "trash",
     f"otherVolumes/acct-{A}", f"dataVolumes/{A}", "dataVolumes/acct-admin", f"dataVolumes/acct-{A}/vol-{A}",
     f"dataVolumes/acct-{A}/vol-{A}/snapshots/..", f"dataVolumes/acct-{A}/vol-../snapshots",
     f"dataVolumes/acct-{A}/../acct-{A}", f"dataVolumes/acct-{A}\n"],
    ids=ascii,
)  # fmt: skip
def test_an_operation_works_nowhere_else(below: str) -> None:
    assert not layout.is_own_directory(below)


def test_what_an_operation_prepares_is_hidden_and_known_as_such() -> None:
    name = layout.new(f"{A}.qcow2", "b" * 32)
    assert name == f".{A}.qcow2.{'b' * 32}.new"
    assert layout.is_new(name) and layout.is_new(layout.new(f"vol-{A}", "b" * 32))


@pytest.mark.parametrize("name", [f"{A}.qcow2", f"{A}.new", ".lock", ".new/x", "", "."])
def test_no_other_name_is_taken_for_something_prepared(name: str) -> None:
    assert not layout.is_new(name)
