"""Arguments: the contract's bounds, one step on each side of them."""

import pytest

from snapengine import arguments, errors


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a", "a"),
        ("  db 1\n", "db 1"),
        ("a/b", "a/b"),
        ("..", ".."),
        ("x" * 255, "x" * 255),
        (" " * 300 + "x", "x"),
        ("卷快照-备份", "卷快照-备份"),
        ("😀" * 255, "😀" * 255),
    ],
    ids=["one", "trimmed", "slash", "dots", "255", "trimmed long", "chinese", "255 wide"],
)
def test_a_name_is_trimmed_and_may_hold_any_text(given: str, kept: str) -> None:
    assert arguments.name(given) == kept


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "1 to 255 characters, this one has 0"),
        (" \t\n ", "1 to 255 characters, this one has 0"),
        ("x" * 256, "1 to 255 characters, this one has 256"),
        ("a\0b", "the name has control characters"),
        ("a\x1b[2Jb", "the name has control characters"),
        ("a\x7f", "the name has control characters"),
        ("a\udce4b", "broken UTF-8"),
    ],
    ids=["empty", "blank", "256", "zero", "escape", "delete", "surrogate"],
)
def test_a_bad_name_is_invalid(given: str, why: str) -> None:
    with pytest.raises(errors.Invalid, match=why) as caught:
        arguments.name(given)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("given", [None, "why", "x" * 2048, "two\nlines"], ids=lambda text: str(text)[:9])
def test_a_description_is_kept_as_it_is(given: str | None) -> None:
    assert arguments.description(given) == given


@pytest.mark.parametrize(
    ("given", "why"),
    [("x" * 2049, "at most 2048 characters, this one has 2049"), ("\0", "control"), ("\ud800", "broken UTF-8")],
    ids=["2049", "zero", "surrogate"],
)
def test_a_bad_description_is_invalid(given: str, why: str) -> None:
    with pytest.raises(errors.Invalid, match=why):
        arguments.description(given)


@pytest.mark.parametrize("given", ["admin", "a", "A.b_c-9", "x" * 64, "36c27e8ff05c4780bf6d2fa65700f22e", ".."])
def test_an_account_is_a_plain_word(given: str) -> None:
    assert arguments.account(given) == given


@pytest.mark.parametrize(
    "given",
    ["", "a/b", "../admin", "/etc", "a b", "x" * 65, "a\n", "ä", "a\0", "*", "admin;"],
    ids=["empty", "slash", "up", "absolute", "space", "65", "line", "umlaut", "zero", "star", "semicolon"],
)
def test_any_other_account_is_invalid(given: str) -> None:
    with pytest.raises(errors.Invalid, match="is no account: give 1 to 64 letters"):
        arguments.account(given)


def test_tags_keep_their_order_and_stand_once() -> None:
    assert arguments.tags(("b", "a", "b", "x" * 2048)) == ("b", "a", "x" * 2048)
    assert arguments.tags(()) == ()


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        ("", "1 to 2048 characters, this one has 0"),
        ("x" * 2049, "1 to 2048 characters, this one has 2049"),
        ("a\x00", "the tag has control characters"),
        ("volumeMaxIncrementalSnapshotNum::1", "'1' is no depth limit"),
        ("volumeMaxIncrementalSnapshotNum::", "'' is no depth limit"),
        ("volumeMaxIncrementalSnapshotNum::many", "'many' is no depth limit"),
    ],
    ids=["empty", "2049", "zero", "depth 1", "no depth", "depth in words"],
)
def test_a_bad_tag_is_invalid(tag: str, why: str) -> None:
    with pytest.raises(errors.Invalid, match=why):
        arguments.tags(("fine", tag))


@pytest.mark.parametrize(("given", "depth"), [(2, 2), ("2", 2), (64, 64), ("119", 119), ("0064", 64)])
def test_a_depth_limit_is_a_whole_number_from_2_to_119(given: str | int, depth: int) -> None:
    assert arguments.depth(given) == depth


@pytest.mark.parametrize(
    "given", [0, 1, 120, -2, "", "-5", "+5", "5.0", " 5", "0x10", "٥", "²", "1" * 5000], ids=lambda g: str(g)[:5]
)
def test_any_other_depth_limit_is_invalid(given: str | int) -> None:
    with pytest.raises(errors.Invalid, match="give a whole number from 2 to 119"):
        arguments.depth(given)


@pytest.mark.parametrize(
    ("given", "size"),
    [(1, 512), (511, 512), (512, 512), (513, 1024), (2**50 * 2 - 1, 2**50 * 2), (2**50 * 2, 2**50 * 2)],
)
def test_a_size_is_rounded_up_to_512(given: int, size: int) -> None:
    assert arguments.size(given) == size


@pytest.mark.parametrize("given", [0, -1, -512, 2**50 * 2 + 1, 2**63, 2**64])
def test_a_size_out_of_range_is_invalid(given: int) -> None:
    with pytest.raises(errors.Invalid, match="out of range: give 1 byte to 2 PiB"):
        arguments.size(given)
