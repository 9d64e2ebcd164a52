"""Arms that train for equally many FLOPs in place of equally many steps."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable
from typing import Any

from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError
from ftjax.io.files.atomic import write_json
from ftjax.io.json.stored_fields import read_fields

FILE = 'equal_compute.json'
LENGTHS = ('train.steps', 'train.eval_every')
"""Changes of an arm that follow from its FLOPs."""
UNTOLD = 'Arms train for equal compute, forward passes of frozen stages counted.'


@dataclasses.dataclass(frozen=True)
class Length:
    """How long an arm trains as the config has it."""

    steps: int
    flops: float
    """Of its mean step, frozen forward passes counted, nothing taken from a cache."""
    eval_every: float
    """Epochs between validations."""


def at_equal_compute(
    settings: AblationSettings, length_of: Callable[[str], Length]
) -> tuple[AblationSettings, str]:
    """Settings whose arms each spend what the reference arm spends as the config has it.

    Returns them with a note on the steps of every arm. A cheap arm gets more steps, over which
    its schedule and its validations are stretched: as many chances of a best one for all.

    Args:
      length_of: of an arm that trains.

    Raises:
      UserError: the reference arm does not train, or FLOPs are not known on this backend.
    """
    reference = settings.reference or next(iter(settings.arms))
    if reference not in settings.tuned:
        raise UserError(f"config.ablation.equal 'compute': {reference!r} does not train")
    lengths = {arm: length_of(arm) for arm in settings.tuned}
    for arm, length in lengths.items():
        if not (math.isfinite(length.flops) and length.flops > 0):
            raise UserError(f"config.ablation.equal 'compute': no FLOPs are known of {arm!r} here")
    whole = lengths[reference].steps * lengths[reference].flops
    steps = {arm: max(1, round(whole / length.flops)) for arm, length in lengths.items()}
    arms: dict[str, Any] = {}
    for arm, given in settings.arms.items():
        arms[arm] = {'freeze': given} if isinstance(given, str) else dict(given)
        if arm in steps:
            stretched = lengths[arm].eval_every * steps[arm] / lengths[arm].steps
            arms[arm] |= dict(zip(LENGTHS, (steps[arm], stretched), strict=True))
    told = ', '.join(f'{arm} {steps[arm]:,}' for arm in steps)
    note = (
        f'Arms train for equal compute: the {whole:.3g} FLOPs of {lengths[reference].steps:,} '
        f'steps of {reference}, forward passes of frozen stages counted. Steps: {told}.'
    )
    return dataclasses.replace(settings, arms=arms), note


def keep_note(folder: pathlib.Path, note: str) -> None:
    """Keeps what is told of the arms' steps beside their rows."""
    write_json(folder / FILE, {'note': note})


def kept_note(folder: pathlib.Path) -> str:
    """What `keep_note` kept; that compute is equal, where nothing was kept."""
    path = folder / FILE
    return read_fields(path, {'note': str})['note'] if path.exists() else UNTOLD
