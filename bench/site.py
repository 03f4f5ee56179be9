"""What the benchmarks work on: each part is made when it is first asked for, all of it goes at the end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench import disks, inventories, libvirt, serving
from bench.libvirt import Libvirt
from bench.serving import Server
from snapengine import Engine, arguments
from snapengine.units import GIB

SIZE = GIB
LIFTED = 10_000  # the depth limit for as long as the bench runs; the engine's own ends at 119


class Chain(NamedTuple):
    """A volume whose active image stands on so many snapshots; tip is the uppermost, path the active image."""

    volume: str
    tip: str
    path: Path


class Site:
    """A directory for the stores, what the figures depend on, and how often to run a benchmark (None: as it says)."""

    def __init__(self, root: Path, stack: ExitStack, runs: int | None) -> None:
        self.root = root
        self.runs = runs
        self._stack = stack
        self._chains: dict[int, Chain] = {}
        self._disks: dict[str, Path] = {}
        self._servers: dict[Path, Server] = {}
        self.kept: dict[str, list[int]] = {}  # figures that several rows show

    @cached_property
    def engine(self) -> Engine:
        """An engine on a store whose volumes may have chains of any depth."""
        arguments.DEPTH_RANGE = range(2, LIFTED + 1)
        return Engine.init(self.root / "store", depth_limit=LIFTED)

    def chain(self, depth: int) -> Chain:
        """Return a volume with depth snapshots in a line, made by the engine itself."""
        if depth not in self._chains:
            volume = self.engine.create_volume(f"depth-{depth}", SIZE)
            made = [self.engine.create_snapshot(volume.uuid, f"layer-{count}") for count in range(1, depth + 1)]
            self._chains[depth] = Chain(volume.uuid, made[-1].uuid, self.engine.volume_path(volume.uuid))
        return self._chains[depth]

    def disk(self, kind: str) -> Path:
        """Return where a file system of this kind ("ext4", "xfs") is mounted, made when it is first asked for."""
        if kind not in self._disks:
            self._disks[kind] = self._stack.enter_context(disks.mounted(kind, self.root, 24 * GIB))
        return self._disks[kind]

    def engine_on(self, kind: str) -> Engine:
        """Return an engine on a store of its own on a file system of this kind."""
        root = self.disk(kind) / "store"
        return Engine.open(root) if root.exists() else Engine.init(root)

    @cached_property
    def inventories(self) -> Path:
        """The root of a store with 100 volumes of 100 snapshots each: records only, no images."""
        root = self.root / "inventories"
        inventories.make(root)
        return root

    def server(self, root: Path) -> Server:
        """Return a server on the store at root."""
        if root not in self._servers:
            self._servers[root] = self._stack.enter_context(serving.running(root))
        return self._servers[root]

    @cached_property
    def libvirt(self) -> Libvirt:
        """A libvirt daemon of our own; raises Missing where there is none."""
        return self._stack.enter_context(libvirt.daemon(self.root / "libvirt"))


@contextmanager
def opened(runs: int | None) -> Iterator[Site]:
    """Give a site in a temporary directory, which is removed with all that runs in it when the block ends."""
    with TemporaryDirectory(prefix="snapengine-bench-") as directory, ExitStack() as stack:
        root = Path(directory)
        root.chmod(0o755)  # libvirt's daemon runs as another user
        yield Site(root, stack, runs)
