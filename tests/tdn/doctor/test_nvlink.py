from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tdn.doctor import nvlink
from tdn.doctor.nvlink import judge, read, slowest

STATUS = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1b2c3d4e)
\t Link 0: 26.562 GB/s
\t Link 1: 26.562 GB/s
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-5f6a7b8c)
\t Link 0: 26.562 GB/s
\t Link 1: <inactive>
"""


def test_links_of_each_gpu():
    assert read(STATUS) == ((26.562e9, 26.562e9), (26.562e9,))
    assert slowest(read(STATUS)) == 26.562e9
    assert read("GPU 0: Tesla T4 (UUID: GPU-1)\n") == ((),)
    assert read("No devices were found\n") == ()
    assert slowest(()) == 0


@given(st.text())
def test_anything_else_is_no_link(text):
    assert all(links == () for links in read(text))


def test_the_gpu_with_fewer_links_is_named():
    (finding,) = judge(read(STATUS))
    assert finding.level == "warn"
    assert "gpu 1" in finding.name
    assert list(judge([(1.0,), (1.0,)])) == []
    assert list(judge([])) == []


def test_nvidia_smi_is_asked(tmp_path, monkeypatch):
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n[ \"$*\" = 'nvlink --status' ] && cat <<'END'\n{STATUS}END\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert nvlink.look() == read(STATUS)
    command.write_text("#!/bin/sh\nexit 9\n")
    assert nvlink.look() == ()
