"""From a data set to what one run fits, validates on and is scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explorer.config.run_config import RunConfig
from explorer.data.rows import Examples

# Label noise has a stream of its own, so that more of it flips the same labels and some more.
NOISE_STREAM = 7_919


@dataclass(frozen=True)
class Prepared:
    """The three parts of the data that a run sees.

    Attributes:
        train: fitted; some labels may be flipped.
        validation: watched each epoch; labels as they are.
        test: scored once, at the end. The same as `validation` where the config says `test`.
    """

    train: Examples
    validation: Examples
    test: Examples


def prepare(config: RunConfig, train: Examples, test: Examples) -> Prepared:
    """Split, cut and disturb the data as the config says.

    The validation rows are the last of the training data whatever `train_samples` is, so runs on
    more and fewer examples are measured on the same rows.

    Raises:
        ValueError: the files hold fewer rows than the data set is known to have.
    """
    held_out = config.held_out
    if len(train) < config.rows + held_out:
        raise ValueError(f"{len(train):,} training rows where {config.rows + held_out:,} are needed")
    validation = train.slice(len(train) - held_out, len(train)) if held_out else test
    fitted = train.slice(0, config.rows)
    return Prepared(Examples(fitted.x, flip(fitted.y, config)), validation, test)


def flip(labels: np.ndarray, config: RunConfig) -> np.ndarray:
    """Labels of which `label_noise` are wrong: the other class, or one of the others by chance."""
    count = round(config.label_noise * len(labels))
    if count == 0:
        return labels
    generator = np.random.RandomState([config.seed, NOISE_STREAM])
    chosen = generator.permutation(len(labels))[:count]
    shift = generator.randint(1, config.info.classes, size=len(labels))[chosen]
    noisy = labels.copy()
    noisy[chosen] = (labels[chosen] + shift) % config.info.classes
    return noisy
