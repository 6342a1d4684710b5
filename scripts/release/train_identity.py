"""Train the classifier of sequence types, and print how often it is right.

    python scripts/release/train_identity.py --data GLIOMA --raw RAW --samples samples.npz          # the tables
    python scripts/release/train_identity.py --data GLIOMA --raw RAW --samples samples.npz --write  # and the package's
    weights

GLIOMA is a folder of cases with a split.json (train, val, test); RAW a folder of unregistered scans of one person,
named so that lacunet knows their sequences. Samples (features, no voxels) are made once and kept in `--samples`. One
thread; about ten minutes for the samples and five for the tables.

Cross-validation is by person over all real cases; the weights that are written never saw the test persons.
"""

import argparse
import json
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from torch import nn

from identity_samples import Base, invented_bases, real_bases, seen
from lacunet.case import ImageFile
from lacunet.data.find import find_cases
from lacunet.data.names import SUFFIXES, bare_name, person_of
from lacunet.data.nifti import load_case
from lacunet.data.tree import read_tree
from lacunet.data.volume import read_image
from lacunet.intake.identify.classify import T1_FAMILY, Classifier, Opinion, compared, contradiction
from lacunet.intake.identify.clues import by_words
from lacunet.intake.identify.features import features
from lacunet.task import GLIOMA

CLASSES = (*GLIOMA.modalities, "other")
PACKAGE = Path(__file__).parents[2] / "src/lacunet/intake/identify"
MEMBERS, STEPS, BATCH, FOLDS, DROPOUT, HIDDEN = 6, 1600, 64, 7, 0.3, (64, 32)
LEAST, SURE = 0.6, 0.98


@dataclass
class Samples:
    """Features of many images: `plain` ones as they are on disk, others changed at random."""

    numbers: np.ndarray
    kind: np.ndarray
    person: np.ndarray
    plain: np.ndarray
    view: np.ndarray

    def where(self, chosen: np.ndarray) -> "Samples":
        """Some of them."""
        return Samples(*(getattr(self, name)[chosen] for name in ("numbers", "kind", "person", "plain", "view")))

    @property
    def targets(self) -> np.ndarray:
        """Index of the class."""
        return np.array([CLASSES.index(kind.split(":")[0]) for kind in self.kind])


def make_samples(data: Path, phantoms: int, views: int) -> Samples:
    """Measure everything once."""
    rows: list[tuple[np.ndarray, str, str, bool, int]] = []

    def add(numbers: np.ndarray | None, kind: str, person: str, plain: bool, view: int) -> None:
        if numbers is not None:
            rows.append((numbers, kind, person, plain, view))

    def add_views(base: Base, number: int, count: int) -> None:
        for view in range(count):
            generator = np.random.default_rng([number, CLASSES.index(base.kind.split(":")[0]), view])
            add(features(*seen(base, generator)), base.kind, base.person, False, view)

    for number, files in enumerate(find_cases(data)):
        case = load_case(files, want_reference=False)
        for modality, image in case.images.items():
            add(features(image, case.grid), modality, case.person, True, -1)
        for base in real_bases(case):
            add_views(base, number, views)
        print(f"{len(rows)} samples, after {case.name}", flush=True)
    for seed in range(5000, 5000 + phantoms):
        for base in invented_bases(seed, scanners=2):
            add_views(base, seed, 3)
        print(f"{len(rows)} samples, after phantom {seed}", flush=True)
    return Samples(*(np.array(column) for column in zip(*rows, strict=True)))


def fit(samples: Samples, seed: int) -> Classifier:
    """All members at once, each with its own start, batches and dropout; and the weights that compare two T1 scans."""
    mean, scale = samples.numbers.mean(0), samples.numbers.std(0) + 1e-6
    inputs = torch.from_numpy(((samples.numbers - mean) / scale).clip(-5, 5).astype(np.float32))
    targets = torch.from_numpy(samples.targets)
    real = torch.from_numpy(np.array([not person.startswith("phantom") for person in samples.person]))
    plain = torch.from_numpy(samples.plain)
    balance = 1.0 / torch.bincount(targets, minlength=len(CLASSES)).clamp(min=1).float()
    weights = balance[targets] * torch.where(real, 3.0, 1.0) * torch.where(plain, 4.0, 1.0)
    layers = _fit_members(inputs, targets, weights / weights.mean(), seed)
    return Classifier(
        classes=CLASSES,
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        layers=tuple(layers),
        pair=_fit_pair(samples, inputs, seed).astype(np.float32),
        temperature=1.0,
        least_confidence=LEAST,
        sure=SURE,
    )


def _fit_members(inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, seed: int):
    """Weights and biases of two hidden layers and the output, stacked by member."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [inputs.shape[1], *HIDDEN, len(CLASSES)]
    layers = [
        (
            (torch.randn(MEMBERS, out, into, generator=generator) * (2.0 / into) ** 0.5).requires_grad_(),
            torch.zeros(MEMBERS, out, requires_grad=True),
        )
        for into, out in pairwise(sizes)
    ]
    optimiser = torch.optim.AdamW([part for layer in layers for part in layer], lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(inputs), (MEMBERS, BATCH), generator=generator)
        hidden = inputs[rows] + 0.1 * torch.randn(MEMBERS, BATCH, sizes[0], generator=generator)
        for k, (weight, bias) in enumerate(layers):
            hidden = torch.baddbmm(bias[:, None], hidden, weight.transpose(1, 2))
            if k < len(layers) - 1:
                keep = (torch.rand(hidden.shape, generator=generator) > DROPOUT) / (1.0 - DROPOUT)
                hidden = hidden.relu() * keep
        loss = nn.functional.cross_entropy(
            hidden.flatten(0, 1), targets[rows].flatten(), reduction="none", label_smoothing=0.02
        )
        optimiser.zero_grad()
        (loss * weights[rows].flatten()).mean().mul(MEMBERS).backward()
        optimiser.step()
        schedule.step()
    return [(weight.detach().numpy(), bias.detach().numpy()) for weight, bias in layers]


def _fit_pair(samples: Samples, inputs: torch.Tensor, seed: int) -> np.ndarray:
    """Logistic regression without a constant on differences of features: after minus before is 1; two of a kind, 0.5.

    Real persons only: an invented tumour that does not enhance shows contrast agent nearly nowhere.
    """
    generator = np.random.default_rng(seed)
    differences, wanted, weights = [], [], []
    for person in np.unique([person for person in samples.person if not person.startswith("phantom")]):
        for plain in (True, False):
            chosen = (samples.person == person) & (samples.plain == plain)
            rows = {kind: np.flatnonzero(chosen & (samples.kind == kind)) for kind in ("t1n", "t1c")}
            if min(map(len, rows.values())) == 0:
                continue
            for _ in range(1 if plain else 40):
                differences.append(inputs[generator.choice(rows["t1c"])] - inputs[generator.choice(rows["t1n"])])
                wanted.append(1.0)
                weights.append(10.0 if plain else 1.0)
            for kind in rows:
                for _ in range(0 if plain else 6):
                    one, other = generator.choice(rows[kind], 2)
                    differences.append(inputs[one] - inputs[other])
                    wanted.append(0.5)
                    weights.append(1.0)
    matrix, goal, share = torch.stack(differences), torch.tensor(wanted), torch.tensor(weights)
    weight = torch.zeros(matrix.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=0.02)
    for _ in range(300):
        loss = nn.functional.binary_cross_entropy_with_logits(matrix @ weight, goal, weight=share)
        optimiser.zero_grad()
        (loss + 0.004 * weight.square().sum()).backward()
        optimiser.step()
    return weight.detach().numpy()


# ---------------------------------------------------------------- tables


@dataclass
class Judged:
    """One image: what it is, and what was said of it by networks that never saw its person."""

    kind: str
    person: str
    view: int
    alone: Opinion
    in_study: Opinion


def judge(samples: Samples, judge_: Classifier) -> list[Judged]:
    """Each image alone, and each with the others of its study (the same person in the same view)."""
    judged = []
    for person in np.unique(samples.person):
        for view in np.unique(samples.view[samples.person == person]):
            rows = np.flatnonzero((samples.person == person) & (samples.view == view))
            numbers = [samples.numbers[row] for row in rows]
            together = compared(numbers, judge_)
            for row, one, opinion in zip(rows, numbers, together, strict=True):
                alone = judge_.opinion(judge_.probabilities(one))
                judged.append(Judged(samples.kind[row].split(":")[0], person, int(view), alone, opinion))
    return judged


def cross_validate(samples: Samples) -> list[tuple[Samples, Classifier]]:
    """By fold: the persons held out, and networks that were trained on the others."""
    persons = np.unique(samples.person)
    real = [person for person in persons if not person.startswith("phantom")]
    invented = [person for person in persons if person.startswith("phantom")]
    folds = []
    for fold in range(FOLDS):
        held = np.isin(samples.person, [*real[fold::FOLDS], *invented[fold::FOLDS]])
        folds.append((samples.where(held), fit(samples.where(~held), 100 + fold)))
    return folds


def table(title: str, judged: list[Judged], in_study: bool) -> None:
    """Accuracy, unknowns and confusion."""
    answers = (*CLASSES, "unknown")
    counts = {kind: dict.fromkeys(answers, 0) for kind in CLASSES}
    for one in judged:
        counts[one.kind][(one.in_study if in_study else one.alone).modality] += 1
    total = len(judged)
    right = sum(counts[kind][kind] for kind in CLASSES)
    unknown = sum(counts[kind]["unknown"] for kind in CLASSES)
    wrong = total - right - unknown
    print(f"\n### {title}, {'with its study' if in_study else 'alone'}\n")
    print(
        f"{total} scans: {right} right ({right / total:.1%}), {unknown} unknown, {wrong} wrong ({wrong / total:.1%})\n"
    )
    print("| is \\ said | " + " | ".join(answers) + " |\n|---|" + "--:|" * len(answers))
    for kind in CLASSES:
        if sum(counts[kind].values()):
            print(f"| {kind} | " + " | ".join(str(counts[kind][answer]) for answer in answers) + " |")


def alarms(title: str, judged: list[Judged], judge_: Classifier) -> None:
    """How often a scan under its right name, and one under each wrong name, is called a contradiction."""
    judged = [one for one in judged if one.kind in GLIOMA.modalities]
    false = sum(contradiction(one.kind, one.in_study, judge_) is not None for one in judged)
    print(f"\n{title}: {false} false alarms in {len(judged)} scans under their right names; told under a wrong name:")
    for kind in GLIOMA.modalities:
        said = []
        for name in GLIOMA.modalities:
            if name != kind:
                ones = [one for one in judged if one.kind == kind]
                opinions = [one.in_study if {name, kind} == set(T1_FAMILY) else one.alone for one in ones]
                told = sum(contradiction(name, opinion, judge_) is not None for opinion in opinions)
                said.append(f"as {name} {told / max(len(ones), 1):.0%}")
        print(f"  {kind}: {', '.join(said)}")


def best_temperature(judged: list[Judged]) -> float:
    """The one that makes probabilities fit best (log loss of the scans alone, judged at temperature 1)."""

    def loss(temperature: float) -> float:
        total = 0.0
        for one in judged:
            odds = {name: value ** (1.0 / temperature) for name, value in one.alone.probabilities.items()}
            total -= np.log(max(odds[one.kind] / sum(odds.values()), 1e-9))
        return total

    return float(min(np.arange(0.6, 2.55, 0.1), key=loss))


def look_at_raw(folder: Path, judge_: Classifier) -> None:
    """Scans as a scanner left them, named as hospitals do."""
    images = [path for path in read_tree(folder).files if path.name.lower().endswith(SUFFIXES)]
    paths = [path for path in images if by_words([bare_name(path.name)])]
    numbers = [features(*read_image(ImageFile(path))[:2]) for path in paths]
    print("\n### Raw scans, unregistered, with skull\n")
    print("| file | alone | with its study | and knowing from its name that it is T1 |\n|---|---|---|---|")
    t1 = [k for k, path in enumerate(paths) if (said := by_words([bare_name(path.name)])) and said.modality == "t1"]
    opinions = compared(numbers, judge_), compared(numbers, judge_, known_t1=t1)
    for path, one, in_study, named in zip(paths, numbers, *opinions, strict=True):
        alone = judge_.opinion(judge_.probabilities(one))
        print(f"| {path.name} | {_said(alone)} | {_said(in_study)} | {_said(named)} |")


def _said(opinion: Opinion) -> str:
    return f"{opinion.modality} ({opinion.confidence:.2f})" + (" family T1" if opinion.family == "t1" else "")


def write(judge_: Classifier, said: dict) -> None:
    """The package's weights and their description."""
    arrays = {"mean": judge_.mean, "scale": judge_.scale, "pair": judge_.pair}
    for k, (weight, bias) in enumerate(judge_.layers):
        arrays |= {f"weight{k}": weight.astype(np.float32), f"bias{k}": bias.astype(np.float32)}
    (PACKAGE / "identity.safetensors").write_bytes(save(arrays))
    text = {
        "format": 1,
        "classes": list(CLASSES),
        "temperature": judge_.temperature,
        "least_confidence": LEAST,
        "sure": SURE,
        **said,
    }
    (PACKAGE / "identity.json").write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Samples, tables, weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="cases with a split.json")
    parser.add_argument("--raw", type=Path, help="raw scans of one person")
    parser.add_argument("--samples", type=Path, required=True, help="made there, or read from there")
    parser.add_argument("--phantoms", type=int, default=24)
    parser.add_argument("--views", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="write the package's weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.samples.exists():
        made = make_samples(options.data, options.phantoms, options.views)
        np.savez_compressed(options.samples, **vars(made))
    with np.load(options.samples) as stored:
        samples = Samples(**{name: stored[name] for name in ("numbers", "kind", "person", "plain", "view")})
    split = json.loads((options.data / "split.json").read_text(encoding="utf-8"))
    test = {person_of(name) for name in split["test"]}

    folds = cross_validate(samples)
    judged = [one for held, judge_ in folds for one in judge(held, judge_)]
    temperature = best_temperature([one for one in judged if one.person not in test])
    judged = [one for held, judge_ in folds for one in judge(held, replace(judge_, temperature=temperature))]
    shipped = replace(fit(samples.where(~np.isin(samples.person, list(test))), 7), temperature=temperature)
    real = [one for one in judged if not one.person.startswith("phantom")]
    plain = [one for one in real if one.view < 0]
    changed = [one for one in real if one.view >= 0]
    invented = [one for one in judged if one.person.startswith("phantom")]
    print(f"\ntemperature {temperature:.1f}")
    for title, ones in {
        "Real scans as they are": plain,
        "Real scans changed at random": changed,
        "Invented patients, changed at random": invented,
    }.items():
        if ones:
            table(title, ones, in_study=False)
            table(title, ones, in_study=True)
    for title, ones in {"real, as they are": plain, "real, changed": changed, "invented": invented}.items():
        if ones:
            alarms(title, [one for one in ones if one.person not in test], shipped)
    if options.raw:
        look_at_raw(options.raw, shipped)
    if options.write:
        right = sum(one.in_study.modality == one.kind for one in plain)
        persons = len({one.person for one in plain if one.person not in test})
        data = f"{persons} persons of BraTS 2018-2023 (train and val of the split) and invented patients"
        write(shipped, {"data": data, "use": "research only", "right_under_cross_validation": [right, len(plain)]})


if __name__ == "__main__":
    main()
