"""A method with two stages, a teacher, and noise of both kinds: what the training loop must cope with."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lacunet.nn.batch import Batch, Images, Logits, Presence, hide
from lacunet.nn.losses import dice_loss
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.task import Task


class TwoStages(Method[Images]):
    paper = Paper(title="Two stages", authors="Nobody", year=2026, venue="", url="", idea="For tests.")

    def __init__(self, task: Task, *, width: int = 4, noise: float = 0.1) -> None:
        super().__init__(task)
        self.noise = noise
        self.divisor = 2
        self.body = nn.Conv3d(len(task.modalities), width, 3, padding=1)
        self.teacher = nn.Conv3d(len(task.modalities), width, 3, padding=1)
        self.back = nn.Conv3d(width, len(task.modalities), 1)
        self.head = nn.Conv3d(width, len(task.regions), 1)

    def encode(self, images: Images, presence: Presence) -> Images:
        return hide(images, presence)

    def decode(self, encoded: Images, presence: Presence) -> Logits:
        return self.head(torch.tanh(self.body(hide(encoded, presence))))

    def stages(self) -> list[Stage]:
        return [
            Stage("recover", self._recover, trains=[self.body, self.back], select="loss"),
            Stage("segment", self._segment, trains=[self.body, self.head], before=self._teach),
        ]

    def _teach(self) -> None:
        self.teacher.load_state_dict(self.body.state_dict())

    def _recover(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        features = torch.tanh(self.body(hide(batch.images, batch.presence)))
        noisy = features + self.noise * torch.randn_like(features)
        return {"recovery": F.mse_loss(self.back(noisy).float(), hide(batch.images, batch.acquired))}

    def _segment(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        images = hide(batch.images, batch.presence)
        taught = self.teacher(hide(batch.images, batch.acquired))
        chance = torch.rand((), generator=clock.shared).item()
        clock.note("chance", chance)
        if clock.step == 0:
            clock.note("began", torch.ones(()))
        return {
            "dice": dice_loss(self.head(torch.tanh(self.body(images))), batch.regions),
            "distillation": self.noise * chance * F.mse_loss(self.body(images).float(), taught.float()),
        }
