"""Splits data without test examples of its own."""

from __future__ import annotations

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import DataError, UsageError

SEED = 0  # always the same, so that no run trains what another one tests with


def split_by_class(labels: Array, share: float, place: str) -> tuple[Array, Array, str]:
    """Draws a share of the examples of each class at random, but always the same ones, for testing.

    Args:
        labels: (n,) integers.
        share: the share for testing, above 0 and below 1.
        place: of the data, for messages.

    Returns:
        The sorted indices of the examples to train and to test with, and a line that says what was done.

    Raises:
        UsageError: the share is not between 0 and 1.
        DataError: no example is left to train or to test with.
    """
    if not 0 < share < 1:
        raise UsageError(f"test_share is {share:g}; expected a share above 0 and below 1")
    random = np.random.default_rng(SEED)
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        (own,) = np.nonzero(labels == label)
        # one at least, if one is left to train with
        count = min(max(round(share * len(own)), 1), len(own) - 1)
        is_test[random.permutation(own)[:count]] = True
    train, test = np.nonzero(~is_test)[0], np.nonzero(is_test)[0]
    if not len(test):
        raise DataError(f"{place}: found {len(labels)} examples, too few to test with some of each class")
    note = (
        f"{place}: there are no test examples; {share:.3g} of each class, drawn at random (seed {SEED}), are for "
        f"testing: {len(train):,} to train with, {len(test):,} to test with"
    )
    return train, test, note
