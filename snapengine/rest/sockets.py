"""The sockets that a server listens at: its own, of an address or a path, or those that systemd has opened for it."""

import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path

from snapengine import durable, errors
from snapengine.rest.options import Options

BACKLOG = 1024
FIRST = 3  # the first descriptor that systemd passes (sd_listen_fds(3))


def opened(options: Options, passed: int = 0) -> list[socket.socket]:
    """
    Return the listening sockets: those that systemd passed, if any, else the one that the options name.

    Raises Invalid where an address other than loopback would be served without TLS and nobody said insecure, or it is
    no address of this machine; Conflict where somebody listens there already.
    """
    if passed:
        found = [socket.socket(fileno=FIRST + number) for number in range(passed)]
    elif options.socket is not None:
        found = [_at_path(Path(options.socket))]
    else:
        found = [_at_address(options.host, options.port)]
    for each in found:
        if not is_safe(each, options):
            called = name(each)
            each.close()
            what = f"{called} can be reached from other machines, and passwords would go there in the clear"
            raise errors.Invalid(what=f"{what}; give --tls-cert and --tls-key, or --insecure if that is meant")
        each.setblocking(False)
    return found


def is_safe(listening: socket.socket, options: Options) -> bool:
    """Tell whether nobody can listen in on what a socket serves, or that was allowed."""
    if options.insecure or options.tls_cert or listening.family == socket.AF_UNIX:
        return True
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def name(listening: socket.socket) -> str:
    """Return what people call the address of a socket."""
    if listening.family == socket.AF_UNIX:
        return f"unix:{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _at_address(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
    except (OSError, UnicodeError) as e:
        raise errors.Invalid(what=f"{host!r} is no address: {e}; give --host with one of this machine") from e
    opened = socket.socket(family, kind)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as e:
        opened.close()
        raise _refused(f"{host}:{port}", e) from e
    return opened


def _at_path(path: Path) -> socket.socket:
    """Return a socket at path, mode 0660, in the place of one that nobody listens at any more."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                probe.connect(str(path))
                raise errors.Conflict(what=f"somebody listens at {path} already; stop that, or give another path")
            raise errors.Conflict(what=f"{path} is there, and is no socket; give another path")
        except ConnectionRefusedError:
            durable.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as e:
            raise _refused(str(path), e) from e
    found = socket.socket(socket.AF_UNIX)
    before = os.umask(0o117)
    try:
        found.bind(str(path))
        found.listen(BACKLOG)
    except OSError as e:
        found.close()
        raise _refused(str(path), e) from e
    finally:
        os.umask(before)
    return found


def _refused(where: str, e: OSError) -> errors.Error:
    if e.errno == errno.EADDRINUSE:
        return errors.Conflict(what=f"somebody listens at {where} already; stop that, or give another --port")
    if e.errno in (errno.EACCES, errno.EPERM):
        return errors.Denied(what=f"permission denied: {where}; give a port above 1023, or another path")
    return errors.Invalid(what=f"can't listen at {where}: {e.strerror or e}; give another address")


def remove(options: Options, passed: int) -> None:
    """Remove the path of the server's own socket, which is closed by then."""
    if options.socket is not None and not passed:
        durable.unlink(Path(options.socket))
