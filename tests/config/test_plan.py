"""Early stopping: the epoch at which Keras's own callback would end the run, now or moved afterwards."""

import math
from types import SimpleNamespace

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.config.plan import best_epoch, met_at, satisfied, stopping_epoch
from explorer.config.run_config import Demand

# Often equal, for a tie is no improvement, and of single precision, in which Keras compares.
# In Keras, a first value of NaN would never be beaten.
VALUES = st.sampled_from([0.25, 0.5, 0.75]) | st.integers(0, 2**20).map(lambda number: number / 2**19)
CURVES = st.builds(lambda first, rest: [first, *rest], VALUES, st.lists(VALUES | st.just(math.nan), max_size=40))


def _keras_stops_after(curve: list[float], patience: int) -> int | None:
    import keras

    callback = keras.callbacks.EarlyStopping(monitor="val_crossentropy", mode="min", patience=patience)
    model = SimpleNamespace(stop_training=False)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(curve):
        callback.on_epoch_end(epoch, {"val_crossentropy": value})
        if model.stop_training:
            return epoch + 1
    return None


# Keras compares with TensorFlow operations, a tenth of a millisecond each.
@hypothesis.settings(deadline=None, max_examples=60)
@given(CURVES, st.integers(1, 6))
def test_it_stops_where_the_callback_of_keras_stops(curve, patience):
    assert stopping_epoch(curve, patience) == _keras_stops_after(curve, patience)


@pytest.mark.parametrize("curve, patience, epoch", [
    ([0.5, 0.4, 0.3], 1, None),
    ([0.5, 0.6], 1, 2),
    ([0.5, 0.5, 0.5], 2, 3),
    ([0.5, 0.4, 0.6, 0.3, 0.7, 0.8], 2, 6),
    ([0.5, 0.4, 0.6, 0.39, 0.7], 2, None),
    ([0.5, math.nan, 0.6, 0.7], 2, 3),
    ([0.5, 0.6, 0.4], 1, 2),
    ([], 1, None),
])
def test_it_stops_where_it_should(curve, patience, epoch):
    assert stopping_epoch(curve, patience) == epoch
    if curve:
        assert _keras_stops_after(curve, patience) == epoch


def test_without_patience_nothing_stops():
    assert stopping_epoch([0.1] * 100, None) is None


def test_a_value_that_is_missing_is_no_improvement():
    assert stopping_epoch([0.5, None, None], 2) == stopping_epoch([0.5, math.nan, math.nan], 2) == 3


def test_patience_can_be_moved_over_a_finished_history():
    curve = [0.6, 0.5, 0.55, 0.52, 0.45, 0.5, 0.6, 0.7, 0.8]
    assert [stopping_epoch(curve, patience) for patience in (1, 2, 3, 4, 5)] == [3, 4, 8, 9, None]


@given(CURVES, st.integers(1, 6))
def test_more_patience_never_stops_earlier(curve, patience):
    less, more = stopping_epoch(curve, patience), stopping_epoch(curve, patience + 1)
    assert more is None or less is not None and less < more


@given(CURVES, st.integers(1, 6))
def test_what_comes_after_the_stop_does_not_move_it(curve, patience):
    stop = stopping_epoch(curve, patience)
    if stop is not None:
        assert stopping_epoch(curve[:stop], patience) == stop
        assert stopping_epoch(curve[: stop - 1], patience) is None


CURVE = [0.5, 0.4, 0.6, 0.7]


@pytest.mark.parametrize("demand, epoch", [
    (Demand(epochs=3), 3), (Demand(epochs=4), 4), (Demand(epochs=5), None),
    (Demand(epochs=9, patience=2), 4), (Demand(epochs=9, patience=1), 3), (Demand(epochs=9, patience=3), None),
    (Demand(epochs=3, patience=2), 3),  # the wanted epochs come before the stop
])
def test_a_history_is_enough_once_the_epochs_or_the_patience_are_used_up(demand, epoch):
    assert met_at(CURVE, demand) == epoch
    assert satisfied(CURVE, [demand]) is (epoch is not None)


def test_a_run_goes_on_until_the_last_wish_is_met():
    assert not satisfied(CURVE, [Demand(epochs=3), Demand(epochs=10)])
    assert satisfied(CURVE, [Demand(epochs=3), Demand(epochs=10, patience=2)])
    assert satisfied(CURVE, []) and not satisfied([], [Demand(epochs=1)])


@pytest.mark.parametrize(("values", "best"), [
    ([], None), ([None, float("nan")], None), ([0.5, 0.3, 0.4], 2), ([0.3, None, 0.3], 1),
    ([float("nan"), 0.6, 0.5], 3), ([float("inf")], None)])
def test_the_best_epoch_is_the_first_of_the_lowest(values, best):
    assert best_epoch(values) == best
