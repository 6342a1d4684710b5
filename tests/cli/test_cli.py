"""The commands as a user types them: what they print, what they leave behind, how they fail."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lacunet import __version__
from lacunet.models.model import load_model, save_model
from phantoms_made import write_phantoms
from small import ROOT, save_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_phantoms(folder, 2, seed=3, spacing=4.0)
    return folder


@pytest.mark.parametrize(("word", "says"), [("methods", "early_fusion"), ("--help", "segment")])
def test_help_and_methods_need_no_torch_and_no_numpy(word, says):
    code = (
        f"import sys; sys.argv = ['lacunet', '{word}']\n"
        "from lacunet.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert 'numpy' not in sys.modules, 'numpy was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_the_version_is_said(lacunet):
    assert lacunet("--version") == (0, f"lacunet {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["segment"], "--precision <auto|bf16|float32>"),
        (["segment"], "--mirror <none|sides|all>"),
        (["segment"], "--layout <plain|bids>"),
        (["import"], "--stripper <auto|deepbet|hd-bet>"),
        ([], "--install-completion"),
    ],
)
def test_the_help_names_every_choice_and_completion(lacunet, monkeypatch, words, said):
    monkeypatch.setenv("COLUMNS", "200")
    assert said in " ".join(lacunet(*words, "--help")[1].split())


@pytest.mark.parametrize(
    ("words", "option", "choices"),
    [
        (["segment", "x", "--mirror", "up"], "--mirror", ["none", "sides", "all"]),
        (["segment", "x", "--precision", "bf17"], "--precision", ["auto", "bf16", "float32"]),
        (["segment", "x", "--layout", "bid"], "--layout", ["plain", "bids"]),
        (["import", "x", "-o", "y", "--stripper", "deepbett"], "--stripper", ["auto", "deepbet", "hd-bet"]),
    ],
)
def test_a_word_that_is_no_choice_is_refused_with_those_there_are(lacunet, words, option, choices):
    status, _, err = lacunet(*words)
    said = " ".join(err.replace("│", " ").split())
    assert status == 2
    assert f"'{option}'" in said
    assert all(f"'{choice}'" in said for choice in choices)


def test_mirror_images_are_told_in_passes_not_in_time(lacunet):
    """Reading, preparing and writing take their time once; segment and evaluate have the option."""
    for command in ("segment", "evaluate"):
        words = " ".join(lacunet(command, "--help")[1].replace("│", " ").split())
        assert "none, sides (twice the passes) or all (8 times)" in words


def test_segment_a_cohort(lacunet, model, cohort, tmp_path):
    status, out, _ = lacunet("segment", cohort, "-o", tmp_path, "--model", model)
    assert status == 0
    assert "2 of 2 cases" in out
    assert len(list(tmp_path.glob("*/*-mask.nii.gz"))) == 2


def test_several_models_answer_together(lacunet, model, cohort, tmp_path):
    case = next(path for path in sorted(cohort.iterdir()) if path.is_dir())
    status, _, err = lacunet("segment", case, "-o", tmp_path / "out", "--model", f"{model},default", "--no-viewer")
    assert status == 0, err
    record = json.loads((tmp_path / "out" / case.name / "case.json").read_text(encoding="utf-8"))
    assert record["provenance"]["model"] == f"{Path(model).name} + ccsd_medium"
    assert record["provenance"]["network grid"] == "6 mm, 1.5 mm"
    status, _, err = lacunet("evaluate", f"{model},{model}", cohort, "-o", tmp_path / "scores", "--subsets", "t2f")
    assert status == 0, err
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text(encoding="utf-8"))
    assert summary["model"] == f"{Path(model).name} + {Path(model).name}"


def test_a_model_s_own_rules_are_used_unless_none_is_asked_for(lacunet, model, cohort, tmp_path):
    case = next(path for path in sorted(cohort.iterdir()) if path.is_dir())
    loaded = load_model(str(model))
    save_model(tmp_path / "m", loaded.method, loaded.preparation, loaded.card, postprocessing=["largest"])
    for words, rules in (([], ["largest"]), (["none"], []), (["et500"], ["et500"])):
        asked = [word for name in words for word in ("--postprocess", name)]
        out = tmp_path / "-".join(["out", *words])
        status, _, err = lacunet("segment", case, "-o", out, "-m", tmp_path / "m", "--no-viewer", *asked)
        assert status == 0, err
        record = json.loads((out / case.name / "case.json").read_text(encoding="utf-8"))
        assert (record["postprocessing"], record["provenance"]["post-processing"]) == (
            rules,
            ", ".join(rules) or "none",
        )
    status, _, err = lacunet("segment", case, "-o", tmp_path / "x", "--postprocess", "none", "--postprocess", "et500")
    assert (status, "'none' stands alone" in err) == (2, True)


def test_segment_single_scans_of_two_sequences(lacunet, model, cohort, tmp_path):
    case = sorted(cohort.iterdir())[0]
    t1c, t2f = case / f"{case.name}-t1c.nii.gz", case / f"{case.name}-t2f.nii.gz"
    status, out, _ = lacunet(
        "segment", "--t1ce", t1c, "--flair", t2f, "--name", "Jane", "-o", tmp_path, "--model", model
    )
    assert status == 0
    assert "Jane: whole tumour" in out
    assert json.loads((tmp_path / "Jane" / "case.json").read_text())["subset"] == "t1c+t2f"


@pytest.mark.parametrize(("words", "there"), [([], True), (["--viewer"], True), (["--no-viewer"], False)])
def test_segment_puts_a_viewer_into_the_page_or_leaves_it_out(lacunet, model, cohort, tmp_path, words, there):
    case = sorted(cohort.iterdir())[0]
    status, _, _ = lacunet("segment", case, "-o", tmp_path, "--model", model, *words)
    assert status == 0
    page = (tmp_path / case.name / "report.html").read_text(encoding="utf-8")
    assert ('<section class="viewer"' in page, "<script" in page) == (there, there)


def test_failures_are_listed_at_the_end_and_the_status_is_one(lacunet, model, cohort, tmp_path):
    bad = tmp_path / "cases" / "case-00001-000"
    bad.mkdir(parents=True)
    for modality in ("t1c", "t2f"):
        nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)), bad / f"case-00001-000-{modality}.nii.gz")
    status, out, err = lacunet("segment", cohort, tmp_path / "cases", "-o", tmp_path / "out", "--model", model)
    assert status == 1
    assert "2 of 3 cases" in out
    assert "1 problem:" in err
    assert "case-00001-000" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["segment", "-o", "{out}", "--model", "{model}"], 2, "nothing to segment"),
        (["segment", "{cohort}", "-o", "{out}", "--model", "defualt"], 1, "no model there"),
        (["segment", "{out}/nowhere", "-o", "{out}", "--model", "{model}"], 1, "nowhere"),
        (["segment", "{cohort}", "--t1c", "x.nii", "-o", "{out}", "--model", "{model}"], 2, "not both"),
        (["segment", "{cohort}", "-o", "{out}", "--model", "{model}", "--subset", "t1x"], 2, "unknown modality 't1x'"),
        (["segment", "{cohort}", "-o", "{out}", "--model", "{model}", "--device", "tpu9"], 2, "no such device"),
        (["segment", "{cohort}", "-o", "{out}", "--model", "{model}", "--convention", "brats2032"], 2, "brats2023"),
        (["segment", "{cohort}", "-o", "{out}", "--model", "{model}", "--postprocess", "et50"], 2, "et500"),
        (["segment", "{cohort}", "-o", "{out}", "--model", "{model}", "--window", "8"], 2, "at least 32"),
        (["evaluate", "{model}", "{cohort}", "-o", "{out}", "--split", "nofile.json"], 2, "expected FILE:PART"),
        (["missing", "{cohort}", "-o", "{out}", "--split", "nofile.json"], 2, "expected FILE:PART"),
        (["train", "nowhere.toml", "--data", "{cohort}", "-o", "{out}"], 2, "cannot be read"),
        (["check", "{out}/nowhere"], 1, "nowhere"),
        (["phantom", "-n", "1", "-o", "{file}/x"], 1, "cannot be written"),
    ],
)
def test_bad_input_gets_one_line_and_a_status(lacunet, model, cohort, tmp_path, words, status, message):
    (tmp_path / "file").write_text("in the way")
    places = {"out": tmp_path / "out", "model": model, "cohort": cohort, "file": tmp_path / "file"}
    found, _, err = lacunet(*(word.format(**places) for word in words))
    assert found == status, err
    assert err.startswith("lacunet: ")
    assert message in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_check_tells_what_is_there(lacunet, cohort):
    status, out, _ = lacunet("check", cohort)
    assert status == 0
    assert "2 cases; t1n+t1c+t2w+t2f: 2" in out
    assert "labels brats2023" in out


def test_train_evaluate_and_missing_end_to_end(lacunet, cohort, tmp_path):
    status, out, _ = lacunet("missing", cohort, "-o", tmp_path / "missing.csv", "--full", "0.5")
    assert status == 0
    assert "2 cases, 50.0 % complete" in out
    split = tmp_path / "split.json"
    names = sorted(path.name for path in cohort.iterdir())
    split.write_text(json.dumps({"train": names[:1], "val": names[1:]}))
    recipe = ROOT / "recipes" / "small" / "early_fusion.toml"
    changes = ["arguments.width=4", "arguments.levels=2", "prepare.spacing=6.0", "train.steps=2", "train.batch=1"]
    changes += ["train.crop=[16,16,16]", 'validate.subsets=["t2f"]', "train.precision=float32"]
    words = [word for change in changes for word in ("--set", change)]
    words += ["--missing", tmp_path / "missing.csv"]
    status, out, err = lacunet("train", recipe, "--data", cohort, "--split", split, "-o", tmp_path / "run", *words)
    assert status == 0, err
    kept = (tmp_path / "missing.csv").read_text()
    share = "100.0" if f"{names[0]},t1n+t1c+t2w+t2f" in kept else "0.0"
    assert f"training on 1 cases of {cohort.name}, {share} % of them with every sequence" in out
    status, out, err = lacunet("evaluate", tmp_path / "run", cohort, "--split", f"{split}:val", "-o", tmp_path / "eval")
    assert status == 0, err
    assert "t1n+t1c+t2w+t2f" in out
    summary = json.loads((tmp_path / "eval" / "summary.json").read_text())
    assert (summary["cases"], summary["task"]["name"]) == (1, "glioma")
    status, out, err = lacunet("compare", tmp_path / "eval", "-o", tmp_path / "compared")
    assert status == 0, err
    assert "page: " in out


def test_a_recipe_key_that_does_not_exist_names_the_nearest(lacunet, cohort, tmp_path):
    recipe = ROOT / "recipes" / "small" / "early_fusion.toml"
    status, _, err = lacunet("train", recipe, "--data", cohort, "-o", tmp_path / "r", "--set", "train.lerning_rate=1")
    assert status == 2
    assert "did you mean 'learning_rate'?" in err
    assert not (tmp_path / "r").exists()
