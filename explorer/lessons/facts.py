"""Numbers in a lesson's text: read off its runs as they are trained here, so that none is written in advance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from explorer.config.fields import plain
from explorer.config.metrics import NEAR_ZERO
from explorer.lessons import Part, Text


@dataclass(frozen=True)
class Facts:
    """What a text may say of a part, as `{here.rows[0]}` or `{parts[1].noise[2]}`: texts, a list has one for each run.

    With embedded data in the place of the source's, these are the embedded data's.
    """

    part: Part

    def _each(self, *fields: str) -> list[str]:
        """The value of the first of these settings that a run has, run by run."""
        return [plain(next((value for field in fields if (value := getattr(config, field))), 0))
                for config, _ in self.part.runs]

    @cached_property
    def parameters(self) -> list[str]:
        return self._each("parameters")

    @property
    def times(self) -> str:
        """How many times as many parameters the largest network has as the smallest."""
        counts = [config.parameters for config, _ in self.part.runs]
        return plain(round(max(counts) / min(counts)))

    @property
    def rows(self) -> list[str]:
        """Training examples."""
        return self._each("rows")

    @property
    def test_rows(self) -> str:
        return plain(self.part.runs[0][0].info.test_rows)

    @property
    def one_test(self) -> str:
        """What one of the test examples is of the test accuracy."""
        return f"{100 / self.part.runs[0][0].info.test_rows:.2g}%"

    @property
    def words(self) -> list[str]:
        return self._each("num_words")

    @property
    def layers(self) -> str:
        return plain(len(self.part.runs[0][0].hidden))

    @property
    def units(self) -> list[str]:
        """Of the first hidden layer."""
        return [plain(config.hidden[0]) for config, _ in self.part.runs]

    @property
    def epochs(self) -> list[str]:
        return [plain(demand.epochs) for _, demand in self.part.runs]

    @property
    def patience(self) -> list[str]:
        return [plain(demand.patience or 0) for _, demand in self.part.runs]

    @property
    def first(self) -> list[str]:
        """The number that an epoch that is shown as the first has in truth."""
        return [plain(entry.again + 1) for entry in self.part.entries()]

    @property
    def last(self) -> list[str]:
        """The number that the last epoch has in truth."""
        return [plain(entry.asked.epochs) for entry in self.part.entries()]

    @property
    def dropout(self) -> list[str]:
        return [f"{config.dropout:.0%}" for config, _ in self.part.runs]

    @property
    def noise(self) -> list[str]:
        """Share of the training labels that are wrong."""
        return [f"{config.label_noise:.0%}" for config, _ in self.part.runs]

    @property
    def sure(self) -> list[str]:
        """How sure even a perfect learner should be, with as many wrong labels."""
        return [f"{1 - config.label_noise:g}" for config, _ in self.part.runs]

    @property
    def floor(self) -> list[str]:
        """What being no surer than that costs on a correct label, in cross-entropy."""
        return [f"{abs(math.log(1 - config.label_noise)):.2f}" for config, _ in self.part.runs]

    @property
    def penalty(self) -> list[str]:
        """Strength of L2, or of L1 without it."""
        return self._each("l2", "l1")

    @property
    def twice_l2(self) -> list[str]:
        """Strength of the decay that pulls as L2 does: the gradient of λw² is 2λw."""
        return [plain(2 * config.l2) for config, _ in self.part.runs]

    @property
    def decay(self) -> list[str]:
        return self._each("weight_decay")

    @property
    def guessing(self) -> str:
        """Cross-entropy of a blind guess."""
        return f"{math.log(self.part.runs[0][0].info.classes):.2f}"

    @property
    def early(self) -> str:
        """The epoch after which claims look at the curves for the first time."""
        return plain(min((claim.epoch for claim in self.part.claims if claim.epoch), default=0))

    @property
    def near_zero(self) -> str:
        """Weights below this count as near zero."""
        return plain(NEAR_ZERO)


def filled(text: Text, parts: Sequence[Part], number: int) -> Text:
    """A lesson's text with the numbers of its runs.

    Args:
        parts: all parts of the lesson as they are trained here, see `explorer.lessons.presets.available`.
        number: of the part that is shown, from 0.

    Raises:
        AttributeError, IndexError: the text has a field that no part has.
    """
    known = [Facts(part) for part in parts]
    return replace(text, **{name: getattr(text, name).format(here=known[number], parts=known)
                            for name in ("question", "look", "answer")})
