from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from benchmarks import kernels
from benchmarks.harness.rows import read_results
from benchmarks.harness.timing import quantiles
from benchmarks.operations import catalogue, rewritten
from benchmarks.operations.accuracy import accuracy, expected
from benchmarks.operations.catalogue import (
    BlockEvaluation,
    BlockTraining,
    Fusion,
    GatedMix,
    Mixing,
    Operation,
    Size,
    Stem,
)
from benchmarks.operations.contestants import GRAPHS, PEERS, Contestant, new_operation, new_samples
from benchmarks.operations.launches import sort_launches
from benchmarks.operations.table import report
from tdn.kernels import backend
from tests.kernels.agreement import DEVICE

TINY = ("--tiny", "--device", DEVICE, "--minutes", "4")


def run(tmp_path, *arguments):
    """Exit status and rows."""
    output = tmp_path / "rows.jsonl"
    status = kernels.main([*TINY, "--output", str(output), *arguments])
    return status, [result.row | result.where for result in read_results(output)]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    return run(tmp_path_factory.mktemp("kernels"))


def test_all_are_right(whole_run):
    status, rows = whole_run
    assert status == 0
    measured = [row for row in rows if "left_out" not in row]
    assert all(row["right"] and row["ms"] > 0 and row["gb_per_s"] >= 0 for row in measured)
    for row in measured:
        exact = row["dtype"] == "float32" and DEVICE == "cpu"
        assert row.get("result_error", 0) < (1e-6 if exact else 0.01)
        assert row.get("gradient_error", 0) < (1e-5 if exact else 0.03)


def test_every_operation_has_a_row_for_every_mode_and_peer(whole_run):
    _, rows = whole_run
    found = {(row["operation"], row["mode"], row["peer"]) for row in rows}
    assert len(found) == len(rows)
    for operation in catalogue.OPERATIONS:
        kinds = operation(Size(16, 4, 1), torch.float32).functions()
        peers = [p for p in PEERS if p.kind in kinds and p.layout in operation.layouts]
        expected = {(operation.name, m, p.name) for m in operation.modes for p in peers}
        if operation.graphs:
            expected |= {(operation.name, operation.modes[-1], p.name) for p in GRAPHS}
        assert {place for place in found if place[0] == operation.name} == expected


def test_only_what_needs_a_gpu_is_left_out(whole_run):
    _, rows = whole_run
    left_out = {row["peer"] for row in rows if "left_out" in row}
    needy = {peer.name for peer in (*PEERS, *GRAPHS) if peer.compiled or peer.graph}
    assert left_out == (needy if DEVICE == "cpu" else set())
    assert not any("error" in row for row in rows)


def test_rows_say_where_they_come_from(whole_run):
    _, rows = whole_run
    for row in rows:
        assert row["copy_gb_per_s"] > 0
        for name in ("device", "torch", "triton", "commit", "date"):
            assert row[name]


class Broken(nn.Module):
    def forward(self, *_):
        raise RuntimeError("out of something\nwith details")


def test_a_wrong_peer_is_named(tmp_path, monkeypatch, capsys):
    def reversed_in_time(module):
        return lambda x: rewritten.temporal_conv(x, module.weight.flip(-1), module.num_segments)

    monkeypatch.setattr(catalogue, "literal_shift", reversed_in_time)
    status, rows = run(tmp_path, "--operations", "temporal-conv")
    assert status == 1
    wrong = {row["peer"] for row in rows if row.get("right") is False}
    assert wrong == {"literal AMP"}
    assert "literal AMP" in capsys.readouterr().out.partition("Wrong")[2]


def test_a_wrong_gradient_counts(tmp_path, monkeypatch):
    def without_gradient(module):
        return lambda x: (
            rewritten.temporal_conv(x.detach(), module.weight, module.num_segments)
            + (x - x.detach())
        )

    monkeypatch.setattr(catalogue, "literal_shift", without_gradient)
    status, rows = run(tmp_path, "--operations", "temporal-conv")
    assert status == 1
    (row,) = (row for row in rows if row["peer"] == "literal AMP" and row["mode"] == "backward")
    assert row["gradient_error_of"] == "x"


def test_a_peer_that_fails_does_not_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "literal_shift", lambda _: Broken())
    status, rows = run(tmp_path, "--operations", "temporal-conv")
    assert status == 0
    for row in rows:
        if row["peer"] == "literal AMP":
            assert row["error"] == "RuntimeError: out of something"
        else:
            assert "error" not in row


def test_ours_must_not_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Mixing, "functions", lambda self: {"reference": self.temporal_conv, "ours": Broken()}
    )
    status, _ = run(tmp_path, "--operations", "temporal-conv")
    assert status == 1


def test_without_a_reference_there_are_errors(tmp_path, monkeypatch):
    monkeypatch.setattr(Mixing, "functions", lambda _: {"reference": Broken(), "ours": Broken()})
    status, rows = run(tmp_path, "--operations", "temporal-conv", "fusion")
    assert status == 1
    assert all(("error" in row) == (row["operation"] == "temporal-conv") for row in rows)


def test_what_the_time_is_too_short_for_is_left_out(tmp_path):
    status, rows = run(tmp_path, "--minutes", "0", "--operations", "block-training", "stem")
    assert status == 0
    assert rows
    assert all("left_out" in row for row in rows)


def test_refuses_without_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert kernels.main([]) == 2
    assert "GPU" in capsys.readouterr().err


def test_refuses_to_time_a_cpu(capsys):
    assert kernels.main(["--device", "cpu"]) == 2
    assert "--tiny" in capsys.readouterr().err


SIZES = {
    Stem: Size(3, 10, 2, 3),
    BlockTraining: Size(64, 7, 2, 3),
    BlockEvaluation: Size(48, 7, 2, 3),
    GatedMix: Size(48, 5, 2, 3),
    Mixing: Size(16, 5, 2, 4),
    Fusion: Size(8, 6, 2, 2),
}


@pytest.mark.parametrize("kind", ["rewritten", "literal"])
@pytest.mark.parametrize("operation", SIZES, ids=lambda operation: operation.name)
def test_other_ways_do_the_same(operation: type[Operation], kind):
    """In float64 there is no rounding to hide behind; running statistics move on alike."""
    found = []
    for way in ("reference", kind):
        made = new_operation(operation, SIZES[operation], torch.float64, torch.channels_last, "cpu")
        inputs = made.inputs(torch.Generator().manual_seed(0))
        leaves = [inputs[name].requires_grad_() for name in operation.differentiable]
        functions = made.functions()
        with backend.using("reference"):
            result = functions.get(way, functions["reference"])(*inputs.values())
        results = result if isinstance(result, tuple) else (result,)
        gradients = ()
        if leaves:
            grad = torch.randn(result.shape, generator=torch.Generator().manual_seed(1)).double()
            gradients = torch.autograd.grad(result, (*leaves, *made.parameters()), grad)
        statistics = dict(made.named_buffers()) if way != "literal" else {}
        found.append(((*results, *gradients), statistics))
    (expected, statistics), (values, moved) = found
    for value, right in zip(values, expected, strict=True):
        atol = 1e-6 * right.abs().max().item() + 1e-12  # some gradients are 0 but for rounding
        torch.testing.assert_close(value, right, rtol=1e-6, atol=atol)
    if moved:
        torch.testing.assert_close(moved, statistics, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("peer", [p for p in PEERS if p.compiled], ids=lambda peer: peer.name)
def test_the_compiler_sees_a_block_as_one_graph(peer, monkeypatch):
    """Without generating code, which takes a minute; that is torch's to test."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch.compiler.reset()
    size = SIZES[BlockTraining]
    made = new_operation(BlockTraining, size, peer.dtype, peer.layout, DEVICE)
    contestant = Contestant(peer, made, new_samples(made, peer.layout, DEVICE))
    assert accuracy(contestant, expected(BlockTraining, size, DEVICE)).is_right


def test_ideal_bytes_of_a_block():
    size = Size(128, 56, 1, 2)
    block = BlockTraining(size, torch.bfloat16)
    x = torch.empty(2, 128, 56, 56, dtype=torch.bfloat16)
    ideal = block.ideal_bytes({"x": x})
    parameters = sum(v.nbytes for v in block.parameters())
    assert ideal["forward"] - parameters == x.nbytes * (3 + 16 / 16 + 8 / 64)
    assert ideal["backward"] - 2 * parameters == x.nbytes * (6 + 23 / 16 + 12 / 64)
    assert ideal["both"] == ideal["forward"] + ideal["backward"]


def test_ideal_bytes_read_all_and_write_all():
    made = new_operation(Mixing, Size(16, 4, 1, 2), torch.float32, torch.channels_last, "cpu")
    inputs = made.inputs(torch.Generator())
    x, w = inputs["x"].nbytes, made.temporal_conv.weight.nbytes
    assert made.ideal_bytes(inputs) == {
        "forward": 2 * x + w,
        "backward": 3 * x + 2 * w,
        "both": 5 * x + 3 * w,
    }


def test_launches_are_sorted_by_name():
    convs = [
        "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x64x64",
        "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816dgrad_optimized_bf16>",
        "nvjet_tst_128x64_64x9_1x2_h_bz_coopA_NNT",
        "void at::native::(anonymous namespace)::conv_depthwise2d_forward_kernel<3, float>",
        "void nchwToNhwcKernel<__nv_bfloat16, float>(cudnn::ops::nchw2nhwc_params_t<float>)",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float>",
    ]
    others = [
        "_gated_mix_kernel",
        "_temporal_conv_kernel",
        "triton_red_fused__native_batch_norm_legit_convolution_0",
        "void cudnn::bn_fw_tr_1C11_kernel_NCHW<float, float, int, 512, true, 1, true>",
        "void at::native::batch_norm_collect_statistics_channels_last_kernel<>",
        "void at::native::vectorized_elementwise_kernel<4, at::native::sigmoid_kernel_cuda>",
        "void at::native::multi_tensor_apply_kernel<>",
    ]
    found = sort_launches([*convs, *others, others[0], "Memset (Device)", "Memcpy DtoD"])
    assert (found.convs, found.others, found.memory) == (len(convs), len(others) + 1, 2)
    assert "2 x _gated_mix_kernel" in found.names


def made_up(peer, ms, gpu_ms=None, **columns):
    row = {"operation": "block-training", "shape": "128@56", "clips": 8, "mode": "both"}
    row |= {"features_mb": 51.4, "gb_per_s": 100, "percent_of_copy": 90, "peak_mb": 1}
    row |= {"launches_others": 5, "launches_convs": 4, "ms_low": ms, "ms_high": ms}
    return row | {"peer": peer, "ms": ms, "gpu_ms": gpu_ms or ms, "right": True} | columns


def verdicts(*rows):
    """How the lines begin that mention something."""
    lines = report(rows).splitlines()
    return lambda *words: [
        line.split("  ")[0] for line in lines if all(word in line for word in words)
    ]


def test_targets_are_met_or_missed():
    ours = made_up("ours", 1.0, gpu_ms=0.5)
    eager = made_up("eager AMP channels_last", 3.9, gpu_ms=2.1)
    compiled = made_up("torch.compile", 1.6)
    of = verdicts(ours, eager, compiled)
    assert of("as called", ">= 4") == ["MISSED"]
    assert of("on the GPU alone", ">= 4") == ["met"]
    assert of("as called", ">= 1.5") == ["met"]
    assert of("CUDA graph", ">= 1.5") == ["not measured"]
    assert of("stem") == ["not measured"]
    faster = made_up("torch.compile, rewritten", 0.9)
    of = verdicts(ours, eager, compiled, faster)
    assert of("as called", ">= 1.5") == ["MISSED"]
    assert of("not the fastest")
    assert of("torch.compile, rewritten takes 0.90")


def test_what_is_wrong_sets_no_mark():
    ours, wrong = made_up("ours", 1.0), made_up("torch.compile", 0.1, right=False)
    of = verdicts(ours, wrong)
    assert of("as called", ">= 1.5") == ["not measured"]
    of = verdicts(made_up("ours", 1.0, right=False), made_up("torch.compile", 9.0))
    assert of("as called", ">= 1.5") == ["not measured"]


def test_bandwidth_counts_where_features_are_large():
    place = {"operation": "gated-mix", "mode": "forward"}
    small = made_up("ours", 1.0, features_mb=3.2, percent_of_copy=20, **place)
    large = made_up("ours", 1.0, shape="256@28", percent_of_copy=86, **place)
    assert verdicts(small)("gated mix forward") == ["not measured"]
    assert verdicts(small, large)("gated mix forward") == ["met"]


def test_launches_have_a_limit():
    forward = made_up("ours", 1.0, mode="forward", launches_others=13)
    assert verdicts(forward)("block training forward", "<= 12") == ["MISSED"]
    more = made_up("ours", 1.0, mode="forward", launches_others=11, clips=32)
    (line,) = (line for line in report([forward, more]).splitlines() if "<= 12" in line)
    assert line.endswith("1 of 2, max 13 (128@56, 8 clips)")
    uncounted = made_up("ours", 1.0, mode="forward", launches_others=None)
    assert verdicts(uncounted)("block training forward", "<= 12") == ["not measured"]


def test_quantiles():
    assert quantiles([2.0]) == (2, 2, 2)
    assert quantiles([float(v) for v in range(11)]) == (5, 2, 8)


def test_peers_have_names_of_their_own():
    names = [peer.name for peer in (*PEERS, *GRAPHS)]
    assert len(set(names)) == len(names)
