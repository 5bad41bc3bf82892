from __future__ import annotations

import pytest

from tdn.launcher.statuses import shell_status, status_after_request, status_of_failure


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([], 75),  # before there were processes
        ([75, 75], 75),
        ([0, 0], 0),
        ([0, 75], 75),
        ([-15, -10, 75], 128 + 10),  # SIGUSR1 is none of ours
        ([-15, -12, 75], 75),  # before they heeded signals
        ([75, 1], 1),
        ([75, None], 137),
        ([-11, 75], 139),
    ],
)
def test_a_request_counts_as_one_unless_something_failed(statuses, status):
    assert status_after_request(statuses) == status


@pytest.mark.parametrize(
    ("statuses", "status"), [([2, -15], 2), ([-15, 2], 2), ([-9, 1], -9), ([-15, -15], -15)]
)
def test_the_first_failure_counts_unless_it_was_told_to_end(statuses, status):
    assert status_of_failure(statuses) == status


def test_a_signal_is_told_as_shells_do():
    assert [shell_status(status) for status in (0, 2, -9)] == [0, 2, 137]
