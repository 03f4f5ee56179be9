"""Tools: how they are started and limited, how they end, and that none outlives who started it."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

from snapengine import command, errors, limits, printed
from snapengine.limits import Limits
from snapengine.units import GIB, MIB

PATIENCE = 60.0  # seconds that a process may take to come or go


def shell(script: str, *, answers: tuple[int, ...] = (0,), timeout: float = 60) -> command.Result:
    return command.run("sh", "-c", script, answers=answers, timeout=timeout)


def until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be asked for its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def written_pid(path: Path) -> int:
    """Return the pid that a tool writes to path as soon as it has."""
    until(lambda: path.exists() and path.read_text().endswith("\n"), "the tool did not start")
    return int(path.read_text())


def own_children() -> set[str]:
    """Return the pids of this process's children, also of those whose end nobody has asked for."""
    found = set[str]()
    for thread in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found |= {*Path(f"/proc/self/task/{thread}/children").read_text().split()}
    return found


def sleeper(path: Path) -> tuple[str, str, str]:
    """Return a command that writes its pid to path and sleeps."""
    return "sh", "-c", f"echo $$ > {path}; exec sleep 100"


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let a test change where tools are looked for."""
    command._find.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    command._find.cache_clear()


def test_a_tools_output_and_errors_are_told_apart() -> None:
    assert shell("echo out; echo err >&2") == (0, "out\n", "err")


def test_arguments_reach_the_tool_as_they_are() -> None:
    given = ("a b", "$HOME", "*", "'", '"', "\n", "", "ä", "--", "-x")
    printed = command.run("printf", "<%s>", *given).stdout
    assert printed == "".join(f"<{argument}>" for argument in given)


@pytest.mark.parametrize("status", [1, 2, 3, 63, 255])
def test_an_exit_code_that_is_an_answer_is_returned(status: int) -> None:
    assert shell(f"echo said; exit {status}", answers=(0, status)) == (status, "said\n", "")


def test_any_other_exit_code_is_an_error_with_the_command_line_and_what_was_said() -> None:
    with pytest.raises(errors.CommandFailed) as caught:
        shell("echo 'qemu-img: no' >&2; exit 3", answers=(0, 2))
    assert (caught.value.status, caught.value.stderr) == (3, "qemu-img: no")
    assert str(caught.value) == (
        """sh -c 'echo '"'"'qemu-img: no'"'"' >&2; exit 3' failed with exit code 3: qemu-img: no"""
    )


def test_an_answer_other_than_zero_makes_zero_an_error_only_when_it_is_not_listed() -> None:
    assert shell("exit 0", answers=(0, 1)).status == 0
    with pytest.raises(errors.CommandFailed):
        shell("exit 0", answers=(1,))


@pytest.mark.parametrize("length", [751, 70_000, 300_000])
def test_the_whole_of_what_a_tool_said_is_in_the_error(length: int) -> None:
    with pytest.raises(errors.CommandFailed) as caught:
        shell(f"head -c {length} /dev/zero | tr '\\0' x >&2; echo end >&2; exit 1")
    assert caught.value.stderr == "x" * length + "end"


def test_a_tool_that_says_it_on_stdout_is_heard_too() -> None:
    with pytest.raises(errors.CommandFailed, match="exit code 1: on the wrong side"):
        shell("echo on the wrong side; exit 1")


def test_a_tool_that_fails_in_silence_is_said_to() -> None:
    with pytest.raises(errors.CommandFailed, match="exit code 1: it said nothing"):
        shell("exit 1")


def test_a_long_answer_comes_whole_and_soon() -> None:
    began = time.process_time()  # a busy machine takes longer, but works no more
    assert len(shell("head -c 4M /dev/zero | tr '\\0' x").stdout) == 4 * MIB
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "said",
    [
        "qemu-img: x.qcow2: error while writing: No space left on device",
        "write: Disk quota exceeded",
        "qemu-img: Could not change the backing file to x.qcow2: No space left in the file header",
    ],
    ids=["disk", "quota", "header"],
)
def test_a_tool_that_finds_no_room_is_an_error_of_its_own(said: str) -> None:
    with pytest.raises(errors.NoSpace, match=f"no room: {said}; free some space and try again"):
        shell(f"echo 'first line' >&2; echo '{said}' >&2; exit 1")


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert shell(r"printf 'a\377b'").stdout == "a\ufffdb"
    with pytest.raises(errors.CommandFailed, match="a\ufffdb"):
        shell(r"printf 'a\377b' >&2; exit 1")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGXCPU, signal.SIGUSR1])
def test_a_tool_that_a_signal_ended_has_the_negative_number_as_its_exit_code(number: signal.Signals) -> None:
    with pytest.raises(errors.CommandFailed, match=rf"failed with exit code -{number.value}") as caught:
        shell(f"kill -{number.value} $$")
    assert caught.value.status == -number.value


def test_a_tool_that_takes_too_long_is_killed_and_the_error_says_so() -> None:
    began, before = time.monotonic(), own_children()
    with pytest.raises(errors.CommandFailed, match=r"failed with exit code -1: no answer within 0.2 s, killed"):
        command.run("sleep", "100", timeout=0.2)
    assert time.monotonic() - began < 60
    assert own_children() <= before


def test_a_quick_tool_does_not_wait_for_its_clock() -> None:
    began = time.monotonic()
    shell("exit 0", timeout=100)
    assert time.monotonic() - began < 60


def test_a_tool_without_a_time_limit_may_end_by_itself() -> None:
    assert command.run("sh", "-c", "sleep 0.05; echo done", timeout=None).stdout == "done\n"


def test_a_tool_that_reads_its_input_finds_none() -> None:
    assert command.run("cat").stdout == ""


def test_a_tool_that_is_not_there_says_which_package_has_it(tools: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tools.setattr(command, "PATH", str(tmp_path))
    with pytest.raises(errors.CommandFailed, match="qemu-img .* not installed; on Debian: apt-get install qemu-utils"):
        command.run("qemu-img", "--version")
    with pytest.raises(errors.CommandFailed) as caught:
        command.run("no-such-tool")
    assert str(caught.value) == "no-such-tool failed with exit code 127: it is not installed"


def test_a_tool_is_looked_for_in_system_directories_only(tools: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sh").write_text("#!/bin/sh\necho evil\n")
    (tmp_path / "sh").chmod(0o755)
    tools.setenv("PATH", str(tmp_path))
    tools.chdir(tmp_path)
    assert shell("echo good").stdout == "good\n"


def test_a_tool_runs_in_the_c_locale_with_nothing_of_ours_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_MESSAGES", "LANGUAGE", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "SECRET"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    variables = dict(line.split("=", 1) for line in command.run("env").stdout.splitlines())

    assert variables["LC_ALL"] == "C" and variables["PATH"] == command.PATH
    assert set(variables) == {"LC_ALL", "PATH", "HOME", "MALLOC_ARENA_MAX"}


@pytest.mark.parametrize("memory", [64 * MIB, GIB])
def test_a_tool_has_just_the_memory_it_may_have_and_leaves_no_core(memory: int) -> None:
    limits = command.run("sh", "-c", "ulimit -v; ulimit -c", bounds=Limits(memory)).stdout
    assert limits.split() == [str(memory // 1024), "0"]


def test_a_tool_that_wants_more_memory_does_not_get_it() -> None:
    read = ("if=/dev/zero", "of=/dev/null", "bs=256M", "count=1")
    assert command.run("dd", *read, bounds=Limits(GIB)).status == 0
    with pytest.raises(errors.CommandFailed, match="memory exhausted"):
        command.run("dd", *read, bounds=Limits(128 * MIB))


def test_a_tool_inherits_the_descriptors_that_are_meant_for_it_and_no_other(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as lock, open(tmp_path / "other", "w"):
        os.set_inheritable(lock.fileno(), True)
        seen = shell("for fd in /proc/$$/fd/*; do readlink -f $fd; done; true").stdout
    assert str(tmp_path / "lock") in seen and str(tmp_path / "other") not in seen


def test_the_command_line_is_logged_once_before_the_tool_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "snapengine")
    with pytest.raises(errors.CommandFailed):
        command.run("sh", "-c", "exit 1")
    assert [record.message for record in caplog.records if record.name.startswith("snapengine")] == [
        "run sh -c 'exit 1'"
    ]


def test_progress_is_told_as_rising_fractions() -> None:
    told: list[float] = []
    script = r"for n in 0.00 12.50 75.00 100.00 100.01; do printf '    (%s/100%%)\r' $n; done; echo"
    command.run("sh", "-c", script, progress=told.append)
    assert told == [0.0, 0.125, 0.75, 1.0, 1.0]


def test_the_progress_of_a_real_copy_rises_to_the_whole(tmp_path: Path) -> None:
    raw, told = tmp_path / "raw", list[float]()
    raw.write_bytes(os.urandom(8 * MIB))
    copy = ("convert", "-p", "-f", "raw", "-O", "qcow2", str(raw), str(tmp_path / "copy"))
    command.run("qemu-img", *copy, progress=told.append)
    assert told == sorted(told) and told[-1] == 1.0 and len(told) > 2


@pytest.mark.parametrize("delay", [0, 0.001, 0.002, 0.003, 0.005, 0.05])
def test_ctrl_c_kills_the_tool_whenever_it_comes_and_is_passed_on(tmp_path: Path, delay: float) -> None:
    """In a process of its own: another thread, which some test may have left behind here, would hear it too."""
    pid = tmp_path / "pid"
    command._module()
    runner = os.fork()
    if runner == 0:
        _run_until_interrupted(pid)
    tool = written_pid(pid)
    time.sleep(delay)
    os.kill(runner, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(runner, 0)[1]) == 130
    assert not is_alive(tool)


def test_a_second_ctrl_c_waits_until_the_tool_is_gone(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command._module()
    runner = os.fork()
    if runner == 0:
        sys.setprofile(_press_again_as_it_is_killed)
        _run_until_interrupted(pid)
    tool = written_pid(pid)
    os.kill(runner, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(runner, 0)[1]) == 130
    assert not is_alive(tool)


def _press_again_as_it_is_killed(frame: FrameType, event: str, called: object) -> None:
    if event == "call" and frame.f_code.co_name == "_kill":
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGINT)


def _run_until_interrupted(pid: Path) -> NoReturn:
    """Run a tool for long; ends with 130 when a Ctrl-C came through and the tool was gone by then."""
    try:
        command.run(*sleeper(pid), timeout=None)
    except KeyboardInterrupt:
        os._exit(1 if is_alive(written_pid(pid)) else 130)
    finally:
        os._exit(2)


def test_a_ctrl_c_that_comes_as_it_is_held_back_leaves_it_to_be_heard() -> None:
    def watch(frame: FrameType, event: str, done: object) -> None:
        called = event == "c_return" and getattr(done, "__name__", "") == "pthread_sigmask"
        if called and signal.pthread_sigmask(signal.SIG_BLOCK, ()):
            sys.setprofile(None)
            raise KeyboardInterrupt

    try:
        sys.setprofile(watch)
        with pytest.raises(KeyboardInterrupt):
            shell("exit 0")
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    finally:
        sys.setprofile(None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def test_a_tool_itself_hears_every_signal() -> None:
    assert "SigBlk:\t0000000000000000" in command.run("cat", "/proc/self/status").stdout
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_tool_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    parent = os.fork()
    if parent == 0:
        _run_for_ever(pid)
    tool = written_pid(pid)
    assert is_alive(tool)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    until(lambda: not is_alive(tool), "the tool outlives its parent")


def _run_for_ever(pid: Path) -> NoReturn:
    try:
        command.run(*sleeper(pid), timeout=None)
    finally:
        os._exit(1)


def test_a_tool_may_be_started_in_any_thread() -> None:
    found: list[command.Result] = []
    threads = [threading.Thread(target=lambda: found.append(shell("echo done"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(0, "done\n", "")] * 4


def test_a_tool_runs_beside_the_block_and_has_ended_after_it(tmp_path: Path) -> None:
    gate, done = tmp_path / "gate", tmp_path / "done"
    with command.running("sh", "-c", f"until [ -e {gate} ]; do sleep 0.01; done; touch {done}"):
        assert not done.exists()
        gate.touch()
    assert done.exists()


def test_a_tool_that_fails_beside_the_block_fails_it_at_its_end() -> None:
    reached = False
    with pytest.raises(errors.CommandFailed, match="exit code 1: no"):
        with command.running("sh", "-c", "echo no >&2; exit 1"):
            time.sleep(0.05)
            reached = True
    assert reached


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_block_kills_the_tool_and_its_error_counts(tmp_path: Path, error: type[BaseException]) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(error):
        with command.running(*sleeper(pid)):
            tool = written_pid(pid)
            raise error
    assert not is_alive(tool)


def test_a_failing_block_counts_also_when_the_tool_has_failed_before(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        with command.running("sh", "-c", "exit 1"):
            time.sleep(0.05)
            raise RuntimeError


def test_no_process_and_no_descriptor_is_left_over() -> None:
    shell("exit 0")
    before, children = os.listdir("/proc/self/fd"), own_children()  # a pool of another test may have some
    for _ in range(5):
        shell("exit 0")
        with pytest.raises(errors.CommandFailed):
            shell("exit 1")
    assert len(os.listdir("/proc/self/fd")) <= len(before)
    assert own_children() <= children


def test_the_real_tool_is_there() -> None:
    said = subprocess.run(["qemu-img", "--version"], check=True, capture_output=True, text=True).stdout
    assert command.run("qemu-img", "--version").stdout == said


def test_a_tool_stays_within_its_processor_time_and_its_files_within_their_length(tmp_path: Path) -> None:
    with pytest.raises(errors.CommandFailed, match="more processor time") as caught:
        command.run("sh", "-c", "while :; do :; done", bounds=Limits(seconds=1))
    assert caught.value.status == -signal.SIGXCPU

    made = tmp_path / "file"
    with pytest.raises(errors.NoSpace, match="raise the limit"):
        command.run("dd", "if=/dev/zero", f"of={made}", "bs=4096", "count=2", bounds=Limits(file=4096))
    assert made.stat().st_size == 4096


def test_a_tool_that_only_reads_can_write_to_no_file_and_none_gains_privileges(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.Error):
        command.run("sh", "-c", f"echo x >{tmp_path}/file", bounds=limits.reading([]))

    assert (tmp_path / "file").read_bytes() == b""
    assert "NoNewPrivs:\t1" in command.run("cat", "/proc/self/status").stdout


def test_bounds_follow_what_images_hold_and_not_what_they_claim(tmp_path: Path) -> None:
    claims, holds = tmp_path / "claims", tmp_path / "holds"
    claims.touch()
    os.truncate(claims, 2**40)
    holds.write_bytes(b"\1" * 8 * MIB)

    assert limits.moving([claims, tmp_path / "gone"]) == limits.moving([])
    assert limits.moving([holds]).seconds > limits.moving([claims]).seconds
    assert limits.comparing([holds]).file == 0


def test_a_tool_that_has_no_end_of_errors_is_ended(tmp_path: Path) -> None:
    with pytest.raises(errors.CommandFailed, match="ERROR") as caught:
        shell("while :; do echo ERROR ERROR ERROR >&2; done", answers=(0, 2), timeout=120)

    assert caught.value.status == command.FLOODED
    assert len(caught.value.stderr) <= printed.MAX_ERRORS
