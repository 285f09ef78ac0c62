"""What the page shows of a run, depending on what is wanted of it."""

import pytest

from explorer.config.run_config import Demand, RunConfig
from explorer.engine.run_view import DONE, UNKNOWN, RunView, look
from explorer.store.store import DIVERGED, FAILED, FINISHED, INTERRUPTED, QUEUED, RUNNING, STOPPED, Run


def _run(status=RUNNING, progress=None, **config) -> Run:
    return Run(run_id="a", config=RunConfig(**config), created_at=0, status=status, message="", demands=(), ticket=1,
               owner="o", attempt=1, stop=False, device="", threads=1, phase="training", progress=progress or {},
               seconds=0, peak_mb=0)


def _epochs(*values, seconds=2.0) -> list[dict]:
    return [{"epoch": number, "val_crossentropy": value, "val_accuracy": value + 0.1, "seconds": seconds}
            for number, value in enumerate(values, start=1)]


def _falling(count: int) -> list[dict]:
    return _epochs(*(1 / number for number in range(1, count + 1)))


def _score(epoch: int) -> dict[int, dict]:
    return {epoch: {"epoch": epoch, "test_accuracy": 0.8}}


def test_a_run_nobody_asked_for_is_unknown():
    view = look(None, [], {}, Demand())
    assert (view.state, view.is_live, view.fraction, view.seconds_left) == (UNKNOWN, False, 0, None)


@pytest.mark.parametrize("status, live", [
    (QUEUED, True), (RUNNING, True), (STOPPED, False), (FAILED, False), (INTERRUPTED, False),
])
def test_an_unfinished_run_is_as_the_store_says(status, live):
    view = look(_run(status), _falling(3), {}, Demand())
    assert (view.state, view.is_live, view.reached) == (status, live, 3)


def test_a_run_with_all_epochs_and_its_score_is_done():
    view = look(_run(FINISHED), _falling(20), _score(20), Demand())
    assert (view.state, view.score["test_accuracy"], view.fraction, view.seconds_left) == (DONE, 0.8, 1, 0)


def test_a_slice_of_a_longer_run_is_done_without_training():
    view = look(_run(FINISHED), _falling(50), _score(50), Demand(epochs=20))
    assert (view.state, len(view.epochs), view.reached, view.score, view.scored) == (DONE, 20, 50, None, (50,))
    assert view.epochs[-1]["epoch"] == 20 and view.fraction == 1


def test_the_score_of_a_slice_is_shown_where_it_was_taken_there():
    view = look(_run(RUNNING), _falling(30), _score(20), Demand(epochs=20))
    assert (view.state, view.score["epoch"]) == (DONE, 20)  # for this wish, whatever else is being trained


def test_a_finished_run_that_is_wanted_further_is_not_done():
    view = look(_run(FINISHED), _falling(20), _score(20), Demand(epochs=30))
    assert (view.state, view.fraction, view.score["epoch"]) == (FINISHED, pytest.approx(2 / 3), 20)


def test_a_run_that_failed_between_its_last_epoch_and_its_score_is_failed():
    view = look(_run(FAILED), _falling(20), {}, Demand())
    assert (view.state, view.score, len(view.epochs)) == (FAILED, None, 20)


def test_a_score_from_before_the_end_does_not_make_it_done():
    assert look(_run(INTERRUPTED), _falling(20), _score(10), Demand()).state == INTERRUPTED


def test_a_run_ended_by_early_stopping_is_done():
    epochs = _epochs(0.5, 0.4, 0.6, 0.7)
    view = look(_run(FINISHED), epochs, _score(4), Demand(epochs=50, patience=2))
    assert (view.state, len(view.epochs), view.score["epoch"]) == (DONE, 4, 4)
    # With more patience the same history is not long enough.
    assert look(_run(FINISHED), epochs, _score(4), Demand(epochs=50, patience=3)).state == FINISHED


def test_a_longer_history_stays_in_sight_where_patience_would_have_stopped_it():
    view = look(_run(FINISHED), _epochs(0.5, 0.6, 0.7, 0.8), _score(4), Demand(epochs=4, patience=1))
    assert (view.state, len(view.epochs)) == (DONE, 4)


def test_a_diverged_run_is_done_however_far_it_was_wanted():
    epochs = [*_epochs(0.5), {"epoch": 2, "val_crossentropy": None, "val_accuracy": 0.5, "seconds": 1.0}]
    view = look(_run(DIVERGED), epochs, {}, Demand(epochs=100))
    assert (view.state, view.score, len(view.epochs)) == (DONE, None, 2)


def test_validated_on_the_test_set_every_epoch_has_its_score():
    view = look(_run(FINISHED, validation="test"), _falling(50), _score(50), Demand(epochs=20))
    assert view.score == {"epoch": 20, "test_crossentropy": 1 / 20, "test_accuracy": 1 / 20 + 0.1}
    assert look(_run(RUNNING, validation="test"), [], {}, Demand()).score is None
    taken = look(_run(FINISHED, validation="test"), _falling(20), _score(20), Demand())
    assert taken.score["test_accuracy"] == 0.8  # a score that was taken comes first


def test_the_epoch_in_hand_counts_for_progress():
    view = look(_run(progress={"epoch": 4, "step": 5, "steps": 10}), _falling(3), {}, Demand(epochs=10))
    assert view.fraction == pytest.approx(0.35)
    # What is told of an epoch that is complete meanwhile does not count twice.
    assert look(_run(progress={"epoch": 3, "step": 9, "steps": 10}), _falling(3), {}, Demand(epochs=10)).fraction == 0.3


def test_progress_beyond_a_slice_stays_at_one():
    view = look(_run(progress={"epoch": 6, "step": 5, "steps": 10}), _falling(5), {}, Demand(epochs=5))
    assert view.fraction == 1 and view.seconds_left == 0


def test_time_left_is_measured_without_the_first_epoch_that_compiles():
    epochs = _epochs(0.5, 0.5, seconds=2.0)
    epochs[0]["seconds"] = 30.0
    assert look(_run(), epochs, {}, Demand(epochs=10)).seconds_left == pytest.approx(16)
    assert look(_run(), epochs[:1], {}, Demand(epochs=10)).seconds_left == pytest.approx(270)
    assert look(_run(), [], {}, Demand()).seconds_left is None


def test_time_left_follows_the_latest_epochs():
    epochs = _epochs(*[0.5] * 20, seconds=1.0)
    for row in epochs[-5:]:
        row["seconds"] = 4.0
    assert look(_run(), epochs, {}, Demand(epochs=30)).seconds_left == pytest.approx(40)


def test_a_place_in_the_queue_is_added():
    view = look(_run(QUEUED), [], {}, Demand())
    assert (view.place, view.at_place(3)) == (0, RunView(QUEUED, Demand(), view.run, place=3))


def test_the_score_of_the_best_epoch_is_shown_where_it_was_taken_there():
    epochs, scores = _epochs(0.5, 0.3, 0.4, 0.45), {**_score(2), **_score(4)}
    view = look(_run(FINISHED), epochs, scores, Demand(epochs=4))
    assert (view.best_score["epoch"], view.score["epoch"], view.scored) == (2, 4, (2, 4))
    part = look(_run(FINISHED), epochs, scores, Demand(epochs=3))
    assert part.best_score["epoch"] == 2 and part.score is None and part.state == DONE
    first = look(_run(FINISHED), epochs, scores, Demand(epochs=1))
    assert first.best_score is None and first.score is None
    earlier = look(_run(FINISHED), epochs, _score(4), Demand(epochs=4))
    assert earlier.best_score is None and earlier.score["epoch"] == 4  # of an earlier version
    lost = [*epochs, {**epochs[0], "epoch": 5, "val_crossentropy": None}]
    assert look(_run(DIVERGED), lost, _score(2), Demand(epochs=9)).best_score["epoch"] == 2


def test_a_best_score_before_the_end_does_not_make_a_run_done():
    assert look(_run(RUNNING), _epochs(0.5, 0.3, 0.4), _score(2), Demand(epochs=5)).state == RUNNING


def test_validated_on_the_test_set_the_best_epoch_has_its_score_too():
    view = look(_run(FINISHED, validation="test"), _epochs(0.5, 0.3, 0.4), _score(3), Demand(epochs=3))
    assert view.best_score == {"epoch": 2, "test_crossentropy": 0.3, "test_accuracy": pytest.approx(0.4)}
