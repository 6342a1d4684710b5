"""Code that the documentation shows runs."""

import re
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from lacunet.case import CaseFiles
from lacunet.cli.main import app
from lacunet.data.labels import with_conventions
from lacunet.data.nifti import load_case
from lacunet.models.description import read_description
from lacunet.models.folder import DEFAULT, model_folder, shipped_models
from lacunet.models.model import load_model
from lacunet.nn.method import Method, get_method, make_method
from lacunet.prediction.predictor import Predictor
from lacunet.task import GLIOMA
from lacunet.training.recipe import read_recipe
from lacunet.training.train import train
from phantoms_made import write_phantoms
from small import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The method file that `docs/adding-a-method.md` shows."""
    (code,) = blocks(ROOT / "docs/adding-a-method.md", "python")
    file = tmp_path / "mean_fusion.py"
    file.write_text(code, encoding="utf-8")
    return file


def test_the_example_method_trains_and_segments(example: Path, tmp_path: Path, phantoms: list[CaseFiles]):
    (toml,) = blocks(ROOT / "docs/adding-a-method.md", "toml")
    (tmp_path / "mean_fusion.toml").write_text(toml, encoding="utf-8")
    small = ["train.steps=2", "train.crop=[32, 32, 32]", "prepare.spacing=4.0", "arguments.width=4"]
    recipe = read_recipe(tmp_path / "mean_fusion.toml", small)
    cases = with_conventions(phantoms)
    folder = train(recipe, cases, [], tmp_path / "run", device="cpu", method_file=example)
    assert len((tmp_path / "run/log.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    predictor = Predictor(load_model(str(folder), method_file=example), "cpu")
    case = load_case(cases[0])
    prediction = predictor(case, ("t1c", "t2f"))
    assert prediction.labels().shape == case.grid.shape


def test_the_example_method_keeps_the_law(example: Path):
    torch.manual_seed(0)
    method: Method = make_method(get_method("mean_fusion", example), GLIOMA, {"width": 4, "levels": 3}).eval()
    images = torch.randn(1, 4, 8, 8, 8)
    encoded = method.encode(images, torch.ones(1, 4, dtype=torch.bool))
    for subset in GLIOMA.subsets:
        presence = torch.tensor([GLIOMA.presence(subset)])
        poisoned = torch.where(presence[:, :, None, None, None], images, torch.nan)
        torch.testing.assert_close(
            method.decode(encoded, presence), method(poisoned, presence), rtol=1e-5, atol=1e-5, msg=str(subset)
        )


@pytest.mark.skipif(DEFAULT not in shipped_models(), reason="the package holds no model")
def test_the_code_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_phantoms(tmp_path / "cohort", count=1, seed=7, spacing=4.0)
    monkeypatch.chdir(tmp_path)
    for code in blocks(ROOT / "README.md", "python"):
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if not (page.parent / link).exists()]
    assert not broken, f"{page.relative_to(ROOT)} links to {', '.join(broken)}, which is not there"


def anchors(page: Path) -> list[str]:
    """The names that GitHub gives to a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = [re.sub(r"\]\([^)]*\)", "", title) for title in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)]
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_a_heading_lead_to_one(page: Path):
    links = re.findall(r"\]\((?!https?://)([^)#\s]*\.md)?#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    broken = [f"{file}#{name}" for file, name in links if name not in anchors(page.parent / file if file else page)]
    assert not broken, f"{page.relative_to(ROOT)} links to {', '.join(broken)}, which is no heading"


def test_the_readme_names_every_command():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in get_command(app).commands if f"\nlacunet {name} " not in readme] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_a_page_is_python(page: Path):
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")


def test_the_models_that_ship_are_small_together_and_their_pages_say_what_their_cards_say():
    models = {name: model_folder(name) for name in shipped_models()}
    assert sum(path.stat().st_size for folder in models.values() for path in folder.iterdir()) <= 60e6
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for name, folder in models.items():
        results = read_description(folder).card["results"]
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
        for means in (results["mean"], results["subsets"][GLIOMA.subset_name(GLIOMA.modalities)]):
            dice = ", ".join(f"{means[region]['dice']:.2f}" for region in GLIOMA.regions)
            assert f"{dice} ({means['et']['dice_present']:.2f})" in row
    readme, means = (ROOT / "README.md").read_text(encoding="utf-8"), load_model("default").card["results"]["mean"]
    dice = " | ".join(f"**{means[region]['dice']:.2f}**" for region in GLIOMA.regions)
    assert f"| **mean of all 15 subsets** | {dice} | **{means['et']['dice_present']:.2f}** |" in readme
