"""Work in threads: in order, bounded, and nothing lost of what was finished."""

import threading
import time

import pytest

from icm.threads import in_threads


def test_results_come_in_order_and_failures_stay_with_their_item():
    def work(number):
        time.sleep(0.02 * (5 - number))
        if number == 2:
            raise ValueError("two")
        return 10 * number

    found = [(item, future.exception() or future.result()) for item, future in in_threads(work, range(5), 5)]
    assert [item for item, _ in found] == list(range(5))
    assert [value for _, value in found if isinstance(value, int)] == [0, 10, 30, 40]
    assert str(found[2][1]) == "two"


@pytest.mark.parametrize("workers", [1, 3])
def test_only_a_few_results_wait_whatever_the_number_of_items(workers):
    begun = []
    for taken, _ in enumerate(in_threads(begun.append, range(100), workers), start=1):
        assert len(begun) <= taken + 2 * workers


def test_nothing_more_starts_once_the_caller_stops():
    begun, release = [], threading.Event()

    def work(number):
        begun.append(number)
        release.wait(5)

    results = in_threads(work, range(50), 2)
    threading.Timer(0.1, release.set).start()
    next(results)
    results.close()
    assert len(begun) <= 6
