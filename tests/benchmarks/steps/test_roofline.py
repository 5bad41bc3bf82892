from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from benchmarks.steps import roofline
from benchmarks.steps.launches import covered, of_events
from benchmarks.steps.peers import OURS, StepSize, make_step
from benchmarks.steps.roofline import MARK, Part, marked_ms, moved_bytes, roofline_rows, take_apart
from tdn.training.precision import choose_precision

CPU = torch.device("cpu")
TINY = StepSize("tdn_resnet10", 2, 48, 1)


def test_a_product_of_matrices_and_a_sum_by_hand():
    """2 x 4 x 8 x 16 operations and 4 x 8 + 8 x 16 + 4 x 16 numbers; 64 numbers and their sum."""
    a, b = torch.randn(4, 8), torch.randn(8, 16)
    parts = take_apart(lambda: (a @ b).sum(), "cpu", rate=1e3, copy=1e6)
    product = parts["aten.mm"]
    assert (product.calls, product.flops) == (1, 1024)
    assert product.bytes == 4 * (32 + 128 + 64)
    assert product.ideal_ms == pytest.approx(1024.0)  # its operations take longer than its bytes
    total = parts["aten.sum"]
    assert (total.flops, total.bytes) == (0, 4 * 65)
    assert total.ideal_ms == pytest.approx(0.26)
    assert product.ms > 0


def test_what_is_written_in_place_is_read_as_well():
    a, b = torch.randn(64), torch.randn(64)
    parts = take_apart(lambda: a.add_(b).relu_(), "cpu", rate=1e9, copy=1e9)
    assert parts["aten.add_"].bytes == 3 * 256
    assert parts["aten.relu_"].bytes == 2 * 256
    weights, momenta = ([torch.zeros(64)] for _ in range(2))
    numbers = {"weight_decay": 0.0, "momentum": 0.9, "lr": 0.1, "dampening": 0.0}
    flags = {"nesterov": False, "maximize": False, "is_first_step": False}
    parts = take_apart(
        lambda: torch._fused_sgd_(weights, [b], momenta, **numbers, **flags), "cpu", 1e9, 1e9
    )
    assert parts["aten._fused_sgd_"].bytes == 5 * 256


def test_all_peers_are_measured_by_the_same_rates(monkeypatch):
    made = []
    monkeypatch.setattr(roofline, "Clock", lambda *_: made.append(1) or SimpleNamespace(copy=7.0))
    monkeypatch.setattr(roofline, "matrix_rate", lambda *_: 5.0)
    rates = roofline.Rates(torch.device("cpu"))
    precision = choose_precision("fp32", torch.device("cpu"))
    for _ in range(2):
        assert (rates.copy, rates.matrix(precision)) == (7e9, 5.0)
    assert len(made) == roofline.CLOCKS + 1


def test_both_passes_and_the_update_are_taken_apart():
    parts = take_apart(make_step(OURS.without_gpu(), TINY, CPU), "cpu", 1e12, 1e10)
    assert parts["aten.convolution_backward"].flops > parts["aten.convolution"].flops > 0
    assert any("sgd" in name for name in parts)


def test_what_is_shown_again_and_again_is_moved_once():
    assert moved_bytes(torch.zeros(3, 1).expand(3, 100)) == 12
    both = torch.zeros(4, 8)
    assert moved_bytes([both, (both, torch.zeros(2))]) == 4 * (32 + 2)


def event(name, device=DeviceType.CPU, start=0.0, end=0.0, annotation=False, **totals):
    return SimpleNamespace(
        name=name,
        device_type=device,
        is_user_annotation=annotation,
        time_range=SimpleNamespace(start=start, end=end),
        **totals,
    )


def test_operators_are_timed_where_the_program_marks_them():
    name, on_gpu = f"{MARK}aten.mm", DeviceType.CUDA
    events = [
        event(name, annotation=True, cpu_time_total=900, device_time_total=200),
        event(name, on_gpu, annotation=True, cpu_time_total=0, device_time_total=700),
        event(name, annotation=True, cpu_time_total=100, device_time_total=50),
        event("aten::mm", cpu_time_total=100, device_time_total=50),
    ]
    assert marked_ms(events, "cuda") == {"aten.mm": 0.25}
    assert marked_ms(events, "cpu") == {"aten.mm": 1.0}


def test_it_is_said_where_the_profiler_counts_more_than_there_is():
    parts = {name: Part(1, 1, 1, 1.0, [60.0]) for name in ("aten.mm", "aten.add")}
    for ms, doubted in ((115.0, False), (100.0, True)):
        whole, *_ = roofline_rows({}, parts, [ms], 1e9, 1e9)
        assert ("profiler" in whole) == doubted


def test_launches_kernels_and_copies_are_told_apart():
    gpu = DeviceType.CUDA
    events = [
        event("Optimizer.step#SGD.step", gpu, 0, 100, annotation=True),
        event("Optimizer.step#SGD.step", annotation=True),
        event("cudaLaunchKernel"),
        event("cuLaunchKernelEx"),
        event("cudaGraphLaunch"),
        event("cudaMemcpyAsync"),
        event("cudaStreamSynchronize"),
        *[event("sm90_gemm", gpu, start, start + 10) for start in (0, 10, 40, 50)],
        event("Memcpy HtoD (Pinned -> Device)", gpu, 20, 30),
        event("Memset (Device)", gpu, 60, 64),
        event("Memcpy DtoH (Device -> Pinned)", gpu, 64, 70),
    ]
    row = of_events(events, 2)
    assert (row["launches"], row["kernels"], row["copies"]) == (1.5, 2, 1.5)
    assert row["copy_ms"] == 0.005
    assert row["gpu_busy_percent"] == pytest.approx(100 * 60 / 70, abs=0.1)


@pytest.mark.parametrize(
    ("spans", "length"),
    [([(0, 1), (2, 3)], 2), ([(0, 2), (1, 3)], 3), ([(0, 5), (1, 2)], 5), ([(1, 2), (0, 1)], 2)],
)
def test_time_that_spans_cover_together(spans, length):
    for order in itertools.permutations(spans):
        assert covered(order) == length
