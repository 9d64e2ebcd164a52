"""ViT-B/16 with most of it frozen, in bfloat16, beside PyTorch; and the memory."""

from __future__ import annotations

from benchmarks.device.report import Section
from benchmarks.device.vision_steps import FROZEN, strategies


def run(section: Section, tiny: bool) -> None:
    """A row a strategy."""
    strategies(section, tiny, FROZEN)
