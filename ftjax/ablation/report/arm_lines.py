"""What each arm of an ablation is, in a line: what it changes, and what that means."""

from __future__ import annotations

from collections.abc import Mapping

from ftjax.ablation.cells.baselines import BASELINES
from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError
from ftjax.freezing.registry import parse
from ftjax.models.adapters.lora import ALL
from ftjax.registry import Term


def arm_lines(settings: AblationSettings) -> dict[str, str]:
    """Arm to its changes of the config, with the meaning of its strategy or baseline.

    >>> arm_lines(AblationSettings(arms={'top': 'head'}, rates=(0.1,)))
    {'top': 'freeze head. The head alone (linear probe).'}
    >>> line = arm_lines(AblationSettings(arms={'wide': 'dora:4,all'}, rates=(0.1,)))['wide']
    >>> line.partition('mergeable. ')[2]
    "Here in place of its own targets: every dense layer but the head's."
    """
    return {arm: _line(settings.changes(arm)) for arm in settings.arms}


def _line(changes: Mapping[str, object]) -> str:
    told = ', '.join(f'{key} {_value(value)}' for key, value in changes.items())
    meaning = _meaning(changes)
    return f'{told}. {meaning}' if meaning else told


def _value(value: object) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return '(' + ', '.join(f'{key} {_value(inner)}' for key, inner in value.items()) + ')'


def _meaning(changes: Mapping[str, object]) -> str:
    """The first lines of the docstrings of what an arm names; '' where nothing has one."""
    baseline, freeze = changes.get('baseline'), changes.get('freeze')
    if isinstance(baseline, Mapping):
        baseline = baseline.get('name')
    if baseline in BASELINES:
        return (BASELINES[str(baseline)].__doc__ or '').strip().split('\n')[0]
    if isinstance(freeze, Mapping):
        freeze = freeze.get('strategy')
    if not isinstance(freeze, str):
        return ''
    try:
        summaries = [_summary(term) for term in parse(freeze)]
    except UserError:  # a strategy of one's own, where its file is not at hand
        return ''
    return ' '.join(filter(None, summaries))


def _summary(term: Term) -> str:
    """A strategy's first line, and the layers that an adapter was given in place of its own."""
    words = term.part.summary
    targets, default = (of.get('targets') for of in (term.arguments, term.part.parameters))
    if not words or targets == default or term.details.kind != 'adapter':
        return words
    every = "every dense layer but the head's"
    told = every if targets == ALL else f'dense layers whose path holds {targets}'
    return f'{words} Here in place of its own targets: {told}.'
