from __future__ import annotations

import errno
import fcntl

import pytest

from tdn.errors import UserError
from tdn.pipelines.indexing.journal import Journal
from tdn.pipelines.indexing.probe import Probe
from tests.permissions import bound_by_permissions

FOUND = {
    "/videos/a b.mp4": Probe(frames=12, width=128, height=96, codec="vp9", size=7, mtime=10**18),
    "/videos/ü.mp4": Probe(problem="is empty (0 bytes)", mtime=3),
    "/shards/s.tar\x00512": Probe(frames=3, codec="jpeg", template="{:05d}.jpg", first=1),
}


@pytest.fixture
def journal(tmp_path):
    """A journal of three clips that was not finished."""
    journal = Journal(tmp_path / "new" / "m.arrow", "")
    write(journal, FOUND)
    return journal


def write(journal: Journal, found: dict[str, Probe]) -> None:
    with journal.opened() as note:
        for key, probe in found.items():
            note(key, probe)


def test_what_was_noted_is_read(journal):
    assert journal.read() == FOUND
    assert Journal(journal.manifest, "").read() == FOUND
    write(journal, {"c": Probe(frames=1)})
    assert journal.read() == {**FOUND, "c": Probe(frames=1)}


def test_the_later_note_of_a_clip_counts(journal):
    write(journal, {"/videos/a b.mp4": Probe(frames=99)})
    assert journal.read() == {**FOUND, "/videos/a b.mp4": Probe(frames=99)}


def test_wherever_it_is_cut_off_whole_lines_are_kept_and_it_goes_on(journal):
    whole = journal.path.read_bytes()
    ends = [end for end in range(len(whole) + 1) if whole[:end].endswith(b"\n")]
    for size in range(0, len(whole) + 1, 7):
        journal.path.write_bytes(whole[:size])
        complete = sum(end <= size for end in ends) - 1  # without the first line
        expected = dict(list(FOUND.items())[: max(complete, 0)])
        assert journal.read() == expected
        write(journal, {"c": Probe(frames=1)})
        assert journal.read() == {**expected, "c": Probe(frames=1)}


@pytest.mark.parametrize("damage", [b"\0" * 600, b"[]\n", b"{}\n", b"7\n", b'["a"', b'["a", 1]\n'])
def test_damage_ends_it(journal, damage):
    """As a machine leaves files that loses its power."""
    with journal.path.open("ab") as file:
        file.write(damage + journal.path.read_bytes())
    assert {key: journal.read()[key] for key in FOUND} == FOUND
    write(journal, {"c": Probe(frames=1)})
    assert journal.read()["c"] == Probe(frames=1)
    assert journal.path.read_bytes().splitlines()[-1].startswith(b'["c"')


def test_another_versions_or_templates_is_begun_anew(journal):
    other = Journal(journal.manifest, "img_{:05d}.jpg")
    assert other.read() == {}
    write(other, {"c": Probe(frames=1)})
    assert other.read() == {"c": Probe(frames=1)}
    assert journal.read() == {}
    journal.path.write_text('{"tdn journal": ["frames"], "template": ""}\n["a", 5]\n')
    assert journal.read() == {}


def test_only_one_process_writes_it(journal):
    with journal.opened() as note:
        with pytest.raises(UserError, match=r"m\.arrow.*another process"), journal.opened():
            pass
        note("c", Probe(frames=1))
    assert journal.read() == {**FOUND, "c": Probe(frames=1)}
    write(journal, {"d": Probe(frames=2)})


def test_without_locks_nothing_is_noted(journal, monkeypatch, caplog):
    """Two processes would mix their lines."""

    def no_locks(_file, _operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    write(journal, {"c": Probe(frames=1)})
    assert journal.read() == FOUND
    assert str(journal.path) in caplog.text


def test_a_folder_that_cannot_be_written_is_named(public_folder):
    public_folder.chmod(0o555)
    for manifest in (public_folder / "m.arrow", public_folder / "new" / "m.arrow"):
        told = pytest.raises(UserError, match=r"m\.arrow: cannot be written")
        with bound_by_permissions(), told, Journal(manifest, "").opened():
            pass


def test_errors_of_others_are_not_the_journals(journal):
    with pytest.raises(ConnectionError), journal.opened():
        raise ConnectionError


def test_it_can_be_removed_and_there_may_be_none(journal):
    for _ in range(2):
        journal.remove()
        assert not journal.path.exists()
        assert journal.read() == {}
