"""How the server runs: its settings, as one file, the environment and the command line say them. Pure."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from snapengine import errors

Seconds = Annotated[float, Meta(gt=0, le=86400, description="seconds, above 0, up to 86400")]
Count = Annotated[int, Meta(ge=1, le=100_000, description="a whole number from 1 to 100000")]
Flag = Annotated[bool, Meta(description="true or false")]
_HOST = r"^([^\s/@:\[\]]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)$"  # a name, an address, or one of IPv6


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    All settings; docs/rest.md says what each is for, a description what may be given.

    window is how long a call may take before it becomes a job, grace how long a stop waits for what runs. workers are
    the operations that run side by side, waiting those that may stand in line. web_hooks are the hosts that results may
    be sent to, in lower case.
    """

    host: Annotated[str, Meta(description="a name or address of this machine")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535")] = 8080
    socket: Annotated[str | None, Meta(description="the path of a socket")] = None
    tls_cert: Annotated[str | None, Meta(description="the path of a certificate")] = None
    tls_key: Annotated[str | None, Meta(description="the path of a key")] = None
    insecure: Flag = False
    window: Seconds = 30.0
    grace: Seconds = 20.0
    workers: Annotated[int, Meta(ge=1, le=64, description="a whole number from 1 to 64")] = 4
    waiting: Count = 1000
    session_seconds: Annotated[int, Meta(ge=1, le=10**7, description="a whole number from 1 to 10000000")] = 7200
    idle_seconds: Seconds = 30.0
    connections: Count = 10_000
    access_log: Flag = True
    web_hooks: Annotated[
        tuple[Annotated[str, Meta(pattern=_HOST)], ...], Meta(description="hosts, without scheme, port and path")
    ] = ()


_MEANT: Mapping[str, Any] = msgspec.json.schema(Options)["$defs"]["Options"]["properties"]


class Source(NamedTuple):
    """What one place says; called tells how a setting is written there, is_text that all its values are texts."""

    said: Mapping[str, object]
    called: Callable[[str], str]
    is_text: bool = False


def of(*sources: Source) -> Options:
    """
    Return the settings that these say, a later one winning; a later address wins over a socket too.

    Raises Invalid for an unknown or a bad one, named as it is written where it stands, and for one place that names
    both a socket and an address.
    """
    merged: dict[str, object] = {}
    for source in sources:
        said = {name: _value(source, name) for name, value in source.said.items() if value is not None}
        if address := [source.called(name) for name in ("host", "port") if name in said]:
            merged.pop("socket", None)
            if "socket" in said:
                both = f"{source.called('socket')} and {' and '.join(address)}"
                raise errors.Invalid(what=f"{both} name two places to listen at; give a socket or an address")
        merged |= said
    found = msgspec.convert(merged, Options)
    if (found.tls_cert is None) != (found.tls_key is None):
        raise errors.Invalid(what="TLS needs a certificate and its key: give both --tls-cert and --tls-key")
    return found


def _value(source: Source, name: str) -> object:
    """Return what a source says of a setting, as the setting's type."""
    if name not in Options.__struct_fields__:
        unknown = [source.called(each) for each in source.said if each not in Options.__struct_fields__]
        known = ", ".join(Options.__struct_fields__)
        raise errors.Invalid(what=f"{', '.join(unknown)}: the server has no such setting; known are {known}")
    said = source.said[name]
    try:
        one = {name: _hosts(said) if name == "web_hooks" else said}
        return getattr(msgspec.convert(one, Options, strict=not source.is_text), name)
    except msgspec.ValidationError as e:
        raise errors.Invalid(what=f"{source.called(name)} is {said!r}; give {_MEANT[name]['description']}") from e


def _hosts(said: object) -> object:
    """Return hosts as they are compared; in a text they stand with commas."""
    every = said.split(",") if isinstance(said, str) else said
    if not isinstance(every, list):
        return every
    hosts = [host.strip().lower().removesuffix(".") if isinstance(host, str) else host for host in every]
    return [host for host in hosts if host != ""]
