from __future__ import annotations

import numpy as np
import pytest

from tdn.doctor import dali, pictures, video
from tdn.doctor.video import CODECS, Trial, encoded, judge, shade, try_codec


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_decoded_on_the_cpu(codec):
    trial = try_codec(codec, gpu=False)
    assert trial.problem == ""
    assert trial.codec == codec
    assert "CPU" in trial.decoder


def test_dali_and_pyav_see_the_same_frames():
    file = encoded("vp9")
    by_dali = dali.decode_video(file, [5, 0, 5], gpu=False)
    by_pyav = video._decode_by_pyav(file)[[5, 0, 5]]
    assert by_dali.shape == by_pyav.shape
    assert np.abs(by_dali.mean((1, 2, 3)) - by_pyav.mean((1, 2, 3))).max() < 4
    assert abs(by_dali[1].mean() - shade(0)) < 12


@pytest.mark.parametrize(
    ("decode", "word"),
    [
        (lambda file: video._decode_by_pyav(file)[::-1], "frame"),
        (lambda file: video._decode_by_pyav(file) * 0, "frame"),
        (lambda file: video._decode_by_pyav(file)[:3], "(3,"),
        (lambda file: video._decode_by_pyav(file[:100]), ""),
    ],
)
def test_a_decoder_that_is_wrong_is_noticed(decode, word):
    problem = video._problem(decode, encoded("mjpeg"))
    assert problem
    assert word in problem


def test_a_codec_that_cannot_be_made_here_may_still_be_decoded(monkeypatch):
    odd = video.Codec("no_such_encoder", "mp4", ".mp4", "yuv420p", {})
    monkeypatch.setitem(video.CODECS, "hevc", odd)
    trial = try_codec("hevc", gpu=False)
    assert trial.problem == ""
    assert "untried" in trial.decoder
    monkeypatch.setitem(video.CODECS, "nosuchcodec", odd)
    assert try_codec("nosuchcodec", gpu=False).problem


def test_codecs_are_told_by_decoder():
    trials = [Trial("h264", "DALI with NVDEC"), Trial("vp9", "DALI with NVDEC")]
    trials += [Trial("mpeg4", "PyAV on the CPU")]
    (finding,) = judge(trials, gpu=True)
    assert finding.level == "ok"
    assert "h264, vp9 by DALI with NVDEC" in finding.found
    assert "mpeg4 by PyAV" in finding.found


@pytest.mark.parametrize(
    ("trial", "level", "remedy"),
    [
        (Trial("h264", "DALI with NVDEC", "no decoder"), "fail", "NVIDIA_DRIVER_CAPABILITIES"),
        (Trial("av1", "DALI with NVDEC", "not supported"), "warn", "tdn transcode"),
        (Trial("vp9", "DALI on the CPU", "undefined symbol"), "fail", "nvidia-dali-cuda130"),
        (Trial("mpeg4", "PyAV on the CPU", "no decoder for it"), "warn", "--force-reinstall"),
    ],
)
def test_codecs_that_cannot_be_decoded(trial, level, remedy):
    found = list(judge([trial, Trial("mjpeg", "PyAV on the CPU")], gpu="NVDEC" in trial.decoder))
    assert [finding.level for finding in found] == [level, "ok"]
    assert trial.codec in found[0].found
    assert trial.problem in found[0].found
    assert remedy in found[0].remedy


def test_codecs_that_fail_alike_are_one_finding():
    trials = [Trial(codec, "DALI with NVDEC", "CUDA is not available") for codec in ("av1", "vp9")]
    (finding,) = judge(trials, gpu=True)
    assert finding.level == "fail"
    assert "av1, vp9" in finding.found
    assert "--gpus all" in finding.remedy


def test_dali_runs():
    (finding,) = dali.check()
    assert finding.level == "ok"
    assert dali.__version__ in finding.found


@pytest.mark.parametrize(
    ("gpu", "problem", "remedy"),
    [
        (True, "CUDA driver version is insufficient for CUDA runtime version", "driver to 580"),
        (True, "CUDA is not available. Please install CUDA", "--gpus all"),
        (False, "libdali.so: cannot allocate memory in static TLS block", "nvidia-dali-cuda130"),
    ],
)
def test_dali_that_does_not_run(gpu, problem, remedy):
    finding = dali.judge(dali.Trial("2.4.0", gpu, problem))
    assert finding.level == "fail"
    assert problem in finding.found
    assert remedy in finding.remedy


def test_a_pipeline_that_gives_something_else_is_noticed(monkeypatch):
    monkeypatch.setattr(dali, "_run", lambda _define, picture, _gpu: picture)
    (finding,) = dali.check()
    assert finding.level == "fail"


def test_the_reason_that_dali_gives():
    with pytest.raises(RuntimeError) as error:
        dali.decode_video(b"no video at all" * 10, [0], gpu=False)
    reason = dali.reason(error.value)
    assert reason
    assert "\n" not in reason
    assert "Stacktrace" not in reason
    assert "frame 0" not in reason
    assert dali.reason(RuntimeError()) == "RuntimeError"


def test_a_jpeg_is_decoded():
    (finding,) = pictures.check()
    assert finding.level == "ok"


def test_a_jpeg_decoded_into_something_else_is_noticed(monkeypatch):
    decode = dali.decode_picture
    monkeypatch.setattr(dali, "decode_picture", lambda *given: decode(*given)[:, ::-1])
    (finding,) = pictures.check()
    assert finding.level == "fail"
    monkeypatch.setattr(dali, "decode_picture", lambda *given: decode(*given)[:1])
    (finding,) = pictures.check()
    assert finding.level == "fail"
    assert "not what was encoded" in finding.found


@pytest.mark.parametrize(("gpu", "package"), [(True, "nvidia-nvjpeg"), (False, "nvidia-dali")])
def test_a_jpeg_that_is_not_decoded(gpu, package):
    finding = pictures.judge("libnvjpeg.so.13 not found", gpu)
    assert finding.level == "fail"
    assert package in finding.remedy
