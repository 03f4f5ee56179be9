"""The power cuts notice an engine that leaves a sync out: what they let pass is worth something."""

import pytest

from tests.crash.cases import VERBS
from tests.powercut.sabotage import SABOTAGES
from tests.powercut.stage import Stage

pytestmark = pytest.mark.root

CUTS, SEEDS = 8, 9
TELLING = {  # the verb that shows it, on each file system
    "no_record_is_synced": "update",
    "no_prepared_record_is_synced": "create",
    "no_copy_is_synced": "import",
    "no_directory_is_synced": "update",
}
RARE = {"a_pull_writes_its_header_first": "delete by pull without reflinks"}  # two moments of some fifteen


@pytest.mark.parametrize("sabotage", TELLING)
def test_a_power_cut_of_an_engine_that_leaves_a_sync_out_is_noticed(stage: Stage, sabotage: str) -> None:
    tried = (stage.tried(TELLING[sabotage], seed, CUTS, sabotage, recoveries=False) for seed in range(SEEDS))

    assert "wrong" in (outcome.end for outcomes in tried for outcome in outcomes)


def test_each_sabotage_has_a_verb_that_shows_it() -> None:
    assert TELLING.keys() | RARE.keys() == SABOTAGES.keys()
    assert {*TELLING.values(), *RARE.values()} <= {*VERBS}
