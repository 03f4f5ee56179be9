"""snapengine volume."""

import subprocess
from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests.command_line import CommandLine
from tests.images import read

VOLUME_KEYS = {
    "uuid", "name", "primaryStorageUuid", "installPath", "type", "format", "size", "actualSize", "state", "status",
    "createDate", "lastOpDate", "isShareable",
}  # fmt: skip
UUID = "0123456789ab4cde8abcdef012345678"


@pytest.fixture
def run(engine: Engine) -> CommandLine:
    return CommandLine(engine.root)


def image(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_create_makes_a_data_volume_of_the_admin(run: CommandLine, engine: Engine) -> None:
    made = run.json("volume", "create", "db", "--size", "1M")

    assert set(made) == VOLUME_KEYS
    assert list(made) == sorted(made)
    assert (made["name"], made["type"], made["size"]) == ("db", "Data", 2**20)
    assert "/dataVolumes/acct-36c27e8ff05c4780bf6d2fa65700f22e/" in made["installPath"]
    assert engine.get_volume(made["uuid"]).status == "Ready"


def test_create_takes_all_that_may_be_said_of_a_volume(run: CommandLine, engine: Engine) -> None:
    account = run.json("account", "create", "web.team")
    made = run.json(
        "volume", "create", "db", "--size", "1000", "--type", "root", "--account", "web.team", "--uuid", UUID,
        "--description", "two\nlines", "--tag", "a", "--tag", "volumeMaxIncrementalSnapshotNum::5",
    )  # fmt: skip

    assert (made["uuid"], made["type"], made["size"]) == (UUID, "Root", 1024)
    assert made["description"] == "two\nlines"
    assert f"acct-{account['uuid']}" in made["installPath"]
    assert [tag.tag for tag in engine.list_tags(UUID)] == ["a", "volumeMaxIncrementalSnapshotNum::5"]


def test_create_shows_people_the_volume_line_by_line(run: CommandLine) -> None:
    lines = run.text("volume", "create", "db", "--size", "1.5G", "--description", "two\nlines").splitlines()

    assert "size             1.5 GiB" in lines
    assert "description      two\\nlines" in lines
    assert not any(line.startswith("vm ") for line in lines)


@pytest.mark.parametrize(
    "words",
    [
        ("x", "--size", "0"),
        ("x", "--size", "-1"),
        ("x", "--size", "ten"),
        ("x", "--size", "0.3K"),
        ("x", "--size", "3P"),
        ("x", "--size", "9" * 400),
        ("", "--size", "1M"),
        ("  ", "--size", "1M"),
        ("n" * 256, "--size", "1M"),
        ("\x1b[2J", "--size", "1M"),
        ("x", "--size", "1M", "--uuid", "../../../etc/passwd"),
        ("x", "--size", "1M", "--uuid", "0123456789AB1CDEF89ABCDEF0123456"),
        ("x", "--size", "1M", "--uuid", "0123456789ab0cdef89abcdef0123456"),
        ("x", "--size", "1M", "--uuid", "0123456789ab1cdef89abcdef012345/"),
        ("x", "--size", "1M", "--account", "a/b"),
        ("x", "--size", "1M", "--account", ".." + "/x"),
        ("x", "--size", "1M", "--description", "d" * 2049),
        ("x", "--size", "1M", "--tag", ""),
        ("x", "--size", "1M", "--type", "floppy"),
    ],
    ids=repr,
)
def test_create_refuses_bad_arguments_and_leaves_nothing(
    run: CommandLine, engine: Engine, words: tuple[str, ...]
) -> None:
    before = sorted(engine.root.rglob("*"))

    run.error(2, "volume", "create", *words)

    assert sorted(engine.root.rglob("*")) == before


def test_a_name_of_255_characters_is_fine_in_any_script(run: CommandLine) -> None:
    name = "ü" * 255

    run.text("volume", "create", name, "--size", "1M")

    assert name in run.text("volume", "list")


def test_create_refuses_a_uuid_that_is_in_use_and_an_unknown_account(run: CommandLine) -> None:
    run.text("volume", "create", "db", "--size", "1M", "--uuid", UUID)

    assert "is in use" in run.error(2, "volume", "create", "db", "--size", "1M", "--uuid", UUID)
    assert "account create" in run.error(3, "volume", "create", "db", "--size", "1M", "--account", "nobody")


def test_import_copies_an_image_and_leaves_it_alone(run: CommandLine, tmp_path: Path) -> None:
    content = b"guest data " * 100_000
    content += bytes(-len(content) % 512)
    source = image(tmp_path / "disk.raw", content)

    made = run.json("volume", "import", str(source), "--type", "root")

    assert (made["name"], made["type"]) == ("disk", "Root")
    assert read(Path(made["installPath"])) == content
    assert source.read_bytes() == content


def test_import_takes_name_uuid_format_and_moves(run: CommandLine, engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "disk.vmdk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", source, "1M"], check=True)

    words = ("--name", "db", "--uuid", UUID, "--format", "vmdk", "--move", "--tag", "a", "--description", "d")
    made = run.json("volume", "import", str(source), *words)

    assert (made["uuid"], made["name"], made["description"], made["size"]) == (UUID, "db", "d", 2**20)
    assert [tag.tag for tag in engine.list_tags(UUID)] == ["a"]
    assert not source.exists()


def test_import_refuses_what_is_not_there_and_what_is_no_image(run: CommandLine, tmp_path: Path) -> None:
    run.error(3, "volume", "import", str(tmp_path / "nowhere"))
    run.error(6, "volume", "import", str(tmp_path))
    run.error(6, "volume", "import", str(image(tmp_path / "empty", b"")))
    run.error(2, "volume", "import", str(image(tmp_path / "disk", bytes(512))), "--format", "iso")


def test_list_shows_volumes_by_name(run: CommandLine, engine: Engine) -> None:
    for name in ("web", "db"):
        engine.create_volume(name, 2**20)

    assert [volume["name"] for volume in run.json("volume", "list")["inventories"]] == ["db", "web"]
    head, *lines = run.text("volume", "list").splitlines()
    assert head.split() == ["NAME", "UUID", "TYPE", "SIZE", "ALLOCATED", "VM", "CREATED"]
    assert [line.split()[0] for line in lines] == ["db", "web"]
    assert all("1 MiB" in line for line in lines)


def test_list_of_nothing_is_a_head_alone(run: CommandLine) -> None:
    assert run.text("volume", "list").splitlines() == ["NAME  UUID  TYPE  SIZE  ALLOCATED  VM  CREATED"]
    assert run.json("volume", "list") == {"inventories": []}


def test_show_and_update(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20, description="old")

    assert run.json("volume", "update", "db", "--name", "web")["description"] == "old"
    assert run.json("volume", "update", "web", "--description", "new")["name"] == "web"
    assert "description      new" in run.text("volume", "show", volume.uuid)
    assert "give --name" in run.error(2, "volume", "update", "web")


def test_path_is_one_bare_line_or_one_key(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20)

    assert run.text("volume", "path", "db") == volume.install_path + "\n"
    assert run.json("volume", "path", "db") == {"installPath": volume.install_path}


def test_chain_begins_with_the_active_image(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20)
    snapshot = engine.create_snapshot(volume.uuid, "s")

    active, below = run.json("volume", "chain", "db")["chain"]
    assert (active["path"], active["uuid"], active["virtualSize"]) == (volume.install_path, volume.uuid, 2**20)
    assert active["backing"] == f"{snapshot.uuid}.qcow2" and active["allocated"] > 0
    assert below["uuid"] == snapshot.uuid and "backing" not in below
    lines = run.text("volume", "chain", "db").splitlines()
    assert [line.split()[-1] for line in lines[1:]] == [active["path"], below["path"]]


def test_attach_and_detach(run: CommandLine, engine: Engine) -> None:
    engine.create_volume("db", 2**20)
    vm = run.json("volume", "attach", "db", "web-1", "--qmp", "run/qmp.sock")["vmInstanceUuid"]

    assert run.json("volume", "attach", "db", "web-1", "--libvirt", "qemu:///system")["vmInstanceUuid"] == vm
    assert "web-1" in run.text("volume", "list")
    assert "detach it first" in run.error(4, "volume", "attach", "db", "web-2")
    assert "vmInstanceUuid" not in run.json("volume", "detach", "db")


def test_people_see_the_name_of_the_vm_after_each_change_too(run: CommandLine, engine: Engine) -> None:
    engine.attach_volume(engine.create_volume("db", 2**20).uuid, "web-1")
    for words in (("show", "db"), ("update", "db", "--description", "d"), ("resize", "db", "2M")):
        assert ["vm", "name", "web-1"] in [line.split() for line in run.text("volume", *words).splitlines()]


@pytest.mark.parametrize(
    "words, channel",
    [
        ((), None),
        (("--qmp", "/run/vm.sock"), "qmp:/run/vm.sock"),
        (("--libvirt", "qemu:///system"), "libvirt:qemu:///system"),
    ],
)
def test_attach_says_how_the_vm_is_reached(
    run: CommandLine, engine: Engine, words: tuple[str, ...], channel: str | None
) -> None:
    volume = engine.create_volume("db", 2**20)

    run.text("volume", "attach", "db", "vm", *words)

    record = Path(volume.install_path).with_suffix(".json").read_text()
    assert (f'"channel":"{channel}"' in record) == (channel is not None)


def test_a_vm_is_reached_in_one_way(run: CommandLine, engine: Engine) -> None:
    engine.create_volume("db", 2**20)

    run.error(2, "volume", "attach", "db", "vm", "--qmp", "/x", "--libvirt", "y")
