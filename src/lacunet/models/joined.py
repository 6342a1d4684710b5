"""Trained networks side by side in one model, each of which answers for some of the regions."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lacunet.errors import ModelError, RecipeError
from lacunet.models.description import MOST_NETWORKS
from lacunet.nn.batch import Images, Logits, Presence
from lacunet.nn.method import Method, Stage, get_method, make_method, name_of
from lacunet.task import Task


class Joined(Method[tuple[Any, ...]]):
    """Trained networks of one preparation as one model.

    Networks that learned in other ways are not best at the same regions. The answer for a region is that of its
    network, and nowhere above the answer for the region around it: a voxel is at most as likely in the tumour core as
    in the whole tumour. The law of a method holds since it holds for each network.

    Args:
        task: Of all networks.
        members: For each network its `method`, its `arguments` and the `regions` that it answers for.

    Raises:
        ModelError: more than ten networks, or a region that has none or more than one.
    """

    def __init__(self, task: Task, *, members: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(task)
        if len(members) > MOST_NETWORKS:
            raise ModelError(f"{len(members)} networks in one model; at most {MOST_NETWORKS} are expected")
        self.owners = _owners([member["regions"] for member in members], task)
        made = [make_method(get_method(member["method"]), task, member["arguments"]) for member in members]
        self.members: Sequence[Method[Any]] = nn.ModuleList(made)  # type: ignore[assignment]
        self.divisor = math.lcm(*(method.divisor for method in made))

    def encode(self, images: Images, presence: Presence) -> tuple[Any, ...]:
        """What each network encodes."""
        return tuple(member.encode(images, presence) for member in self.members)

    def decode(self, encoded: tuple[Any, ...], presence: Presence) -> Logits:
        """Region logits, each of its own network and at most that of the region around it."""
        answers = [member.decode(one, presence) for member, one in zip(self.members, encoded, strict=True)]
        names = list(self.task.regions)
        logits = {name: answers[self.owners[name]][:, index] for index, name in enumerate(names)}
        for name in sorted(names, key=lambda name: -len(self.task.regions[name])):
            around = self.task.region_around(name)
            logits[name] = logits[name] if around is None else torch.minimum(logits[name], logits[around])
        return torch.stack([logits[name] for name in names], dim=1)

    def stages(self) -> list[Stage]:
        """None: its networks are trained already.

        Raises:
            RecipeError: always.
        """
        raise RecipeError("a joined model is not trained; its networks are, each by itself")


def join(methods: Sequence[Method[Any]], regions: Sequence[Sequence[str]]) -> Joined:
    """One model of trained networks.

    Args:
        methods: Of one task, prepared alike.
        regions: That each of them answers for.

    Raises:
        ModelError: the networks are of several tasks, or a region has no network or more than one.
    """
    task = methods[0].task
    for other in methods[1:]:
        if other.task.to_json() != task.to_json():
            raise ModelError(f"networks of the tasks '{task.name}' and '{other.task.name}' cannot be joined")
    members = [
        {"method": name_of(method), "arguments": dict(method.arguments), "regions": list(own)}
        for method, own in zip(methods, regions, strict=True)
    ]
    joined = make_method(Joined, task, {"members": members})
    for member, method in zip(joined.members, methods, strict=True):
        member.load_state_dict(method.state_dict())
    return joined


def _owners(regions: Sequence[Iterable[str]], task: Task) -> dict[str, int]:
    """By region: the number of its network."""
    owners: dict[str, int] = {}
    for number, own in enumerate(regions):
        for region in own:
            if region not in task.regions or region in owners:
                raise ModelError(
                    f"joined networks: '{region}' is named twice or is no region of '{task.name}' "
                    f"({', '.join(task.regions)}); name each region once"
                )
            owners[region] = number
    if missing := [region for region in task.regions if region not in owners]:
        raise ModelError(f"joined networks: none answers for {', '.join(missing)}; name each region once")
    return owners
