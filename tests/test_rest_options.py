"""The settings of a server: which place wins, and what is told of one that is wrong."""

import pytest

from snapengine import errors
from snapengine.rest import options
from snapengine.rest.options import Options, Source


def in_file(**said: object) -> Source:
    return Source(said, lambda name: f"{name} in serve.toml")


def in_environment(**said: object) -> Source:
    return Source(said, lambda name: f"SNAPENGINE_SERVE_{name.upper()}", is_text=True)


def on_line(**said: object) -> Source:
    return Source(said, lambda name: f"--{name.replace('_', '-')}")


def refusal(*sources: Source) -> str:
    with pytest.raises(errors.Invalid) as caught:
        options.of(*sources)
    return str(caught.value)


def test_the_later_place_wins() -> None:
    found = options.of(in_file(port=1, window=2, grace=3), in_environment(window="4", grace="5"), on_line(grace=6))

    assert found == Options(port=1, window=4.0, grace=6.0)


WRONG = {
    "a text in the file": (in_file(port="80"), "port in serve.toml is '80'; give a whole number from 0 to 65535"),
    "a number as text": (in_file(window="30"), "window in serve.toml is '30'; give seconds, above 0, up to 86400"),
    "a flag as text": (in_file(access_log="yes"), "access_log in serve.toml is 'yes'; give true or false"),
    "a number as address": (in_file(host=5), "host in serve.toml is 5; give a name or address of this machine"),
    "a table": (in_file(host={}), "host in serve.toml is {}; give a name or address of this machine"),
    "too many": (in_environment(workers="65"), "SNAPENGINE_SERVE_WORKERS is '65'; give a whole number from 1 to 64"),
    "none": (in_environment(waiting="0"), "SNAPENGINE_SERVE_WAITING is '0'; give a whole number from 1 to 100000"),
    "nothing": (in_environment(grace=""), "SNAPENGINE_SERVE_GRACE is ''; give seconds, above 0, up to 86400"),
    "yes": (in_environment(insecure="yes"), "SNAPENGINE_SERVE_INSECURE is 'yes'; give true or false"),
    "a port that is none": (on_line(port=99999), "--port is 99999; give a whole number from 0 to 65535"),
    "a hook as a URL": (in_environment(web_hooks="http://ci.example"), "WEB_HOOKS is 'http://ci.example'; give hosts"),
    "a hook with a port": (in_file(web_hooks=["ci.example:80"]), "web_hooks in serve.toml is ['ci.example:80']; give"),
}


@pytest.mark.parametrize("source, told", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_told_by_the_name_that_it_has_where_it_stands(source: Source, told: str) -> None:
    assert told in refusal(in_file(port=8080), source, on_line(host="127.0.0.1"))


def test_who_mistypes_a_setting_is_told_where_and_those_that_there_are() -> None:
    told = refusal(in_file(), in_environment(prot="8081", gracee="3"), on_line())

    assert told.startswith("SNAPENGINE_SERVE_PROT, SNAPENGINE_SERVE_GRACEE: the server has no such setting")
    assert "; known are host, port, socket," in told


def test_one_place_names_one_place_to_listen_at_and_the_later_one_counts() -> None:
    for both in ({"host": "::1"}, {"port": 80}, {"host": "::1", "port": 80}):
        assert "--socket and " in refusal(on_line(socket="/s", **both))
    assert "socket in serve.toml and port in serve.toml" in refusal(in_file(socket="/s", port=80), on_line(port=81))

    assert options.of(in_environment(socket="/s"), on_line(port=81)) == Options(port=81)
    assert options.of(in_file(port=81), on_line(socket="/s")).socket == "/s"


def test_hosts_of_hooks_are_names_or_addresses_in_any_spelling() -> None:
    found = options.of(in_environment(web_hooks=" localhost, CI.example.,10.0.0.1,2001:DB8::1 ,"))

    assert found.web_hooks == ("localhost", "ci.example", "10.0.0.1", "2001:db8::1")
