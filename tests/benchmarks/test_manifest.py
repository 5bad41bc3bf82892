from __future__ import annotations

from importlib import metadata

from benchmarks.harness.rows import read_results
from benchmarks.manifest import main


def test_a_row_for_each_number_of_clips_with_what_a_process_paid(tmp_path):
    output = tmp_path / "results.jsonl"
    main(["--clips", "300", "3000", "--runs", "1", "--output", str(output)])
    results = read_results(output)
    assert [result.case for result in results] == [{"clips": 300}, {"clips": 3000}]
    for result in results:
        paid = ("open_s", "first_epoch_s", "plan_us_per_clip")
        assert min(result.values[key] for key in paid) > 0
        assert {"device", "commit", "date"} <= set(result.where)
        assert result.where["av"] == metadata.version("av")
        assert result.where["nvidia-dali-cuda130"] == metadata.version("nvidia-dali-cuda130")
