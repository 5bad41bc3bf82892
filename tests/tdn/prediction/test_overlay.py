from __future__ import annotations

import av
import numpy as np
import pytest

from tdn.cli import main
from tdn.errors import UserError
from tdn.prediction.overlay import write_overlay
from tdn.prediction.predictor import Predictor
from tests.corpus import encode, uneven_times
from tests.videos import read_number, write_video


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor(checkpoint, device="cpu")


def packets(path):
    with av.open(str(path)) as container:
        return [(bytes(p), p.pts * p.time_base) for p in container.demux(audio=0) if p.size]


def test_a_phones_video_stays_upright_and_keeps_its_sound(predictor, videos, tmp_path):
    (found,) = predictor([videos[1]], window=1)
    output = tmp_path / "drawn" / "phone.mp4"
    write_overlay(found, output)
    with av.open(str(output)) as container:
        frames = list(container.decode(video=0))
    pictures = [frame.to_ndarray(format="rgb24") for frame in frames]
    assert pictures[0].shape == (132, 74, 3)
    assert len(pictures) == 30
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 12, atol=1e-3)
    # What is written covers the lower half; the upper one shows the lower bits.
    assert [read_number(picture) & 15 for picture in pictures] == [n & 15 for n in range(30)]
    assert any((p[-40:, :, 1] > p[-40:, :, 0].astype(int) + 60).any() for p in pictures)  # a bar
    sound, original = packets(output), packets(videos[1])
    assert [data for data, _ in sound] == [data for data, _ in original][-len(sound) :]
    assert len(original) - len(sound) <= 1  # the encoder's priming, before the first frame
    shift = {
        round(float(o - s), 3) for (_, s), (_, o) in zip(sound[::-1], original[::-1], strict=False)
    }
    assert len(shift) == 1


def test_what_is_shown_follows_the_windows(predictor, videos, tmp_path, monkeypatch):
    from tdn.prediction import overlay

    (found,) = predictor([videos[0]], window=1, every=1)
    shown = []
    monkeypatch.setattr(
        overlay, "_draw", lambda picture, guesses: (shown.append(guesses), picture)[1]
    )
    write_overlay(found, tmp_path / "o.mp4", top=2)
    assert len(shown) == 40
    for number, guesses in enumerate(shown):
        around = [
            w.probabilities
            for w in found.windows
            if w.first_frame <= number < w.first_frame + w.frames
        ]
        assert guesses == found.top(2, np.mean(around, axis=0))


def test_frames_between_windows_show_nothing(predictor, videos, tmp_path):
    (found,) = predictor([videos[0]], window=0.5, every=1.5)
    covered = {n for w in found.windows for n in range(w.first_frame, w.first_frame + w.frames)}
    write_overlay(found, tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    dark = {n for n, picture in enumerate(pictures) if picture[-4:, :20].min() < 90}
    assert dark == covered
    assert 0 < len(covered) < 40


@pytest.mark.parametrize(
    ("suffix", "encoder", "kept"),
    [(".mkv", "libmp3lame", "mp3"), (".mkv", "flac", "flac"), (".avi", "pcm_s16le", None)],
)
def test_sound_is_kept_where_mp4_holds_it_and_else_told(
    checkpoint, tmp_path, capsys, suffix, encoder, kept
):
    path = write_video(
        (tmp_path / "a").with_suffix(suffix), 24, codec="mpeg4", size=(48, 64), audio=encoder
    )
    output = tmp_path / "o.mp4"
    words = ["predict", str(path), "--checkpoint", str(checkpoint), "--device", "cpu"]
    assert main([*words, "--overlay", str(output)]) == 0
    told = capsys.readouterr().err
    with av.open(str(output)) as container:
        names = [stream.codec_context.codec.canonical_name for stream in container.streams.audio]
    assert names == ([kept] if kept else [])
    if kept:
        assert told == ""
        assert len(packets(output)) > 15
    else:
        assert told.count("\n") == 1
        assert encoder in told


def test_frames_are_shown_at_their_own_times(predictor, tmp_path):
    times = uneven_times()
    path = encode(tmp_path / "a.mkv", "h264", len(times), size=(48, 64), times=times)
    write_overlay(predictor([path])[0], tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        found = [frame.time for frame in container.decode(video=0)]
    expected = (np.array(times) - times[0]) / 1000
    np.testing.assert_allclose(np.array(found) - found[0], expected, atol=2e-3)


@pytest.mark.parametrize("codec", ["vp9", "mjpeg"])
def test_odd_sizes_and_other_codecs(predictor, tmp_path, codec):
    path = write_video(tmp_path / "a", 8, codec=codec, size=(75, 101), audio=codec == "vp9")
    write_overlay(predictor([path])[0], tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert [(f.height, f.width) for f in container.decode(video=0)] == [(74, 100)] * 8
        assert len(container.streams.audio) == (codec == "vp9")


def test_a_folder_of_frames_is_drawn(predictor, videos, tmp_path):
    write_overlay(predictor([videos[2]])[0], tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert len(list(container.decode(video=0))) == 24


def test_a_video_that_is_gone_leaves_no_file(predictor, tmp_path):
    path = write_video(tmp_path / "a", 8)
    (found,) = predictor([path])
    path.unlink()
    with pytest.raises(UserError, match=str(path)):
        write_overlay(found, tmp_path / "o.mp4")
    assert list(tmp_path.iterdir()) == []


def test_the_command_names_what_it_draws(checkpoint, videos, tmp_path, capsys):
    words = ["predict", "--checkpoint", str(checkpoint), "--device", "cpu", "--overlay"]
    assert main([*words, str(tmp_path / "one.mp4"), str(videos[0])]) == 0
    same = tmp_path / "other" / videos[0].name
    same.parent.mkdir()
    same.write_bytes(videos[0].read_bytes())
    assert main([*words, str(tmp_path / "many"), str(videos[0]), str(same)]) == 0
    assert sorted(p.name for p in (tmp_path / "many").iterdir()) == ["a-2.mp4", "a.mp4"]
    printed = capsys.readouterr().out
    assert str(tmp_path / "one.mp4") in printed
    for wrong in ("o.avi", "o.webm"):
        assert main([*words, str(tmp_path / wrong), str(videos[0])]) == 2
    assert main([*words, str(tmp_path / "two.mp4"), str(videos[0]), str(same)]) == 2
    assert not {"o.avi", "o.webm", "two.mp4"} & {path.name for path in tmp_path.iterdir()}


def test_nothing_is_overwritten_and_told_so_before_any_work(videos, tmp_path, capsys):
    """The checkpoint is not there, which is told only where --overlay fits."""
    folder = tmp_path / "mine"
    folder.mkdir()
    one, two = (folder / name for name in ("one.mp4", "two.mp4"))
    for path in (one, two):
        path.write_bytes(videos[1].read_bytes())
    link = tmp_path / "link.mp4"
    link.symlink_to(one)
    other = tmp_path / "other"
    other.mkdir()
    (other / "two.mp4").write_text("of another day")
    (tmp_path / "file").write_text("no folder")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for given, overlay, named in (
        (one, one, one),
        (one, link, link),
        (link, one, one),
        (folder, folder, one),
        (folder, other, other / "two.mp4"),
        (folder, tmp_path / "file", tmp_path / "file"),
        (one, tmp_path / "file" / "o.mp4", tmp_path / "file"),
        (folder, tmp_path / "o.mp4", tmp_path / "o.mp4"),
    ):
        words = ["predict", str(given), "--checkpoint", str(tmp_path / "none.pt")]
        assert main([*words, "--overlay", str(overlay)]) == 2
        told = capsys.readouterr().err
        assert str(named) in told
        assert told.count("\n") == 1
        assert "none.pt" not in told
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main([*words, "--overlay", str(tmp_path / "new")]) == 2
    assert "none.pt" in capsys.readouterr().err


def test_a_video_is_not_replaced_by_its_own_overlay(predictor, videos, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(videos[1].read_bytes())
    (found,) = predictor([path])
    with pytest.raises(UserError, match=r"a\.mp4"):
        write_overlay(found, path)
    assert path.read_bytes() == videos[1].read_bytes()
