"""Sizes and times: what is understood, what is refused, and how they are shown."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapengine import units
from snapengine.units import GIB, KIB, MIB, TIB

LAST = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("512", 512),
        ("1B", 1),
        ("1K", KIB),
        ("512M", 512 * MIB),
        ("10G", 10 * GIB),
        ("1T", TIB),
        ("2P", 2 * 2**50),
        ("10g", 10 * GIB),
        ("10GB", 10 * GIB),
        ("10GiB", 10 * GIB),
        ("10 GiB", 10 * GIB),
        (" 10G ", 10 * GIB),
        ("1.5G", GIB + 512 * MIB),
        ("0.5K", 512),
        ("1.0", 1),
        ("007", 7),
        ("9" * 30, int("9" * 30)),
    ],
)
def test_a_size_is_bytes_or_a_power_of_1024(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1", "-1G", "+1", "1.5", "0.3K", ".5G", "1.", "1e9", "0x10", "1,5G", "1 2", "G", "10X", "10GG", "10 G B",
     "10BB", "10BiB", "10iB", "1_000", "١٠", "１０G", "10G\0", "ten", "NaN", "inf", "9" * 5000],
)  # fmt: skip
def test_nonsense_is_no_size(text: str) -> None:
    with pytest.raises(ValueError):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (MIB - 1, "1 MiB"),
        (MIB, "1 MiB"),
        (1288490189, "1.2 GiB"),
        (GIB - 1, "1 GiB"),
        (2 * TIB, "2 TiB"),
        (2 * 2**50, "2 PiB"),
        (2**61, "2048 PiB"),
    ],
)
def test_a_size_is_shown_with_the_largest_unit_that_fits(size: int, text: str) -> None:
    assert units.format_size(size) == text


@given(st.integers(0, 1023), st.sampled_from("KMGTP"))
def test_a_size_in_whole_units_comes_back_as_it_was_given(number: int, unit: str) -> None:
    shown = units.format_size(units.parse_size(f"{number}{unit}"))
    assert shown == (f"{number} {unit}iB" if number else "0 B")
    assert units.parse_size(shown) == units.parse_size(f"{number}{unit}")


@pytest.mark.parametrize(
    ("size", "step", "up"),
    [(0, 512, 0), (1, 512, 512), (511, 512, 512), (512, 512, 512), (513, 512, 1024), (9, 8, 16), (2**61 - 1, 8, 2**61)],
)
def test_rounding_goes_up_and_leaves_multiples_alone(size: int, step: int, up: int) -> None:
    assert units.round_up(size, step) == up


DATES = [
    ("Jun 7, 2017 9:20:17 PM", datetime(2017, 6, 7, 21, 20, 17, tzinfo=UTC)),  # the contract's own
    ("Jan 1, 1970 12:00:00 AM", datetime(1970, 1, 1, tzinfo=UTC)),
    ("Jan 31, 2024 12:00:00 AM", datetime(2024, 1, 31, tzinfo=UTC)),
    ("Feb 29, 2024 12:00:00 PM", datetime(2024, 2, 29, 12, tzinfo=UTC)),
    ("Dec 31, 2024 11:59:59 PM", datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ("Nov 10, 2024 12:59:59 AM", datetime(2024, 11, 10, 0, 59, 59, tzinfo=UTC)),
    ("Nov 10, 2024 12:00:01 PM", datetime(2024, 11, 10, 12, 0, 1, tzinfo=UTC)),
    ("Mar 31, 2024 1:30:00 AM", datetime(2024, 3, 31, 1, 30, tzinfo=UTC)),  # no such time in much of Europe
]


@pytest.mark.parametrize(("text", "moment"), DATES, ids=[text for text, _ in DATES])
def test_a_date_has_the_contracts_form_both_ways(text: str, moment: datetime) -> None:
    assert units.format_date(moment.timestamp()) == text
    assert units.parse_date(text) == moment.timestamp()


@given(st.integers(0, LAST))
def test_every_date_comes_back_as_it_was(instant: int) -> None:
    assert units.parse_date(units.format_date(instant)) == instant


@pytest.mark.parametrize(
    "text",
    ["", "Jun 7, 2017", "Jun 7, 2017, 9:20:17 PM", "Jun 7 2017 9:20:17 PM", "Jun 07, 2017 9:20:17 PM",
     "Jun 7, 2017 09:20:17 PM", "Jun 7, 2017 0:20:17 AM", "Jun 7, 2017 13:20:17 PM", "Jun 7, 2017 9:60:17 PM",
     "Jun 7, 2017 9:20:60 PM", "Jun 7, 2017 9:20:17 pm", "Jun 7, 2017 9:20:17", "Jun 0, 2017 9:20:17 PM",
     "jun 7, 2017 9:20:17 PM", "Juni 7, 2017 9:20:17 PM",
     "Okt 7, 2017 9:20:17 PM", "Jun 7, 0000 9:20:17 PM", " Jun 7, 2017 9:20:17 PM", "Jun 7, 2017 9:20:17 PM\n",
     "Jun ٧, 2017 9:20:17 PM", "2017-06-07 21:20:17"],
)  # fmt: skip
def test_no_other_form_is_a_date(text: str) -> None:
    with pytest.raises(ValueError):
        units.parse_date(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Feb 29, 2023 9:20:17 PM", "Mar 1, 2023 9:20:17 PM"),
        ("Dec 32, 2017 12:00:00 AM", "Jan 1, 2018 12:00:00 AM"),
    ],
)
def test_a_day_that_its_month_does_not_have_counts_on(text: str, same: str) -> None:
    assert units.parse_date(text) == units.parse_date(same)


def test_the_months_are_english_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """No locale but C is on every machine: what asks the locale is taken away instead."""
    for name in ("strftime", "strptime", "asctime", "ctime"):
        monkeypatch.delattr(time, name)
    assert [units.format_date(31 * day * 86400)[:3] for day in range(12)] == [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]  # fmt: skip
    assert units.parse_date("Oct 7, 2017 9:20:17 PM") == 1507411217


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Live in the time zone that the test names."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "2017-06-07 21:20:17"),
        ("CST-8", "2017-06-08 05:20:17"),
        ("EST5EDT,M3.2.0,M11.1.0", "2017-06-07 17:20:17"),
    ],
    ids=["UTC", "Shanghai", "New York"],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_people_see_local_time_and_records_stay_in_utc(shown: str) -> None:
    assert units.local_time("Jun 7, 2017 9:20:17 PM") == shown
    assert units.format_date(1496870417) == "Jun 7, 2017 9:20:17 PM"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("0", 0), ("90s", 90), ("15m", 900), ("12h", 43200), ("7d", 604800), ("2w", 1209600), (" 5m ", 300)],
)
def test_a_span_is_seconds_or_a_number_with_a_unit(text: str, seconds: int) -> None:
    assert units.parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1.5h", "1y", "1 h", "1hh", "h", "1H", "١s", "1h30m", "tomorrow"])
def test_nonsense_is_no_span(text: str) -> None:
    with pytest.raises(ValueError):
        units.parse_span(text)
