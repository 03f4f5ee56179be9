"""Every verb of the engine that writes has a case in the crash matrix, and the case calls it."""

from collections.abc import Iterator

import pytest

from snapengine.engine import Engine
from tests.crash.bench import Bench
from tests.crash.cases import VERBS

pytestmark = pytest.mark.crash

CASES = {  # of each method that writes
    "add_tag": ("tag a volume", "tag a snapshot"),
    "attach_volume": ("attach",),
    "checksum_snapshot": ("keep a checksum",),
    "clone_volume": ("clone", "clone, linked"),
    "create_access_key": ("create an access key",),
    "create_account": ("create an account",),
    "create_group": ("create a group", "create a group, one full"),
    "create_snapshot": ("create", "create a full one", "create with a bitmap", "create in a moved store"),
    "create_volume": ("create a volume",),
    "delete_access_key": ("delete an access key",),
    "delete_group": ("delete a group",),
    "delete_snapshots": ("delete by commit", "delete by pull", "delete by clone", "delete with descendants"),
    "delete_volumes": ("delete a volume",),
    "detach_volume": ("detach",),
    "export_snapshot": ("export",),
    "expunge_volume": ("expunge a volume",),
    "first_password": ("set the first password",),
    "flatten_volume": ("flatten", "flatten a linked clone"),
    "import_chain": ("import a chain", "import a chain and remove the sources"),
    "import_volume": ("import", "import and remove the source"),
    "purge_trash": ("purge",),
    "rebuild": ("rebuild",),
    "recover_volume": ("recover a volume",),
    "remove_tag": ("remove a tag",),
    "repair": ("repair", "repair names"),
    "resize_volume": ("resize", "resize, more tables"),
    "restore_trash": ("restore", "restore, nothing to keep"),
    "restore_trash_as_snapshot": ("restore as a snapshot",),
    "revert": ("revert", "revert, nothing to keep", "revert on a clone"),
    "revert_group": ("revert to a group",),
    "set_depth_limit": ("set the depth limit",),
    "set_image_mode": ("set the images' mode",),
    "set_image_owner": ("set the images' owner",),
    "set_password": ("set a password",),
    "set_quota": ("set a quota",),
    "set_reflinks": ("set reflinks",),
    "set_volume_state": ("disable a volume",),
    "shrink_snapshot": ("shrink",),
    "undo_snapshot": ("undo",),
    "ungroup": ("ungroup",),
    "update_group": ("update a group",),
    "update_snapshot": ("update",),
    "update_volume": ("update a volume",),
}
ELSEWHERE = {
    "init": "test_init kills it at each of its calls",
    "open": "the case `recover`, after each of these verbs",
    "recover": "the same",
}
CHANGE_NOTHING = {
    *("diff_snapshots", "get_account", "get_group", "get_snapshot", "get_volume", "groups_available", "linked_clones"),
    *("asked_by", "list_access_keys", "list_accounts", "list_groups", "list_snapshots", "list_tags", "list_trash"),
    *("list_volumes", "select_trash"),
    *("snapshot_path", "snapshot_sizes", "snapshot_trees", "status", "storage", "verify", "vm_names", "vm_volumes"),
    *("stream_snapshot", "volume_chain", "volume_path"),
}


def _public() -> Iterator[str]:
    for name in dir(Engine):
        if not name.startswith(("_", "find_", "preview_")) and name not in CHANGE_NOTHING:
            yield name


def test_every_verb_has_cases_or_a_stated_reason_why_not() -> None:
    assert {*_public()} == {*CASES, *ELSEWHERE}
    assert {case for cases in CASES.values() for case in cases} <= set(VERBS)


@pytest.mark.parametrize(("method", "case"), [(m, case) for m, cases in CASES.items() for case in cases])
def test_a_case_calls_the_verb_that_it_is_for(bench: Bench, method: str, case: str) -> None:
    assert method in bench.prepared(case).case.called
