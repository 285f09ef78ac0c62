"""The order in which waiting runs are taken: fair by person, not by press.

The persons who have something waiting stand in a ring. The one at its head has a turn, which takes the first of their
runs, and goes to its end; who joins it joins at its end, whatever they ask for. So between two turns of one person
everybody else has one at most. A run that several have asked for is taken at the first of their turns, and costs the
others none of theirs.

While others wait, a place is best given to somebody who has none: whoever has so many runs training lets those go first
who have fewer. No place stays empty for that.

A turn fills one place with one run, or with a stack of small networks of the same shapes (`config.stacking`): eight
together take as long as three. Alone, a person's grid may fill all stacks in all places. While others wait it gets one
place, and of the stack in it no more than one share among all who wait, so that the turns of all of them together carry
about as many runs as one full stack: the more people wait, the shorter each waits for the others' turns. What is left
of the stack is open to whoever has a fitting run waiting, within the same share. That is no turn of theirs: their place
in the ring stays what it was, they have only less to wait for.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping


def order(wishes: Iterable[tuple[str, str]], turns: Mapping[str, int], training: Mapping[str, int] | None = None,
          most: int | None = None) -> list[tuple[str, str]]:
    """The waiting runs in the order in which they will be taken if nobody asks for anything more.

    Args:
        wishes: the run and the person of each wish, every person's in the order they are to be trained.
        turns: where each person stands in the ring; the smallest is at its head.
        training: how many places each person's runs have now.
        most: whoever has so many places lets others go first; no such limit by default.

    Returns:
        Each run once, with the person whose turn it is.
    """
    training = training or {}
    queues: dict[str, deque[str]] = {}
    for run_id, person in wishes:
        queues.setdefault(person, deque()).append(run_id)

    def stands(person: str) -> tuple[bool, int, str]:
        # Where nobody has a turn yet, the name decides: the same for everyone who asks.
        return most is not None and training.get(person, 0) >= most, turns.get(person, 0), person

    ring = [(*stands(person), person) for person in queues]
    heapq.heapify(ring)
    behind = max(turns.values(), default=0) + 1
    taken: dict[str, str] = {}
    while ring:
        held_back, _, _, person = ring[0]
        waiting = queues[person]
        while waiting and waiting[0] in taken:
            waiting.popleft()
        if not waiting:
            heapq.heappop(ring)
            continue
        taken[waiting.popleft()] = person
        # What is held back is so for its first turn: by the next one, some of what trains now will have ended.
        heapq.heapreplace(ring, (True, behind, person, person))
        behind += 1
    return list(taken.items())
