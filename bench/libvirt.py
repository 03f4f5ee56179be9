"""A libvirt daemon of our own, with a shut-off domain for each depth of chain."""

import os
import pwd
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Missing

PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
PATIENCE = 20.0  # seconds until the daemon must answer

_DOMAIN = """
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{image}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
"""


class Libvirt:
    """
    A running daemon and how to talk to it.

    It is a session daemon, so that all its files lie below root; such a one refuses to be root's, who therefore runs
    it as nobody.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._domains: dict[int, Domain] = {}
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the daemon; it may take some seconds to answer."""
        for name in ("run", "config", "cache", "images"):
            (self.root / name).mkdir(parents=True)
            os.chown(self.root / name, self._user.pw_uid, self._user.pw_gid)
        homes = {f"XDG_{part}": str(self.root / name) for part, name in _HOMES.items()}
        return subprocess.Popen(
            [_find("libvirtd")],
            env={"PATH": PATH, "HOME": str(self.root), **homes},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user.pw_uid,
            group=self._user.pw_gid,
            extra_groups=[] if os.geteuid() == 0 else None,
        )

    def line(self, *words: str) -> list[str]:
        """Return the command line of a virsh command."""
        return [_find("virsh"), "-q", "-c", f"qemu:///session?socket={self.root}/run/libvirt/libvirt-sock", *words]

    def answers(self) -> bool:
        """Tell whether the daemon can be reached."""
        return subprocess.run(self.line("uri"), capture_output=True).returncode == 0

    def domain(self, depth: int) -> "Domain":
        """Return a shut-off domain whose disk stands on depth images."""
        if depth not in self._domains:
            self._domains[depth] = Domain(self, depth, self._images(depth))
        return self._domains[depth]

    def _images(self, depth: int) -> Path:
        """Return the uppermost of depth + 1 images in a line, which belong to the daemon's user."""
        path = self.root / "images" / f"{depth}-0.qcow2"
        _create(str(path), "1G")
        for count in range(depth):
            below, path = path, path.with_name(f"{depth}-{count + 1}.qcow2")
            _create("-u", "-F", "qcow2", "-b", below.name, str(path), "1G")
        for image in path.parent.iterdir():
            os.chown(image, self._user.pw_uid, self._user.pw_gid)
        return path


class Domain:
    """A shut-off domain with one disk."""

    def __init__(self, libvirt: Libvirt, depth: int, image: Path) -> None:
        self._libvirt = libvirt
        self._name = f"depth-{depth}"
        self._xml = libvirt.root / f"{self._name}.xml"
        self._xml.write_text(_DOMAIN.format(name=self._name, uuid=uuid.uuid4(), image=image))
        self._count = 0

    def create(self) -> None:
        """Take a snapshot of the domain's disk."""
        name = f"bench-{self._count}"
        words = ("snapshot-create-as", self._name, name, "--disk-only")
        subprocess.run(self._libvirt.line(*words), check=True, stdout=subprocess.DEVNULL)

    def reset(self) -> None:
        """Define the domain on its old image again, and forget the snapshot."""
        forget = ("snapshot-delete", self._name, f"bench-{self._count}", "--metadata")
        subprocess.run(self._libvirt.line(*forget), capture_output=True)
        subprocess.run(self._libvirt.line("define", str(self._xml)), check=True, stdout=subprocess.DEVNULL)
        self._count += 1


_HOMES = {"RUNTIME_DIR": "run", "CONFIG_HOME": "config", "CACHE_HOME": "cache"}


@contextmanager
def daemon(root: Path) -> Iterator[Libvirt]:
    """Run a daemon with all its files below root for the block; raises Missing where libvirt or QEMU is not there."""
    for tool in ("virsh", "libvirtd", "qemu-system-x86_64"):
        _find(tool)
    libvirt = Libvirt(root)
    process = libvirt.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while not libvirt.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Missing("libvirtd does not run here")
            time.sleep(0.1)
        yield libvirt
    finally:
        process.terminate()
        process.wait()


def _find(tool: str) -> str:
    path = shutil.which(tool, path=PATH)
    if path is None:
        raise Missing(f"{tool} is not installed")
    return path


def _create(*words: str) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words], check=True)
