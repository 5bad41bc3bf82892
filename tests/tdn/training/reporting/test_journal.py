from __future__ import annotations

import pytest

from tdn.errors import UserError
from tdn.training.reporting.journal import Journal
from tdn.training.saving.run_folder import RunFolder
from tests.tdn.synthetic import tiny_config
from tests.tdn.training.reporting.events import steps_in, train_event


def test_a_full_disk_is_one_line(tmp_path, full_disk):
    config = tiny_config(str(tmp_path))
    with Journal(RunFolder(tmp_path), config, 5, 0, is_main=True) as journal:
        journal.record(**train_event(1))
        with full_disk(after=10), pytest.raises(UserError, match=str(tmp_path)) as error:
            journal.record(**train_event(2))
    assert "\n" not in str(error.value)
    assert steps_in(tmp_path / "log.jsonl") == [1]


def test_other_processes_write_nothing(tmp_path, capsys):
    config = tiny_config(str(tmp_path), logging__tensorboard=True)
    with Journal(RunFolder(tmp_path), config, 5, 0, is_main=False) as journal:
        journal.record(**train_event(5))
        journal.advance()
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""
