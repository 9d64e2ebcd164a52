"""What a config may say of `ablation.sequence`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjax.errors import UserError, check_name

if TYPE_CHECKING:
    from ftjax.ablation.settings import AblationSettings

ALONE = (
    *('budget', 'folds', 'also_evaluate', 'movement_on', 'unfamiliar_on', 'groups'),
    'group_gates',
)
"""Fields that say nothing of a sequence yet."""


def check_sequence(settings: AblationSettings) -> None:
    """UserError for a sequence of tasks that are not named, or beside what does not go with one."""
    if not settings.sequence:
        return
    object.__setattr__(settings, 'sequence', tuple(settings.sequence))
    where = 'config.ablation.sequence'
    for task in settings.sequence:
        check_name(task, settings.tasks, f'{where}: task of config.ablation.tasks')
    if len(set(settings.sequence)) < max(2, len(settings.sequence)):
        raise UserError(f'{where} needs two different tasks or more, each once')
    left = [task for task in settings.tasks if task not in settings.sequence]
    if left:
        raise UserError(f'{where} leaves out task {left[0]!r} of config.ablation.tasks')
    others: dict[str, object] = {name: getattr(settings, name) for name in ALONE}
    others['equal'] = settings.equal != 'steps'
    others['search'] = settings.search != 'grid'
    for name, given in others.items():
        if given:
            raise UserError(f'{where} does not go with config.ablation.{name}')
    for arm in settings.arms:
        if arm not in settings.tuned:
            raise UserError(f'{where} does not go with the baseline {arm!r}: it learns no sequence')
