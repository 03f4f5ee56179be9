"""A real QEMU with a disk, paused before its first instruction, and its monitor."""

import fcntl
import json
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 60  # seconds


class Machine:
    """A running QEMU; command talks to its monitor (QMP)."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.pid = process.pid
        self._process = process
        self._answer()
        self.command("qmp_capabilities")

    def command(self, name: str, **arguments: object) -> object:
        """Run a command of QMP and return what it returns; an AssertionError where that is an error."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        while "event" in answer:
            answer = self._answer()
        assert "return" in answer, answer
        return answer["return"]

    def poke(self, pattern: int, offset: int, length: int) -> None:
        """Write to the disk as its guest would."""
        write = f'qemu-io disk "write -q -P {pattern} {offset} {length}"'
        self.command("human-monitor-command", **{"command-line": write})

    def _answer(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"QEMU ended: {self._process.stderr and self._process.stderr.read()}"
        answer: dict[str, object] = json.loads(line)
        return answer


@contextmanager
def running(image: Path, name: str = "db") -> Iterator[Machine]:
    """Have a virtual machine called name, with the qcow2 image as its disk, for the block."""
    process = subprocess.Popen(_command(image, name), stdin=-1, stdout=-1, stderr=-1, text=True)
    with process:
        try:
            yield Machine(process)
        finally:
            process.kill()


@contextmanager
def locked(image: Path) -> Iterator[None]:
    """Have an image locked as a QEMU locks it that uses it, for the block."""
    with open(image, "rb+") as f:
        fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0))
        yield


def start(image: Path) -> "subprocess.CompletedProcess[str]":
    """Start a virtual machine that is meant to fail, and return how it ended; it is given the monitor's `quit`."""
    quit_at_once = '{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n'
    return subprocess.run(_command(image, "late"), input=quit_at_once, capture_output=True, text=True, timeout=PATIENCE)


def _command(image: Path, name: str) -> list[str]:
    return [
        *("qemu-system-x86_64", "-name", f"guest={name},debug-threads=on", "-accel", "tcg", "-m", "16", "-S"),
        *("-nodefaults", "-display", "none", "-qmp", "stdio"),
        *("-drive", f"file={image},format=qcow2,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk"),
    ]
