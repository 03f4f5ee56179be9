"""
Every error that the engine raises.

    Error
    ├── Invalid          an argument is wrong                          exit 2   SYS.1007
    │   └── Ambiguous    a name has several matches
    ├── NotFound         no such object                                exit 3   SYS.1003
    ├── Conflict         not in this state                             exit 4   SYS.1006
    │   ├── Protected    linked clones stand on what should go
    │   └── WrongStatus  a snapshot is not Ready, or not Enabled               VOLUME_SNAPSHOT.1000
    ├── Busy             locked, or open in a VM                       exit 5   SYS.1006
    │   ├── Locked       another operation of the engine holds it
    │   │   └── Copying  it makes a full snapshot                              VOLUME_SNAPSHOT.1001
    │   └── InUse        another process has the image open                     VOLUME.1000
    ├── Corrupt          records and images disagree, a bad image      exit 6   SYS.1000
    │   └── Refused      an image that no tool may be allowed to open
    ├── NoSpace          disk, quota or limit                          exit 7   PS.1000
    │   └── OverQuota    an account would have too many snapshots               ID.1003
    ├── Denied           the operating system says no                  exit 8   SYS.1000
    │   └── Unprinted    the command was done, its answer not printed
    └── CommandFailed    a tool failed                                 exit 8   SYS.1000

A kind carries its exit code and its code of the contract (section 2); they are mapped nowhere else. Facts are
attributes, the text is a template over them.
"""

from typing import ClassVar


class Error(Exception):
    """Root of all; facts become attributes, msg is formatted over them when the text is wanted."""

    msg: ClassVar[str] = "internal error"
    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "SYS.1000"
    description: ClassVar[str] = "An internal error happened in the system"

    def __init__(self, **facts: object) -> None:
        super().__init__()
        self.__dict__.update(facts)

    def __str__(self) -> str:
        return self.msg.format(self=self)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(kind: type[Error], facts: dict[str, object]) -> Error:
    """Make the error again on the other side of a pickle: errors cross process borders."""
    return kind(**facts)


class Invalid(Error):
    """An argument is wrong; nothing was looked at or changed."""

    msg = "{self.what}"
    exit_code = 2
    code = "SYS.1007"
    description = "One or more API argument is invalid"


class Ambiguous(Invalid):
    """A name, or the start of a uuid, matches several objects."""

    msg = "{self.kind} {self.name!r} is ambiguous; it could be {self.matches}; give a uuid"


class NotFound(Error):
    """No such object."""

    msg = "{self.kind} {self.name!r} was not found; {self.hint}"
    exit_code = 3
    code = "SYS.1003"
    description = "The resource was not found"


_LISTS = {"deleted volume": "volume list --deleted", "trash item": "trash list"}  # the others' are called as they are


def unknown(kind: str, name: str, more: str = "") -> NotFound:
    """Return that no object of this kind, which has a list to look into, is called name; more is a further hint."""
    shows = f"'snapengine {_LISTS.get(kind, f'{kind} list')}' shows those that are"
    return NotFound(kind=kind, name=name, hint=shows + more)


class NoStorage(NotFound):
    """The root holds no primary storage."""

    msg = "no primary storage at {self.root}; create one with 'snapengine init'"


class Conflict(Error):
    """The object is not in a state that allows the verb."""

    msg = "{self.what}"
    exit_code = 4
    code = "SYS.1006"
    description = "The operation is not allowed in the current state"


class Protected(Conflict):
    """Linked clones stand on what should go, or on what would go with it; why says so."""

    why: str
    msg = "{self.what} stays: {self.why}"


class WrongStatus(Conflict):
    """A snapshot is not Ready, or not Enabled; done says what it therefore can't be."""

    msg = (
        "snapshot {self.uuid} ({self.name}) is {self.state}, {self.status}; "
        "only an Enabled, Ready one can be {self.done}"
    )
    code = "VOLUME_SNAPSHOT.1000"
    description = "The snapshot is in the wrong status"


class Busy(Error):
    """Somebody else is working on the object; trying again later may succeed."""

    msg = "{self.what}"
    exit_code = 5
    code = "SYS.1006"
    description = "The resource is busy"


class Locked(Busy):
    """Another operation of the engine holds the lock."""

    msg = "{self.what} is locked by {self.holder}; waited {self.seconds:g} s, try again or give a longer --wait"


class Copying(Locked):
    """The other operation makes a full snapshot, which takes as long as a copy of all that the volume holds."""

    code = "VOLUME_SNAPSHOT.1001"
    description = "The volume is busy with a full snapshot"


class InUse(Busy):
    """Another process, usually a running VM, has the image open."""

    name = ""
    msg = "volume {self.volume}{self.name} is in use: {self.path} is open in {self.holder}; shut the VM down first"
    code = "VOLUME.1000"
    description = "The volume is in use"


class Corrupt(Error):
    """Records and images disagree, or one of them is damaged."""

    what: str
    hint = "run 'snapengine verify'"
    msg = "{self.what}; {self.hint}"
    exit_code = 6
    description = "Records and images disagree"


class Refused(Corrupt):
    """An image is damaged or hostile: no tool was allowed to open it. check names the row of the inspector's table."""

    path: object
    why: str
    check: str
    msg = "refused image {self.path}: {self.why}"
    description = "The image is damaged or hostile"


class NoSpace(Error):
    """Disk, quota or limit."""

    msg = "{self.what}"
    exit_code = 7
    code = "PS.1000"
    description = "Not enough room"


class OverQuota(NoSpace):
    """An account would have more snapshots than it may."""

    msg = (
        "the snapshot quota of account {self.account} is {self.quota}; with {self.used} there, "
        "{self.wanted} more would be too many; "
        "delete some, or raise it with 'snapengine account quota {self.account} N'"
    )
    code = "ID.1003"
    description = "The quota was exceeded"


class Denied(Error):
    """The operating system refuses access; the message says which command mends it."""

    what: str
    msg = "{self.what}"
    exit_code = 8
    description = "Permission denied by the operating system"


class Unprinted(Denied):
    """The command was done, and its answer could not be printed."""

    msg = "the command was done, but its answer can't be written to the standard output: {self.why}; don't run it again"
    description = "The answer could not be written"


class CommandFailed(Error):
    """A tool failed; command, exit status and its whole stderr are attributes."""

    command: str
    status: int
    stderr: str
    msg = "{self.command} failed with exit code {self.status}: {self.stderr}"
    exit_code = 8
    description = "A tool failed"
