"""How the server runs: its settings, as the command line, the environment and one file say them. Pure."""

from typing import Annotated

import msgspec

from snapengine import errors

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    All settings; docs/rest.md says what each is for.

    window is how long a call may take before it becomes a job, grace how long a stop waits for what runs. workers are
    the operations that run side by side, waiting those that may stand in line. web_hooks are the hosts that results may
    be sent to.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    socket: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure: bool = False
    window: Seconds = 30.0
    grace: Seconds = 20.0
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    waiting: Count = 1000
    session_seconds: Annotated[int, msgspec.Meta(ge=1, le=10**7)] = 7200
    idle_seconds: Seconds = 30.0
    connections: Count = 10_000
    access_log: bool = True
    web_hooks: tuple[str, ...] = ()


def of(*said: dict[str, object]) -> Options:
    """Return the settings that these sources say, a later one winning; Invalid for an unknown or a bad one."""
    merged = {name: value for source in said for name, value in source.items() if value is not None}
    if isinstance(hosts := merged.get("web_hooks"), str):  # as the environment says it
        merged["web_hooks"] = [host.strip() for host in hosts.split(",") if host.strip()]
    known = Options.__struct_fields__
    if unknown := [name for name in merged if name not in known]:
        raise errors.Invalid(what=f"the server has no setting {', '.join(unknown)}; known are {', '.join(known)}")
    try:
        found = msgspec.convert(merged, Options, strict=False)
    except msgspec.ValidationError as e:
        raise errors.Invalid(what=f"a setting of the server is wrong: {e}") from e
    if (found.tls_cert is None) != (found.tls_key is None):
        raise errors.Invalid(what="TLS needs a certificate and its key: give both --tls-cert and --tls-key")
    return found
