"""The simulation of a cohort, where its end is known by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from cohort import Stages, measure_table, simulate

PLAIN = Stages(1.0, 0.5, 5.0, 1.5, table=0.0, table_row=0.0, read=0.0, written=0.0, memory=2e9)


def test_one_worker_takes_the_sum_and_many_share_it() -> None:
    one = simulate(PLAIN, 100, 1, disk=1e9, one_table=False, spread=0.0)
    assert one.seconds == pytest.approx(800)
    ten = simulate(PLAIN, 100, 10, disk=1e9, one_table=False, spread=0.0)
    assert ten.seconds == pytest.approx(80)
    assert ten.busy == pytest.approx({"core": 1.0, "disk": 0.0, "table": 0.0})
    idle = simulate(PLAIN, 3, 10, disk=1e9, one_table=False, spread=0.0)
    assert idle.seconds == pytest.approx(8)
    assert idle.busy["core"] == pytest.approx(0.3)


def test_a_slow_disk_decides_whatever_the_number_of_workers() -> None:
    """100 cases of 200 MB at 10 MB/s: 2000 s of the disk."""
    stages = replace(PLAIN, read=150e6, written=50e6)
    for workers in (20, 50):
        done = simulate(stages, 100, workers, disk=10e6, one_table=False, spread=0.0)
        assert 2000 <= done.seconds < 2010
        assert done.busy["disk"] > 0.99


def test_one_table_costs_the_square_of_the_cases_and_gathered_ones_do_not() -> None:
    """Case number n waits for n rows: 0.1 s * (0 + 1 + ... + 99) = 495 s, one after another."""
    stages = replace(PLAIN, table_row=0.1)
    one = simulate(stages, 100, 100, disk=1e9, one_table=True, spread=0.0)
    assert one.seconds == pytest.approx(8 + 495)
    gathered = simulate(stages, 100, 100, disk=1e9, one_table=False, spread=0.0)
    assert gathered.seconds == pytest.approx(8 + 10)


def test_cases_of_several_sizes_take_as_long_on_the_whole() -> None:
    done = simulate(PLAIN, 5000, 1, disk=1e9, one_table=False)
    assert done.seconds == pytest.approx(40_000, rel=0.02)


def test_the_table_of_sources_is_measured(tmp_path: Path) -> None:
    first, row = measure_table(tmp_path, cases=300)
    assert 0 < first < 1
    assert 0 < row < 0.01
