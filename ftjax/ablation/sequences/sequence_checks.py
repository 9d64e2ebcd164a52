"""What a config may say of `ablation.sequence`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ftjax.errors import UserError, check_name

ALONE = (
    *('budget', 'folds', 'also_evaluate', 'movement_on', 'unfamiliar_on', 'groups'),
    'group_gates',
)
"""Fields that say nothing of a sequence yet."""
HEADS = ('own', 'shared')
"""Whether each task of a sequence has a head, or one learns on through all."""


def check_sequence(fields: Mapping[str, Any], tuned: Collection[str]) -> tuple[str, ...]:
    """The tasks of a sequence in order, () for none.

    Args:
      fields: of config.ablation.
      tuned: the arms that have a rate to tune.

    Raises:
      UserError: tasks that are not named, or beside what does not go with a sequence.
    """
    sequence, tasks = tuple(fields['sequence']), fields['tasks']
    where = 'config.ablation.sequence'
    check_name(fields['sequence_head'], HEADS, f'{where}_head')
    if not sequence and fields['sequence_head'] != HEADS[0]:
        raise UserError(f'{where}_head needs tasks in {where}')
    if not sequence:
        if fields['forgetting_gates']:
            raise UserError(f'config.ablation.forgetting_gates needs tasks in {where}')
        return ()
    for task in sequence:
        check_name(task, tasks, f'{where}: task of config.ablation.tasks')
    if len(set(sequence)) < max(2, len(sequence)):
        raise UserError(f'{where} needs two different tasks or more, each once')
    left = [task for task in tasks if task not in sequence]
    if left:
        raise UserError(f'{where} leaves out task {left[0]!r} of config.ablation.tasks')
    others = {name: fields[name] for name in ALONE}
    others['equal'] = fields['equal'] != 'steps'
    others['search'] = fields['search'] != 'grid'
    for name, given in others.items():
        if given:
            raise UserError(f'{where} does not go with config.ablation.{name}')
    for arm in fields['arms']:
        if arm not in tuned:
            raise UserError(f'{where} does not go with the baseline {arm!r}: it learns no sequence')
    return sequence
