from __future__ import annotations

import json

from benchmarks.manifest import main


def test_a_line_per_run_with_what_a_process_paid(tmp_path, capsys):
    output = tmp_path / "results.jsonl"
    for _ in range(2):
        main(["--clips", "3000", "--runs", "1", "--output", str(output)])
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["clips"] for line in lines] == [3000, 3000]
    for line in lines:
        assert min(line[key] for key in ("open_s", "first_epoch_s", "plan_us_per_clip")) > 0
        assert {"device", "commit", "date"} <= set(line)
