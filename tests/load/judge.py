"""What is asked of a load run when it is over: nothing lost, nobody made to wait who need not."""

import bisect
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests import check
from tests.load import clients
from tests.load.book import Book, Call
from tests.oracle import Oracle

SHARE = 0.1  # of what the median client of its kind is answered each client gets at least
SEEN = 30  # answers of the median client before that is asked


class Report(NamedTuple):
    """
    How it went; faults is empty where all is well.

    alone and beside are the calls before, and while, others write; overtaken is the most that overtook a change, shares
    what the client with the fewest answers got of what the median one got, by kind. held is how often volumes were
    held, left how many clients went away, left_done how many of their snapshots are there, there and gone are counts
    of acknowledged snapshots and deletes.
    """

    alone: list[Call]
    beside: list[Call]
    overtaken: int
    shares: dict[str, float]
    held: int
    left: int
    left_done: int
    there: int
    gone: int
    faults: list[str]


def report(oracle: Oracle, alone: Book, book: Book, left: Mapping[str, str], held: int, most: int) -> Report:
    """
    Look at the store and what the clients noted, and return how it went.

    left are the snapshots whose clients went away, with their volumes. A change may be overtaken by most others: each
    client of its volume may come to the server, and be told, before one that asked a moment earlier.
    """
    there = {snapshot.uuid for snapshot in oracle.engine.list_snapshots()}
    made = book.made.keys() - book.deleted
    done, overtaken, shares = left.keys() & there, most_overtaken(book.calls), _shares(book.calls)
    faults = alone.faults + book.faults
    faults += [f"snapshot {uuid} of volume {book.made[uuid]} was acknowledged and is lost" for uuid in made - there]
    faults += [f"snapshot {uuid} was deleted and is there" for uuid in book.deleted & there]
    faults += [f"a {kind} gets {share:.2f} of what others get" for kind, share in shares.items() if share < SHARE]
    if overtaken > most:
        faults.append(f"a change was overtaken by {overtaken} that were asked for later, on the same volume")
    if left and not done:
        faults.append(f"none of the {len(left)} calls was carried out whose clients went away")
    if not faults:
        new = {uuid: oracle.expected[volume] for uuid, volume in {**book.made, **left}.items() if uuid in there}
        faults += _wrong(oracle, new)
    counts = len(left), len(done), len(made & there), len(book.deleted - there)
    return Report(alone.calls, book.calls, overtaken, shares, held, *counts, faults)


def _wrong(oracle: Oracle, new: Mapping[str, bytes]) -> list[str]:
    try:
        check.full(oracle.engine, {**oracle.expected, **new})
    except AssertionError as e:
        return [f"at the end: {e}"]
    return []


def most_overtaken(calls: Sequence[Call]) -> int:
    """Return by how many changes of its volume, asked for later, a change was overtaken that was overtaken most."""
    by_volume, most = defaultdict[str, list[Call]](list), 0
    for call in calls:
        if call.verb in clients.CHANGES:
            by_volume[call.volume].append(call)
    for changes in by_volume.values():
        later: list[int] = []
        for change in sorted(changes, key=lambda call: -call.sent):
            most = max(most, bisect.bisect(later, change.answered))
            bisect.insort(later, change.answered)
    return most


def _shares(calls: Sequence[Call]) -> dict[str, float]:
    """Return for readers and writers what the client with the fewest answers got, of what the median one got."""
    found = {}
    for kind, verbs in (("reader", [*clients.READS]), ("writer", [*clients.CHANGES])):
        counts = sorted(Counter(call.client for call in calls if call.verb in verbs).values())
        if counts and counts[len(counts) // 2] >= SEEN:
            found[kind] = counts[0] / counts[len(counts) // 2]
    return found
