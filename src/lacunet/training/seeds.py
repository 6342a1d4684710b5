"""Every random choice of a training is a function of (seed, stage, step, rank), so that it replays when resumed."""

import torch


def seed_step(seed: int, stage: int, step: int, rank: int) -> None:
    """Seed torch so that dropout and sampled noise replay at this step, and differ between ranks."""
    torch.manual_seed(_mix(seed, stage, step, rank + 1))


def shared_generator(seed: int, stage: int, step: int) -> torch.Generator:
    """Draws that are the same on every rank at this step."""
    return torch.Generator().manual_seed(_mix(seed, stage, step, 0))


def _mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers; other numbers give another seed (finaliser of SplitMix64)."""
    mixed = 0
    for number in numbers:
        mixed = (mixed + number + 0x9E3779B97F4A7C15) & (2**64 - 1)
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        mixed ^= mixed >> 31
    return mixed >> 1
