"""Train the classifier of sequence types, and print how often it is right.

    python scripts/train_identity.py --data GLIOMA --raw RAW --samples samples.npz            # the tables
    python scripts/train_identity.py --data GLIOMA --raw RAW --samples samples.npz --write    # and the package's weights

GLIOMA is a folder of cases with a split.json (train, val, test); RAW a folder of unregistered scans of one person, named
so that lacunet knows their sequences. Samples (features, no voxels) are made once and kept in `--samples`.
One thread; about ten minutes for the samples and five for the tables.

Cross-validation is by person over all real cases; the weights that are written never saw the test persons.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from identity_samples import Base, invented_bases, real_bases, seen
from lacunet.data.find import find_cases
from lacunet.data.nifti import load_case
from lacunet.intake.classify import Classifier
from lacunet.intake.features import features
from lacunet.task import GLIOMA

CLASSES = (*GLIOMA.modalities, "other")
PACKAGE = Path(__file__).parents[1] / "src/lacunet/intake"
MEMBERS, EPOCHS, FOLDS = 5, 40, 7


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


def fit(samples: Samples, seed: int) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Mean, scale, layers (members stacked) and the weights that compare two T1 scans."""
    mean, scale = samples.numbers.mean(0), samples.numbers.std(0) + 1e-6
    inputs = torch.from_numpy(((samples.numbers - mean) / scale).clip(-5, 5).astype(np.float32))
    targets = torch.from_numpy(samples.targets)
    real = torch.from_numpy(np.array([not person.startswith("phantom") for person in samples.person]))
    balance = 1.0 / torch.bincount(targets, minlength=len(CLASSES)).float()
    weights = balance[targets] * torch.where(real, 2.0, 1.0)
    members = [_fit_member(inputs, targets, weights / weights.mean(), seed + k) for k in range(MEMBERS)]
    layers = [
        (np.stack([member[k][0] for member in members]), np.stack([member[k][1] for member in members]))
        for k in range(len(members[0]))
    ]
    return mean, scale, layers, _fit_pair(samples, inputs, seed)


def _fit_member(inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, seed: int):
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(inputs.shape[1], 48), nn.ReLU(), nn.Dropout(0.25), nn.Linear(48, 24), nn.ReLU(),
        nn.Linear(24, len(CLASSES)),
    )  # fmt: skip
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    steps = EPOCHS * (len(inputs) // 64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (64,))
        noisy = inputs[rows] + 0.1 * torch.randn(64, inputs.shape[1])
        loss = nn.functional.cross_entropy(network(noisy), targets[rows], reduction="none", label_smoothing=0.02)
        optimiser.zero_grad()
        (loss * weights[rows]).mean().backward()
        optimiser.step()
        schedule.step()
    return [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in network
        if isinstance(layer, nn.Linear)
    ]


def _fit_pair(samples: Samples, inputs: torch.Tensor, seed: int) -> np.ndarray:
    """Logistic regression without a constant on differences of features: after minus before is 1; two of a kind, 0.5."""
    generator = np.random.default_rng(seed)
    differences, wanted = [], []
    for person in np.unique(samples.person):
        rows = {kind: np.flatnonzero((samples.person == person) & (samples.kind == kind)) for kind in ("t1n", "t1c")}
        if min(map(len, rows.values())) == 0:
            continue
        for _ in range(60):
            one, other = generator.choice(rows["t1c"]), generator.choice(rows["t1n"])
            differences.append(inputs[one] - inputs[other])
            wanted.append(1.0)
        for kind in rows:
            for _ in range(10):
                one, other = generator.choice(rows[kind], 2)
                differences.append(inputs[one] - inputs[other])
                wanted.append(0.5)
    matrix, goal = torch.stack(differences), torch.tensor(wanted)
    weight = torch.zeros(matrix.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=0.02)
    for _ in range(400):
        logits = matrix @ weight
        loss = nn.functional.binary_cross_entropy_with_logits(logits, goal) + 0.003 * weight.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return weight.detach().numpy()


def as_classifier(fitted, temperature: float = 1.0, least: float = 0.7, sure: float = 0.97, pair: float = 0.8):
    """What the package uses."""
    mean, scale, layers, pair_weights = fitted
    return Classifier(
        CLASSES,
        mean.astype(np.float32),
        scale.astype(np.float32),
        tuple(layers),
        pair_weights,
        temperature,
        least,
        sure,
        pair,
    )


def main() -> None:
    """Make the samples where there are none yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--phantoms", type=int, default=60)
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if not options.samples.exists():
        samples = make_samples(options.data, options.phantoms, options.views)
        np.savez_compressed(options.samples, **vars(samples))


if __name__ == "__main__":
    main()
