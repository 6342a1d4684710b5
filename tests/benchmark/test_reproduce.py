"""Published tables reproduced on a small stand-in: invented patients under BraTS 2018's names."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from calibrations_made import tiny_model
from evaluations_made import SUBSETS, rows_made, steady, write_evaluation
from lacunet.benchmark.reproduce import Reproduced, part_of_lists, with_incomplete_cases
from lacunet.benchmark.reproduction_page import reproduction
from lacunet.benchmark.target import find_target, recipe_differences, refusals
from lacunet.comparison.published import lists as lists_module
from lacunet.comparison.published.lists import KnownList, Lists, find_lists, get_lists, known_lists
from lacunet.comparison.published.tables import published_tables
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.split import split_hash
from lacunet.errors import DataError, UsageError
from lacunet.evaluation.results import read_evaluation
from lacunet.files import write_json
from lacunet.task import GLIOMA
from lacunet.training.recipe import make_recipe, read_recipe, write_recipe
from phantoms_made import write_phantoms
from small import tiny_recipe

WORDS = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}
NAMES = [f"Brats18_TCIA0{number}_{number}00_1" for number in range(1, 5)]
WEIGHTS = "a" * 64
PARTS = {"train": NAMES[:2], "val": NAMES[2:3], "test": NAMES[3:]}
SWEEP = """title = "A table"
recipe = "tiny.toml"
published = "brats2018-ccsd"
lists = "stand-in"
policy = "rfnet"
subsets = ["t1c", "t1c+t2f"]

[rows.CCSD]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four invented patients in BraTS 2018's layout and labels, the lists of several splits beside them."""
    made, folder = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("BraTS2018")
    write_phantoms(made, 4, seed=1, spacing=8.0)
    for patient, name in zip(sorted(path for path in made.iterdir() if path.is_dir()), NAMES, strict=True):
        home = folder / "HGG" / name
        home.mkdir(parents=True)
        for modality, word in WORDS.items():
            (patient / f"{patient.name}-{modality}.nii.gz").rename(home / f"{name}_{word}.nii.gz")
        reference = nib.load(patient / f"{patient.name}-seg.nii.gz")
        labels = np.asarray(reference.dataobj).astype(np.uint8)
        nib.save(nib.Nifti1Image(np.where(labels == 3, 4, labels), reference.affine), home / f"{name}_seg.nii.gz")
    for part, names in PARTS.items():
        (folder / f"{part}1.txt").write_text("\n".join(names), encoding="utf-8")
        (folder / f"{part}2.txt").write_text("\n".join(NAMES[::2]), encoding="utf-8")  # another split's, overlapping
    return folder


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Lists:
    """The stand-in's lists are published ones."""
    lists = Lists("stand-in", "BraTS 2018", "nowhere", {p: KnownList(len(n), split_hash(n)) for p, n in PARTS.items()})
    known = {**known_lists(), "stand-in": lists}
    monkeypatch.setattr(lists_module, "known_lists", lambda: known)
    return lists


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    write_recipe(tmp_path / "tiny.toml", tiny_recipe(train={"steps": 2}, validate={"every": 2, "subsets": ["t1c"]}))
    (tmp_path / "table.toml").write_text(SWEEP, encoding="utf-8")
    return tmp_path / "table.toml"


def test_a_table_is_trained_scored_and_printed_beside_or_not(lacunet, data, sweep, tmp_path):
    """One training; then the same run given, a run of another recipe, and a run of which nobody knows the cases."""
    published = published_tables()["brats2018-ccsd"].score("CCSD", "wt")
    there = (published.subsets["t1c"] + published.subsets["t1c+t2f"]) / 2  # of what is scored here, not of all 15
    words = ("reproduce", sweep, "--data", data, "--device", "cpu", "--precision", "float32")
    status, out, err = lacunet(*words, "-o", tmp_path / "out")
    assert status == 0, err
    ours = json.loads((tmp_path / "out/CCSD/seed-1/test/summary.json").read_text())
    here = ours["mean"]["wt"]["dice"]
    assert f"| CCSD | WT | {here:.4f} | " in out
    assert f" | {there:.4f} | {here - there:+.4f} |" in out
    assert f"{published.mean:.4f}" not in out
    assert f"| {published.subsets['t1c+t2f']:.4f} |" in out
    assert "* Means, there as here, are over the 2 subsets that were scored." in out
    assumed = out.index("* which cases were scored: here the test list of stand-in.")
    assert assumed < out.index("| published (protocol assumed) | here - published |")
    assert out.strip() == (tmp_path / "out/table.md").read_text().strip()
    switched = json.loads((tmp_path / "out/CCSD/seed-1/test-et500-ncr/summary.json").read_text())
    assert (ours["policy"], switched["identity"]["postprocessing"]) == ("rfnet", ["et500-ncr"])

    run = tmp_path / "out/CCSD/seed-1"
    status, again, err = lacunet(*words, "-o", tmp_path / "given", "--run", run)
    assert status == 0, err
    assert again == out

    write_recipe(
        sweep.with_name("tiny.toml"), tiny_recipe(train={"steps": 3}, validate={"every": 2, "subsets": ["t1c"]})
    )
    status, out, _ = lacunet(*words, "-o", tmp_path / "given", "--run", run)
    assert status == 1
    assert f"{there:.4f}" not in out
    assert f"{published.subsets['t1c+t2f']:.4f}" not in out
    assert "**CCSD does not stand beside the published column:**" in out
    assert "* recipe: train.steps is 2, not 3." in out
    assert f"| CCSD | WT | {here:.4f} | " in out  # ours are printed all the same

    write_recipe(sweep.with_name("tiny.toml"), read_recipe(run / "recipe.toml"))
    card = json.loads((run / "model/model.json").read_text())
    del card["card"]["training_list"], card["description_sha256"]
    write_json(run / "model/model.json", card)
    status, out, _ = lacunet(*words, "-o", tmp_path / "given", "--run", run)
    assert status == 1
    assert "the train cases are not the train list of stand-in (not stated by the model)" in out


def test_lists_of_other_cases_are_refused_before_anything_trains(lacunet, data, sweep, tmp_path):
    sweep.write_text(SWEEP.replace("stand-in", "brats2018-1"), encoding="utf-8")
    status, _, err = lacunet("reproduce", sweep, "--data", data, "-o", tmp_path / "out")
    assert status == 1
    assert "no list here is the train list of brats2018-1 (199 cases, hash d7026e1360bb...)" in err
    assert "train1 (2)" in err
    assert "; give the folder that holds them: --lists FOLDER. Source: RFNet's first split; train1.txt" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("lists", known_lists().values(), ids=lambda lists: lists.name)
def test_every_source_of_lists_can_be_read_by_itself(lists):
    """It names the three files and the repository, and points at no other entry."""
    number = lists.name.partition("-")[2]
    assert all(f"{part}{number}.txt" in lists.source for part in lists.parts)
    assert "github.com/" in lists.source
    assert "same place" not in lists.source


def test_a_benchmark_takes_published_lists(lacunet, data, sweep, tmp_path):
    """Found by what they hold, in the data's folder or elsewhere; the names of the lists stand in the protocol."""
    words = ("benchmark", sweep.with_name("tiny.toml"), "--data", data, "--subsets", "t1c", "--device", "cpu")
    status, _, err = lacunet(*words, "--protocol", "stand-in", "-o", tmp_path / "out")
    assert status == 0, err
    assert json.loads((tmp_path / "out/splits/split.json").read_text()) == PARTS
    protocol = json.loads((tmp_path / "out/benchmark.json").read_text())["protocol"]
    assert protocol["data"] == f"{data.name}, lists stand-in"
    hashes = {name: told["sha256"] for name, told in protocol["split"]["split"].items()}
    assert hashes == {name: split_hash(names) for name, names in PARTS.items()}

    status, _, err = lacunet(*words, "--protocol", "brats2018-2", "--lists", data, "-o", tmp_path / "other")
    assert status == 1
    assert "no list here is the train list of brats2018-2 (199 cases, hash 6963c1eaa36d...)" in err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--lists", "lists"), "--lists needs --protocol, such as --protocol brats2018-2"),
        (("--protocol", "stand-in", "--folds", "2"), "--protocol names the cases; leave out --split and --folds"),
        (("--protocol", "stand-in", "--split", "s.json"), "--protocol names the cases; leave out --split and --folds"),
        (("--protocol", "brats2018-4"), "no published lists 'brats2018-4'; did you mean 'brats2018-"),
    ],
)
def test_published_lists_and_a_split_of_ones_own_exclude_each_other(lacunet, data, sweep, tmp_path, words, complaint):
    status, _, err = lacunet("benchmark", sweep.with_name("tiny.toml"), "--data", data, "-o", tmp_path / "out", *words)
    assert status == 2
    assert complaint in err


def test_data_that_lack_a_case_of_the_lists_are_refused(data):
    cases = find_cases(data)
    with pytest.raises(DataError, match=rf"1 of the 4 cases of the three lists are missing, such as {NAMES[0]}"):
        part_of_lists(PARTS, cases[1:], data)


@pytest.mark.parametrize("words", [("reproduce", "{table}"), ("benchmark", "{recipe}", "--protocol", "stand-in")])
def test_data_that_are_not_there_are_said_to_be_missing_before_lists_are_looked_for(lacunet, sweep, tmp_path, words):
    paths = {"table": sweep, "recipe": sweep.with_name("tiny.toml")}
    command = [word.format(**paths) for word in words]
    status, _, err = lacunet(*command, "--data", tmp_path / "nope", "-o", tmp_path / "out")
    assert status == 1
    assert err == f"lacunet: {tmp_path / 'nope'}: there is no such file or folder\n"


def test_a_run_that_is_given_needs_the_test_cases_and_their_list_alone(lacunet, data, sweep, tmp_path):
    """Also where the table's training cases lack sequences: nobody trains here, so that none are drawn."""
    tiny_model(tmp_path / "run/model")
    sweep.write_text(SWEEP.replace("policy =", "complete = 0.5\npolicy ="), encoding="utf-8")
    own = tmp_path / "tested"
    shutil.copytree(data / "HGG" / NAMES[3], own / "HGG" / NAMES[3])
    shutil.copy(data / "test1.txt", own)
    words = ("reproduce", sweep, "--data", own, "--device", "cpu", "--precision", "float32", "-o", tmp_path / "out")
    status, _, err = lacunet(*words)
    assert (status, "no list here is the train list of stand-in" in err) == (1, True)
    for part in ("train", "val"):
        shutil.copy(data / f"{part}1.txt", own)
    status, _, err = lacunet(*words)
    assert (status, "3 of the 4 cases of the three lists are missing" in err) == (1, True)
    for part in ("train", "val"):
        (own / f"{part}1.txt").unlink()

    status, out, err = lacunet(*words, "--run", tmp_path / "run")
    assert "problem" not in err
    assert status == 1  # nobody knows what the run was trained on
    assert "**CCSD does not stand beside the published column:**" in out
    assert {row.case for row in read_evaluation(tmp_path / "out/CCSD/given/test").rows} == set(PARTS["test"])
    assert not (tmp_path / "out/missing.csv").exists()

    shutil.rmtree(own / "HGG" / NAMES[3])
    shutil.copytree(data / "HGG" / NAMES[0], own / "HGG" / NAMES[0])
    status, _, err = lacunet(*words, "--run", tmp_path / "run")
    assert status == 1
    assert "1 of the 1 cases of the test list are missing" in err


def test_lists_are_recognised_by_what_they_hold_whatever_they_are_called(tmp_path, stand_in):
    (tmp_path / "a.txt").write_text("\n".join(reversed(PARTS["train"])) + "\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text(PARTS["val"][0], encoding="utf-8")
    (tmp_path / "c.txt").write_text(PARTS["test"][0], encoding="utf-8")
    (tmp_path / "d.txt").write_text("\n".join(NAMES), encoding="utf-8")
    found = find_lists(tmp_path, stand_in)
    assert {part: sorted(names) for part, names in found.items()} == PARTS
    write_json(tmp_path / "split.json", PARTS)
    assert find_lists(tmp_path / "split.json", stand_in) == PARTS


def test_the_published_lists_have_the_sizes_of_the_field():
    sizes = {name: tuple(one.cases for one in lists.parts.values()) for name, lists in known_lists().items()}
    assert sizes == {
        "brats2018-1": (199, 29, 57), "brats2018-2": (199, 29, 57), "brats2018-3": (199, 29, 57),
        "brats2020": (219, 50, 100), "brats2021": (876, 125, 250),
    }  # fmt: skip
    hashes = [one.sha256 for lists in known_lists().values() for one in lists.parts.values()]
    assert len(set(hashes)) == 15
    assert all(len(sha) == 64 for sha in hashes)
    tables = {sha for table in published_tables().values() for sha in table.test}
    assert tables <= set(hashes)
    with pytest.raises(UsageError, match="no published lists 'brats2019'; did you mean 'brats20"):
        get_lists("brats2019")


def test_a_share_of_complete_cases_is_drawn_and_written_down(data, tmp_path):
    part = part_of_lists(PARTS, with_conventions(find_cases(data)), data)
    assert with_incomplete_cases(part, 1.0, GLIOMA, tmp_path) == (part, "")
    left, words = with_incomplete_cases(part, 0.01, GLIOMA, tmp_path)
    assert sum(len(case.images) == 4 for case in left.train) == 1
    assert words == "one to three sequences; 50.0 % of the cases keep all four; drawn with seed 1"
    assert (tmp_path / "missing.csv").is_file()
    assert left.test == part.test


# What a run must share with the table


def test_recipes_differ_by_what_is_learnt_and_by_nothing_else():
    one = make_recipe({"method": "ccsd", "arguments": {"width": 8}})
    same = {
        "method": "ccsd",
        "seed": 9,
        "arguments": {"width": 8, "hmsd": 1.0, "recompute": True},
        "train": {"workers": 3},
    }
    found = make_recipe(same).model_dump(by_alias=True, mode="json")
    assert recipe_differences(one, found) == []
    other = make_recipe({"method": "ccsd", "arguments": {"width": 8, "hmsd": 0.0}, "augment": {"noise": 0.3}})
    assert recipe_differences(one, other.model_dump(by_alias=True, mode="json")) == [
        "arguments.hmsd is 0.0, not 1.0",
        "augment.noise is 0.3, not 0.1",
    ]
    del found["train"]["inside"], found["train"]["healthy"]  # as a version wrote it that did not have them
    assert recipe_differences(one, found) == []
    assert recipe_differences(make_recipe({**same, "train": {"inside": True}}), found) == [
        "train.inside is False, not True"
    ]
    assert recipe_differences(one, None) == ["the model does not say how it was trained"]


@pytest.fixture
def given(sweep, tmp_path, stand_in):
    """A model's description and an evaluation that fit the table, both to be changed."""
    recipe = read_recipe(sweep.with_name("tiny.toml"))
    card = {"recipe": recipe.model_dump(by_alias=True, mode="json"), "complete_cases": 2}
    card |= {"training_list": split_hash(PARTS["train"]), "validation_list": split_hash(PARTS["val"])}
    fields = {"format": 1, "method": "early_fusion", "arguments": {}, "task": GLIOMA.to_json(), "sha256": WEIGHTS}
    fields["preparation"] = {"spacing": 1.0, "clip": 5.0}

    def told(
        card_changes=None, cases=PARTS["test"], subsets=("t1c", "t1c+t2f"), policy="rfnet", without=(), **identity
    ) -> list[str]:
        model = tmp_path / "model"
        model.mkdir(exist_ok=True)
        write_json(model / "model.json", {**fields, "card": {**card, **(card_changes or {})}})
        rows = rows_made(steady(0.5), cases=cases, subsets=subsets)
        rows = [row for row in rows if (row.case, row.subset) not in without]
        path = write_evaluation(tmp_path / "evaluation", rows, policy, identity={"weights": WEIGHTS, **identity})
        target = find_target(str(sweep), {"stand-in": stand_in})
        return refusals(target, recipe, str(model), read_evaluation(path))

    return told


def test_a_run_that_fits_may_stand_beside(given):
    assert given() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"card_changes": {"training_list": "0" * 64}}, "the train cases are not the train list of stand-in (hash 000"),
        ({"card_changes": {"validation_list": None}}, "the val cases are not the val list of stand-in"),
        ({"card_changes": {"complete_cases": 1}}, "1 training cases were complete, not 2"),
        ({"cases": NAMES[2:]}, "2 cases were scored, which are not the test list of stand-in"),
        ({"subsets": ("t1c",)}, "other subsets were scored"),
        ({"without": [(NAMES[3], "t1c")]}, "other subsets were scored"),
        ({"policy": "brats"}, "empty masks score by 'brats', not by 'rfnet'"),
        ({"postprocessing": ["et500-ncr"]}, "post-processing: et500-ncr, not none"),
        ({"weights": "others"}, "the evaluation is of other weights"),
    ],
)
def test_each_difference_keeps_a_run_away(given, changes, words):
    (reason,) = given(**changes)
    assert reason.startswith(words)


def test_what_a_source_states_binds_the_sweep(given, monkeypatch, sweep):
    """A table whose test cases and rules are stated refuses a sweep that assumes others."""
    stated = replace(published_tables()["brats2018-ccsd"], test=("0" * 64,), postprocessing=("et500",))
    monkeypatch.setattr("lacunet.benchmark.target.choose_tables", lambda names: [stated])
    reasons = given()
    assert any(words.startswith("other cases: here 1, there 57") for words in reasons)
    assert any(words.startswith("post-processing: none here, et500 there") for words in reasons)


# The page


@pytest.fixture
def page(sweep, tmp_path, stand_in):
    """The page of one row that scored 0.5 everywhere, beside a published table."""

    def made(table, row, subsets, refusals=()):
        text = SWEEP.replace("rows.CCSD", f'rows."{row}"')
        sweep.write_text(text.replace('"brats2018-ccsd"', f'"{table}"'), encoding="utf-8")
        target = find_target(str(sweep), {"stand-in": stand_in})
        paths = [write_evaluation(tmp_path / name, rows_made(steady(0.5), subsets=subsets), "rfnet") for name in "ab"]
        one, other = map(read_evaluation, paths)
        return target, reproduction(target, [Reproduced(row, [one], [other], refusals)])

    return made


def test_published_means_are_over_the_same_subsets_as_ours(page):
    cells = published_tables()["brats2018-ccsd"].score("CCSD", "et").subsets
    there = (cells[SUBSETS[0]] + cells[SUBSETS[1]]) / 2
    _, text = page("brats2018-ccsd", "CCSD", SUBSETS[:2])
    assert f"| CCSD | ET | 0.5000 | 0.5000 | {there:.4f} | {0.5 - there:+.4f} |" in text


def test_where_only_means_are_published_fewer_subsets_have_none(page):
    score = published_tables()["brats2020-ccsd"].score("CCSD", "wt")
    _, few = page("brats2020-ccsd", "CCSD", SUBSETS[:2])
    assert "| CCSD | WT | 0.5000 | 0.5000 | – | – | 5.0 | – |" in few
    assert "The source prints means over all 15 subsets alone; here 2 were scored." in few
    _, every = page("brats2020-ccsd", "CCSD", SUBSETS)
    beside = f"{score.mean:.4f} | {0.5 - score.mean:+.4f} | 5.0 | {score.hd95:.1f} |"
    assert f"| CCSD | WT | 0.5000 | 0.5000 | {beside}" in every
    assert "were scored" not in every.replace("which cases were scored", "")


def test_a_source_that_states_no_number_of_cases_gets_no_difference(page):
    score = published_tables()["brats2018-smsn"].score("SMSN", "wt")
    target, text = page("brats2018-smsn", "SMSN", SUBSETS)
    assert f"| SMSN | WT | 0.5000 | 0.5000 | {score.mean:.4f} | – |" in text
    assert "No difference is shown: the source does not even state how many cases it scored." in text
    assert "The source does not state, and this table assumes:" in text
    assert len(target.assumed) > 2
    assert "| published (protocol assumed) |" in text
    assert all(f"* {words}." in text.split("| published (protocol assumed)")[0] for words in target.assumed)


def test_a_table_that_states_everything_assumes_nothing(page):
    _, text = page("brats2020-m3ae", "M3AE", SUBSETS)
    assert "| published | here - published |" in text
    assert "assume" not in text


def test_a_sweep_without_published_numbers_has_no_published_column_to_stand_beside(page, sweep, stand_in):
    _, text = page("", "A", SUBSETS, ("recipe: train.steps is 2, not 3",))
    assert "published column" not in text
    assert "**A is not what this table asks for:**\n\n* recipe: train.steps is 2, not 3." in text
    assert "| A | WT | 0.5000 | 0.5000 | – | – |" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ccsd-table9", "no table 'ccsd-table9'; did you mean 'ccsd-table"),
        ("masm-ablation", "names no published lists; `lacunet benchmark .*masm-ablation.toml` trains its rows"),
    ],
)
def test_tables_that_cannot_be_reproduced_say_why(name, words):
    with pytest.raises(UsageError, match=words):
        find_target(name, known_lists())


def test_a_row_that_the_published_table_lacks_is_refused(sweep, stand_in):
    sweep.write_text(SWEEP.replace("rows.CCSD", "rows.CCDS"), encoding="utf-8")
    with pytest.raises(UsageError, match="brats2018-ccsd has no 'CCDS'; did you mean 'CCSD'"):
        find_target(str(sweep), {"stand-in": stand_in})


def test_a_run_with_an_equals_sign_in_its_path_is_a_path(lacunet, data, sweep, tmp_path, monkeypatch):
    (tmp_path / "runs/a=b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for word in ("runs/a=b", "CCSD=runs/a=b"):
        status, _, err = lacunet("reproduce", sweep, "--data", data, "-o", tmp_path / "out", "--run", word)
        assert status == 1
        assert "runs/a=b" in err
        assert "no row" not in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [(["--run", "nobody=x"], "no row 'nobody'"), (["--run", "a", "--run", "b"], "'CCSD' is given already")],
)
def test_a_run_of_no_row_is_refused(lacunet, data, sweep, tmp_path, words, complaint):
    status, _, err = lacunet("reproduce", sweep, "--data", data, "-o", tmp_path / "out", *words)
    assert status == 2
    assert complaint in err
