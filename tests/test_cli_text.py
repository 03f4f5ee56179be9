"""How values, columns and trees are written for people; pure."""

import time

import pytest

from snapengine.cli import forest, text
from snapengine.cli.forest import Row


@pytest.mark.parametrize(
    "given, shown",
    [
        ("plain", "plain"),
        ("größe ☃", "größe ☃"),
        ("two\nlines\ttab", "two\\nlines\\ttab"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("right\u202eleft", "right\\u202eleft"),
        ("half \udcff", "half \\udcff"),
        ("", ""),
    ],
)
def test_text_is_one_line_that_does_nothing_to_a_terminal(given: str, shown: str) -> None:
    assert text.plain(given) == shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    "name, content, shown",
    [
        ("size", 1288490189, "1.2 GiB"),
        ("distance", 1288490189, "1288490189"),
        ("latest", True, "yes"),
        ("latest", False, "no"),
        ("vm_instance_uuid", None, "-"),
        ("unfinished", (1, 2), "2"),
        ("create_date", "yesterday", "yesterday"),
        ("name", "a\nb", "a\\nb"),
    ],
)
def test_values(name: str, content: object, shown: str) -> None:
    assert text.value(name, content) == shown


def test_dates_are_local_and_iso(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert text.value("create_date", "Jun 7, 2017 9:20:17 PM") == "2017-06-08 06:20:17"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_columns_are_aligned_and_end_without_blanks() -> None:
    assert (
        text.columns([("A", "LONG", "C"), ("long", "b", ""), ("", "", "c")])
        == "A     LONG  C\nlong  b     \n            c"
    )


def test_a_tree_s_stems_show_which_run_begins_where() -> None:
    rows = [
        Row(1, True, ("a",)),
        Row(1, False, ("b",)),
        Row(2, True, ("c",)),
        Row(2, False, ("d",)),
        Row(3, True, ("e",)),
        Row(3, True, ("f",)),
        Row(2, True, ("g",)),
        Row(2, False, ("h",)),
    ]

    assert forest.plain(rows) == [
        "`-- a",
        "    b",
        "    |-- c",
        "    |   d",
        "    |   |-- e",
        "    |   `-- f",
        "    `-- g",
        "        h",
    ]


def test_what_a_shrink_gave_back_is_told_in_units() -> None:
    assert (text.value("old_size", 2**20), text.value("delta_size", 2**19)) == ("1 MiB", "512 KiB")


def test_the_kind_of_a_snapshot_and_that_of_its_volume_have_labels_of_their_own() -> None:
    assert (text.label("type"), text.label("volume_type")) == ("type", "volume type")
