"""The store's queue: who wants which run, whose turn it is, and which run is taken next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from explorer.config.fields import plain
from explorer.config.run_config import RunConfig
from explorer.store import fair_queue
from explorer.store.models import FAILED, QUEUED, RUNNING, STOPPED, Run, Work, read_run, read_work

# Of those who want one run so many are kept. Who comes later watches it all the same.
MAX_WISHES = 500


class QueueFull(RuntimeError):
    """More runs wait than this installation allows, of all or of one person."""


class RunQueue:
    """What `explorer.store.store.RunStore` knows of runs that wait; it gives the transactions."""

    _read: Callable[[], AbstractContextManager[Any]]
    _write: Callable[..., AbstractContextManager[Any]]

    def claim(self, owner: str, only: Iterable[str] | None = None, most_training: int | None = None,
              fits: Callable[[Run], bool] = lambda run: True) -> Run | None:
        """Take the next run of the queue; of several that ask at once, one gets it.

        It is the turn of one of those who want it, see `explorer.store.fair_queue`.

        Args:
            owner: who takes it.
            only: runs to choose from; all of them by default.
            most_training: a person who has so many places lets others go first.
            fits: whether the owner can train a run; one that does not fit is left to other owners.
        """
        with self._write() as db:
            for run_id, person in _order(db, only, most_training):
                run = _readable(db, run_id)
                if run is None or not fits(run):
                    continue
                row = db.execute("SELECT turn FROM persons WHERE person = ?", (person,)).fetchone()
                db.execute("UPDATE wishes SET served = 1, turn = ? WHERE run_id = ? AND person = ?",
                           (row["turn"] if row else 0, run_id, person))
                db.execute("UPDATE persons SET turn = ? WHERE person = ?", (_next_turn(db), person))
                return _taken(db, run_id, owner)
        return None

    def claim_alike(self, owner: str, first: Run, alike: Callable[[Run], bool], most: int, each: int | None = None,
                    only: Iterable[str] | None = None) -> list[Run]:
        """Take those runs of the queue along that fit to one just claimed, in their order. It is nobody's turn.

        Args:
            first: what has been claimed.
            alike: whether a run fits to it.
            most: how many, at most.
            each: how many of one person at most, `first` among them; any number by default.
        """
        taken: list[Run] = []
        with self._write() as db:
            served = db.execute("SELECT person FROM wishes WHERE run_id = ? AND served = 1", (first.run_id,)).fetchone()
            counts = {served["person"] if served else "": 1}
            for run_id, person in _order(db, only, None):
                if len(taken) >= most:
                    break
                if each is not None and counts.get(person, 0) >= each:
                    continue
                run = _readable(db, run_id)
                if run is not None and alike(run):
                    taken.append(_taken(db, run_id, owner))
                    counts[person] = counts.get(person, 0) + 1
        return taken

    def put_back(self, run_id: str, attempt: int) -> None:
        """Return a run that never began to its old place in the queue, and its turn to whoever had it.

        One that was to be stopped meanwhile is stopped.
        """
        with self._write() as db:
            if db.execute("UPDATE runs SET status = ?, owner = '', phase = '' WHERE run_id = ? AND attempt = ? "
                          "AND status = ?", (QUEUED, run_id, attempt, RUNNING)).rowcount:
                db.execute("UPDATE persons SET turn = wishes.turn FROM wishes WHERE run_id = ? AND served = 1 "
                           "AND wishes.person = persons.person AND wishes.turn < persons.turn", (run_id,))
                db.execute("UPDATE wishes SET served = 0 WHERE run_id = ?", (run_id,))
                if db.execute("UPDATE runs SET status = ?, demands = '[]', stop = 0 WHERE run_id = ? AND stop = 1",
                              (STOPPED, run_id)).rowcount:
                    forget_wishes(db, run_id)

    def rivals(self, run_id: str, only: Iterable[str] | None = None) -> int:
        """How many persons have something waiting besides the one whose turn took this run."""
        with self._read() as db:
            served = db.execute("SELECT person FROM wishes WHERE run_id = ? AND served = 1", (run_id,)).fetchone()
            return len({person for _, person in _wishes(db, only)} - {served["person"] if served else ""})

    def any_waiting(self, only: Iterable[str] | None = None) -> bool:
        """Whether there is anything to claim."""
        with self._read() as db:
            return bool(_wishes(db, only))

    def place(self, run_id: str, most_training: int | None = None) -> int:
        """How many runs will be taken before this one, if nobody asks for anything more; 0 if it does not wait."""
        with self._read() as db:
            order = [waiting for waiting, _ in _order(db, None, most_training)]
        return order.index(run_id) if run_id in order else 0

    def queue(self, most_training: int | None = None) -> tuple[list[Work], list[Work]]:
        """What is training, and what waits in the order in which it will be taken, as of one moment."""
        with self._read() as db:
            db.execute("BEGIN")
            rows = {row["run_id"]: row for row in db.execute(
                "SELECT run_id, status, config, demands, seconds, "
                "(SELECT MAX(epoch) FROM epochs WHERE epochs.run_id = runs.run_id) AS epochs "
                "FROM runs WHERE status IN (?, ?) ORDER BY ticket", (QUEUED, RUNNING))}
            waiting = [rows[run_id] for run_id, _ in _order(db, None, most_training)]
        training = [row for row in rows.values() if row["status"] == RUNNING]
        return [read_work(row) for row in training], [read_work(row) for row in waiting]

    def waiting(self) -> int:
        """How many runs wait."""
        with self._read() as db:
            return _waiting(db)

    def waiting_for(self, person: str) -> int:
        """How many runs wait because this person was the first to ask for them."""
        with self._read() as db:
            return _waiting_for(db, person)


def require_room(db: Any, more: int, person: str, most: int | None, most_own: int | None) -> None:
    """See to it that so many more runs may wait, if any; in the transaction that puts them into the queue.

    Args:
        most, most_own: how many may wait, of all and of this person; any number where it is `None`.

    Raises:
        QueueFull: they may not.
    """
    if more and most is not None and (queued := _waiting(db)) + more > most:
        raise QueueFull(f"{plain(queued)} runs are waiting, and {plain(most)} may wait here. Try again in a while.")
    if more and most_own is not None and (own := _waiting_for(db, person)) + more > most_own:
        raise QueueFull(f"Expected at most {plain(most_own)} waiting runs of one person, received {plain(more)} more "
                        f"beside {plain(own)} that wait. Wait until some of them are trained, stop some, or ask "
                        "for fewer.")


def _waiting(db: Any) -> int:
    return db.execute("SELECT COUNT(*) FROM runs WHERE status = ?", (QUEUED,)).fetchone()[0]


def _waiting_for(db: Any, person: str) -> int:
    return db.execute("SELECT COUNT(*) FROM runs JOIN wishes USING (run_id) WHERE status = ? AND person = ? "
                      "AND first = 1", (QUEUED, person)).fetchone()[0]


def add_wish(db: Any, run_id: str, person: str, is_first: bool) -> None:
    """Note that somebody wants a run.

    Args:
        is_first: whether nobody else wanted it before.
    """
    if db.execute("SELECT COUNT(*) FROM wishes WHERE run_id = ?", (run_id,)).fetchone()[0] < MAX_WISHES:
        db.execute("INSERT INTO wishes (run_id, person, at, first) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                   (run_id, person, time.time(), int(is_first)))
        # Who comes joins the ring at its end; who is in it keeps their place, however often they ask.
        db.execute("INSERT INTO persons VALUES (?, ?) ON CONFLICT DO NOTHING", (person, _next_turn(db)))


def forget_wishes(db: Any, run_id: str) -> None:
    """A run has ended: nobody waits for it any more, and who wants nothing else leaves the ring."""
    db.execute("DELETE FROM wishes WHERE run_id = ?", (run_id,))
    db.execute("DELETE FROM persons WHERE person NOT IN (SELECT person FROM wishes)")


def _wishes(db: Any, only: Iterable[str] | None) -> list[tuple[str, str]]:
    """Each run that waits with each person who wants it; one that nobody is known to want is the nameless person's."""
    rows = db.execute("SELECT run_id, COALESCE(person, '') FROM runs LEFT JOIN wishes USING (run_id) "
                      "WHERE status = ? ORDER BY ticket, person", (QUEUED,)).fetchall()
    chosen = None if only is None else set(only)
    return [tuple(row) for row in rows if chosen is None or row[0] in chosen]


def _order(db: Any, only: Iterable[str] | None, most: int | None) -> list[tuple[str, str]]:
    wishes = _wishes(db, only)
    if not wishes:
        return []
    standing = dict(db.execute("SELECT person, turn FROM persons").fetchall())
    training = dict(db.execute("SELECT person, COUNT(*) FROM runs JOIN wishes USING (run_id) WHERE status = ? AND "
                               "served = 1 GROUP BY person", (RUNNING,)).fetchall())
    return fair_queue.order(wishes, standing, training, most)


def _readable(db: Any, run_id: str) -> Run | None:
    """A waiting run; one whose settings cannot be read is given up instead.

    One that sets what only a later version knows is left to that: here it would be trained as if it did not, under the
    same identity.
    """
    row = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    try:
        return read_run(row) if RunConfig.knows(row["config"]) else None
    except (ValueError, TypeError, KeyError) as error:
        db.execute("UPDATE runs SET status = ?, message = ? WHERE run_id = ?",
                   (FAILED, f"This version of the explorer cannot read the run's settings ({error}).", run_id))
        forget_wishes(db, run_id)
        return None


def _taken(db: Any, run_id: str, owner: str) -> Run:
    db.execute("UPDATE runs SET status = ?, owner = ?, attempt = attempt + 1, phase = 'starting', progress = '{}' "
               "WHERE run_id = ?", (RUNNING, owner, run_id))
    return read_run(db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone())


def _next_turn(db: Any) -> int:
    return db.execute("SELECT COALESCE(MAX(turn), 0) + 1 FROM persons").fetchone()[0]
