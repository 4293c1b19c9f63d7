import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.metrics.lfw import best_threshold, fold_accuracy


def test_thresholds_come_from_the_other_folds():
    scores = np.array([0.1, 0.6, 0.3, 0.9, 0.2, 0.8])
    same = np.array([False, True, False, True, False, True])
    found = fold_accuracy(scores, same, np.array([0, 0, 1, 1, 2, 2]))
    assert found.thresholds.tolist() == pytest.approx([0.55, 0.4, 0.45])
    assert found.folds.tolist() == [1, 1, 1]
    assert (found.mean, found.standard_error) == (1, 0)


def test_the_standard_error_is_that_of_the_mean_over_folds():
    scores, same = np.array([0.9, 0.1, 0.2, 0.8, 0.9, 0.1]), np.array([True, False, True, False, True, False])
    found = fold_accuracy(scores, same, np.array([0, 0, 1, 1, 2, 2]))
    assert found.mean == pytest.approx(found.folds.mean())
    assert found.standard_error == pytest.approx(found.folds.std(ddof=1) / np.sqrt(3))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=15))
def test_no_threshold_is_better(pairs):
    scores, same = np.array([score for score, _ in pairs]), np.array([mate for _, mate in pairs])

    def accuracy(threshold):
        return np.mean((scores >= threshold) == same)

    assert accuracy(best_threshold(scores, same)) == max(accuracy(t) for t in np.arange(-0.5, 7.5))
