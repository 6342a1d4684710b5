"""Every crew gives the results of the serial run in its order, outlives its workers, and keeps errors as they are."""

import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crew_workers import Deadly, Squares, never_made, refusing, where_it_is
from lacunet.crew import on_slurm
from lacunet.crew.chosen import crew_of, crowding
from lacunet.crew.crew import Crew, Here, Lost, Place
from lacunet.crew.memory import free_memory
from lacunet.crew.on_ray import OnRay
from lacunet.crew.on_slurm import OnSlurm, Options
from lacunet.crew.processes import Processes
from lacunet.errors import DataError, UsageError
from small import ROOT

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray", "ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A Ray of two workers on this machine, for all tests of the file."""
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(params=["processes", "ray", "slurm"])
def crew(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crew:
    """Two workers of each kind; SLURM's as submitit runs them on one machine."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT / 'tests'}")
    if request.param == "processes":
        return Processes(2, ("cpu",))
    if request.param == "ray":
        request.getfixturevalue("local_ray")
        return OnRay(device="cpu")
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    return OnSlurm(Options(workers=2, cluster="local", folder=str(tmp_path)), "cpu")


def test_results_come_in_the_order_of_the_tasks_from_two_workers_made_once(crew: Crew, tmp_path: Path) -> None:
    found = list(crew.run(range(6), Squares(tmp_path)))
    assert [one[0] for one in found] == [0, 1, 4, 9, 16, 25]
    workers = {one[1] for one in found}
    assert len(workers) == 2
    assert {one[2] for one in found} == {"cpu"}
    assert {path.name: path.read_text() for path in tmp_path.glob("made-*")} == {f"made-{one}": "x" for one in workers}


def test_two_workers_of_one_machine_have_half_of_its_free_memory_each(crew: Crew) -> None:
    free = free_memory()
    assert free is not None
    for place in crew.run(range(2), where_it_is):
        assert isinstance(place, Place)
        assert place.share.memory == pytest.approx(free / 2, rel=0.3)


def test_the_task_of_a_killed_worker_is_done_by_another(crew: Crew, tmp_path: Path) -> None:
    assert list(crew.run(range(4), Deadly(tmp_path, number=1, times=1))) == [0, 1, 2, 3]


def test_a_task_that_kills_its_worker_twice_is_given_up_and_the_others_are_done(crew: Crew, tmp_path: Path) -> None:
    zero, one, two, three = crew.run(range(4), Deadly(tmp_path, number=1, times=99))
    assert (zero, two, three) == (0, 2, 3)
    assert isinstance(one, Lost)
    assert "2 times while it was at work on it" in one.words
    assert len(list(tmp_path.glob("died-*"))) == 2


def test_a_job_whose_time_is_over_leaves_the_rest_to_another_and_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT / 'tests'}")
    crew = OnSlurm(Options(workers=1, cluster="local", folder=str(tmp_path)), "cpu")
    tasks = crew.run(range(4), Deadly(tmp_path, number=2, times=2, gets=signal.SIGUSR2))
    assert list(tasks) == [0, 1, 2, 3]
    assert len(list(tmp_path.glob("died-*"))) == 2


def test_a_job_that_slurm_starts_again_does_not_repeat_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_slurm, "end_on", lambda *signals: None)
    share = on_slurm._Share(tmp_path, Squares(tmp_path), Place("cpu"), threads=1)
    for tasks in ([(0, 5)], [(0, 5), (1, 6)]):
        share(tasks)
    first, second = (pickle.loads((tmp_path / f"{number}.done").read_bytes()).result for number in range(2))
    assert (first[0], second[0]) == (25, 36)
    (tmp_path / "0.done").write_bytes(b"kept")
    share([(0, 5)])
    assert (tmp_path / "0.done").read_bytes() == b"kept"


def test_a_lost_case_of_slurm_says_what_slurm_said_and_no_line_of_a_program() -> None:
    log = "anna.nii.gz: reading\nslurmstepd: error: Detected 1 oom_kill  event in StepId=7.0\nanna again\n"
    assert on_slurm._said_by_slurm(log) == "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0"
    assert on_slurm._said_by_slurm("anna\n") == ""
    assert "oom_kill" in on_slurm._lost_words(on_slurm._said_by_slurm(log))


def test_what_sbatch_and_srun_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    words = "workers=3,at_once=2,partition=gpu,account=lab,time=90,mem=16,cpus=4,exclude=n7,reservation=r,qos=q"
    script = script_of(words, "cuda", tmp_path)
    for one in (
        "array=0-2%2", "partition=gpu", "account=lab", "time=90", "mem=16GB", "cpus-per-task=4", "gpus-per-node=1",
        "exclude=n7", "reservation=r", "qos=q", "job-name=lacunet",
    ):  # fmt: skip
        assert f"#SBATCH --{one}\n" in script
    assert " --cpus-per-task 4 command\n" in script  # srun does not take it from sbatch
    named = script_of("workers=3,gres=gpu:a100:1", "cuda", tmp_path)
    assert "#SBATCH --gres=gpu:a100:1\n" in named
    assert "--gpus-per-node" not in named


def script_of(words: str, device: str, folder: Path) -> str:
    """The script of an array, for a command of nine threads."""
    options = on_slurm.read_options(words)
    executor = on_slurm._executor(options, device, folder, options.cpus or 9)._executor
    executor.parameters["map_count"] = options.workers
    return str(executor._make_submission_file_text("command", "0"))


def test_an_error_of_a_task_keeps_its_kind_and_words_and_comes_after_the_results_before_it(crew: Crew) -> None:
    results = crew.run(range(4), refusing)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(DataError, match=r"^case-2: is damaged; export it again$"):
        next(results)


def test_an_error_of_making_a_worker_ends_the_run(crew: Crew) -> None:
    with pytest.raises(DataError, match=r"^the model is not there; name another$"):
        list(crew.run(range(4), never_made))


def test_a_crew_without_tasks_starts_nothing(crew: Crew) -> None:
    assert list(crew.run([], never_made)) == []


def test_processes_end_when_nobody_wants_more_results(tmp_path: Path) -> None:
    results = Processes(2, ("cpu",)).run(range(50), Squares(tmp_path))
    pid = next(results)[1]
    assert alive(pid)
    results.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 10
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except OSError:
        return False


@pytest.mark.parametrize(
    ("on", "device", "expected"),
    [
        ("here", "cpu", Here("cpu")),
        ("here", "cuda:0,1", Processes(2, ("cuda:0", "cuda:1"))),
        ("processes:4", "auto", Processes(4, ("auto",))),
        ("processes:4", "cuda:0,3", Processes(4, ("cuda:0", "cuda:3"))),
        ("ray", "auto", OnRay("", "auto")),
        ("ray:ray://head:10001", "cpu", OnRay("ray://head:10001", "cpu")),
        ("slurm", "cuda", OnSlurm(Options(), "cuda")),
        (
            "slurm:workers=7,partition=long,time=90,mem=16",
            "cpu",
            OnSlurm(Options(workers=7, partition="long", time=90, mem=16), "cpu"),
        ),
    ],
)
def test_words_name_a_crew(on: str, device: str, expected: Crew) -> None:
    assert crew_of(on, device) == expected


@pytest.mark.parametrize(
    ("on", "device", "message"),
    [
        ("there", "auto", "--on there: expected here, processes:4, ray, ray:ADDRESS, slurm or slurm:KEY=VALUE"),
        ("", "auto", "--on : expected here"),
        ("here:2", "auto", "--on here:2: expected here"),
        ("Ray", "auto", "--on Ray: expected here"),
        ("ray:", "auto", "--on ray:: expected here"),
        ("processes", "auto", "--on processes: expected how many, from 1 to 1024, such as processes:4"),
        ("processes:0", "auto", "--on processes:0: expected how many"),
        ("processes:-1", "auto", "--on processes:-1: expected how many"),
        ("processes:two", "auto", "--on processes:two: expected how many"),
        ("processes:²", "auto", "--on processes:²: expected how many"),
        ("processes:9999", "auto", "--on processes:9999: expected how many"),
        ("slurm:partitions=a", "auto", "'partitions=a': expected KEY=VALUE with one of the keys workers, at_once"),
        ("slurm:partition", "auto", "'partition': expected KEY=VALUE"),
        ("slurm:workers=0", "auto", "'workers=0': expected a whole number above 0"),
        ("slurm:time=1.5", "auto", "'time=1.5': expected a whole number of minutes above 0"),
        ("slurm:mem=16G", "auto", "'mem=16G': expected a whole number of GB above 0"),
        ("slurm:cluster=sge", "auto", "'cluster=sge': expected slurm, or local for this machine"),
        ("here", "cuda:0,0", "--device cuda:0,0: expected different numbers"),
        ("here", "cuda:0,", "--device cuda:0,: expected different numbers"),
        ("here", "cuda:0,x", "--device cuda:0,x: expected different numbers"),
        ("here", "0,1", "--device 0,1: expected different numbers"),
        ("ray", "cuda:0,1", "--device cuda:0,1: ray gives each worker a GPU of its own; use --device cuda"),
        ("slurm", "cuda:0,1", "--device cuda:0,1: slurm gives each worker a GPU"),
    ],
)
def test_other_words_are_refused_with_what_is_allowed(on: str, device: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        crew_of(on, device)
    assert message in str(refused.value)


def test_no_cluster_at_the_address_and_no_slurm_on_the_machine_are_told() -> None:
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    with pytest.raises(UsageError, match=r"--on slurm: there is no SLURM on this machine \(no srun\)"):
        list(OnSlurm(Options()).run([1], never_made))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_an_address_where_no_cluster_answers_is_told_at_once(address: str) -> None:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    ray.shutdown()
    with pytest.raises(UsageError, match=rf"^--on ray:{address}: no cluster answers there \(Connection refused\)"):
        list(OnRay(address).run([1], never_made))


def test_processes_that_share_too_few_cores_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lacunet.crew.chosen.usable_cores", lambda: 8)
    assert crowding(Processes(4), 2) == ""
    assert crowding(Processes(16), 1) == ""
    assert "OMP_NUM_THREADS=2 before the command" in crowding(Processes(4), 8)
    assert crowding(Processes(4, ("cuda:0", "cuda:1")), 8) == ""
    assert crowding(Here(), 8) == ""
