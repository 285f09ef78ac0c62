"""The test score of the best epoch: that of a run that ends there, however the run has come to its end."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from explorer import data
from explorer.analysis.comparison import ComparedRun
from explorer.analysis.history import table
from explorer.config.plan import best_epoch
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.store import checkpoints
from explorer.training import stacked as stacked_training
from explorer.training import train_stacked
from explorer.training.train import State, train

# Few examples and large steps: the best epoch comes early, and others between it and the end.
SOON = RunConfig(dataset="digits", hidden=(32, 16), batch_norm=True, dropout=0.3, optimizer="adam", learning_rate=0.05,
                 train_samples=200, batch_size=32, label_noise=0.3)
EPOCHS = 16


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


class Run:
    """A run with what it told; `known` are the epochs that it goes on from."""

    def __init__(self, config: RunConfig, settings: Settings, epochs: int, resume: State | None = None, known=(),
                 stop_in: int | None = None):
        self.curve, self.scores = list(known), {}
        self.outcome = train(config, data.load(config, settings), lambda: [Demand(epochs)], self.emit,
                             lambda: stop_in is not None and len(self.curve) >= stop_in - 1, resume=resume,
                             known=list(known))

    def emit(self, kind: str, values: dict) -> None:
        if kind == "epoch":
            self.curve.append(values["val_crossentropy"])
        elif kind == "score":
            self.scores[values["epoch"]] = values["test_crossentropy"], values["test_accuracy"]

    @property
    def best(self) -> int:
        return best_epoch(self.curve)


@pytest.fixture(scope="module")
def whole(settings: Settings) -> Run:
    run = Run(SOON, settings, EPOCHS)
    assert 1 < run.best < EPOCHS - 2, "the tests below need a best epoch with others on both sides"
    return run


def test_a_run_scores_its_best_epoch_as_a_run_that_ends_there_scores_its_last(whole: Run, settings: Settings):
    short = Run(SOON, settings, whole.best)
    assert set(whole.scores) == {whole.best, EPOCHS} and whole.scores[whole.best] == short.scores[whole.best]
    assert short.scores.keys() == {whole.best}  # its best epoch is its last one


def test_scoring_the_best_epoch_leaves_the_state_of_the_last(whole: Run, settings: Settings):
    more = Run(SOON, settings, EPOCHS + 3)
    on = Run(SOON, settings, EPOCHS + 3, whole.outcome.state, whole.curve)
    assert on.curve == more.curve and on.scores[EPOCHS + 3] == more.scores[EPOCHS + 3]
    assert all(np.array_equal(*pair) for pair in zip(on.outcome.state.arrays, more.outcome.state.arrays, strict=True))


@pytest.mark.parametrize("apart", [-1, 0, 1, 2])
def test_a_run_that_was_stopped_ends_with_the_score_of_its_best_epoch(apart, whole: Run, settings: Settings, tmp_path):
    at = whole.best + apart
    first = Run(SOON, settings, EPOCHS, stop_in=at + 1)
    assert first.outcome.reason == "stopped" and first.outcome.state.epoch == at and not first.scores
    # As it lies on the disk: only the weights of a best epoch that has passed are kept beside the state.
    state = first.outcome.state
    checkpoints.save(tmp_path, "a", state.epoch, state.arrays, state.best)
    back = State(*checkpoints.load(tmp_path, "a"))
    assert (back.best is not None) == (apart > 0)
    rest = Run(SOON, settings, EPOCHS, back, first.curve)
    assert rest.curve == whole.curve and rest.scores == whole.scores


def test_a_checkpoint_of_an_earlier_version_has_no_best_weights_and_goes_on(whole: Run, settings: Settings, tmp_path):
    first = Run(SOON, settings, EPOCHS, stop_in=whole.best + 3)
    state = first.outcome.state
    checkpoints.save(tmp_path, "a", state.epoch, state.arrays)
    rest = Run(SOON, settings, EPOCHS, State(*checkpoints.load(tmp_path, "a")), first.curve)
    assert rest.curve == whole.curve and rest.scores == {EPOCHS: whole.scores[EPOCHS]}


def test_what_diverges_has_the_score_of_its_best_epoch_alone(whole: Run, settings: Settings):
    first = Run(SOON, settings, whole.best + 1, stop_in=whole.best + 2).outcome.state
    broken = [array * np.float32(1e30) if array.ndim == 2 else array for array in first.arrays]
    run = Run(SOON, settings, EPOCHS, State(first.epoch, broken, first.best), whole.curve[:first.epoch])
    assert run.outcome.reason == "diverged" and run.scores == {whole.best: whole.scores[whole.best]}


def test_validated_on_the_test_set_nothing_is_measured_twice(settings: Settings):
    run = Run(SOON.with_(validation="test"), settings, 8)
    assert run.scores.keys() == {8} and run.scores[8][0] == run.curve[-1]


def test_a_member_of_a_stack_has_the_score_that_it_has_alone(settings: Settings):
    configs = [SOON.with_(dropout=rate, hidden=(24,), batch_norm=False) for rate in (0.0, 0.3)]

    def stacked(*epochs: int) -> tuple[list[list[float]], list[dict], list[tuple]]:
        curves, told, ends = [[], []], [{}, {}], []

        def emit(place: int, kind: str, values: dict) -> None:
            if kind == "epoch":
                curves[place].append(values["val_crossentropy"])
            elif kind == "score":
                told[place][values["epoch"]] = values["test_crossentropy"], values["test_accuracy"]

        train_stacked.train([train_stacked.StackedRun(
            config, lambda most=most: [Demand(most)], partial(emit, place), lambda: False, lambda state: None,
            lambda outcome, place=place: ends.append((place, outcome.reason, outcome.state.best)))
            for place, (config, most) in enumerate(zip(configs, epochs, strict=True))], data.load(SOON, settings))
        return curves, told, ends

    curves, told, ends = stacked(EPOCHS, EPOCHS + 4)
    assert ends == [(0, "finished", None), (1, "finished", None)]
    for place, epochs in ((0, EPOCHS), (1, EPOCHS + 4)):
        best = best_epoch(curves[place])
        assert set(told[place]) == {best, epochs} and best < epochs
        # By another order of summation a stack's numbers are not those of the run alone to the last bit; those of what
        # ends at this epoch in the same company are.
        again, short, _ = stacked(best, best)
        assert again[place] == curves[place][:best] and told[place][best] == short[place][best]


def test_measuring_with_other_weights_leaves_a_stack_as_it_was(settings: Settings):
    configs = [SOON.with_(dropout=rate) for rate in (0.0, 0.3)]
    made = stacked_training.StackedSession(configs, data.load(SOON, settings))
    before, plain = made.states(), made.measure("test")
    other = [np.array(array) * 1.5 for array in before[1][:made.variables[1]]]
    found = made.measure_with("test", {1: other})
    assert found[0].tolist() == plain[0].tolist() and found[1].tolist() != plain[1].tolist()
    assert all(np.array_equal(*pair) for one, two in zip(before, made.states(), strict=True)
               for pair in zip(one, two, strict=True))
    assert made.measure("test").tolist() == plain.tolist()


def test_a_checkpoint_without_best_weights_is_what_it_always_was(tmp_path: Path):
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3)]
    checkpoints.save(tmp_path, "a", 2, arrays)
    with np.load(tmp_path / "a.npz") as archive:
        assert archive.files == ["about", "v0000", "v0001"]
        assert str(archive["about"]) == '{"run_id": "a", "epoch": 2, "arrays": 2}'


# -- what of it is shown of a run ------------------------------------------------------------------------------


def history(*val: float):
    return table({"epoch": epoch, "train_crossentropy": 0.1, "val_crossentropy": value, "val_accuracy": value,
                  "train_accuracy": 0.9, "seconds": 1} for epoch, value in enumerate(val, 1))


def score(epoch: int) -> dict:
    return {"epoch": epoch, "test_crossentropy": epoch / 10, "test_accuracy": epoch / 100}


@pytest.mark.parametrize(("val", "known", "again", "best", "last"), [
    ((0.5, 0.3, 0.4), (2, 3), 0, 0.02, 0.03),
    ((0.5, 0.3, 0.4), (3,), 0, None, 0.03),  # a run of an earlier version
    ((0.5, 0.3, 0.2), (3,), 0, 0.03, 0.03),
    ((0.1, 0.5, 0.3, 0.4), (1, 4), 1, None, 0.04),  # the best epoch of the run is not among those that are shown
    ((0.6, 0.5, 0.3, 0.4), (3, 4), 1, 0.03, 0.04),
    ((), (), 0, None, None)])
def test_a_result_has_the_scores_of_its_own_epochs(val, known, again, best, last):
    entry = ComparedRun(SOON, Demand(9), again=again)
    found = entry.result(entry.shown(history(*val)), map(score, known))
    assert (found.best_test_accuracy, found.test_accuracy) == (best, last) if val else found is None


def test_validated_on_the_test_set_a_result_has_both_scores():
    found = ComparedRun(SOON.with_(validation="test"), Demand(3)).result(history(0.5, 0.3, 0.4), ())
    assert (found.best_test_accuracy, found.test_accuracy) == (0.3, 0.4)
