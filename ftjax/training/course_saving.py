"""What a checkpoint holds of a course, and how a course takes it up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from ftjax.freezing.choice import Choice
from ftjax.freezing.partition import Flat, combine
from ftjax.training.checkpoint_changes import Changes, merge, ungrouped
from ftjax.training.course import Course
from ftjax.training.placing import on_host


def to_saved(course: Course) -> dict[str, Any]:
    """What a checkpoint holds of a course: state, choices, and leaves that have closed."""
    leaves, stages = touched(course)
    frozen, phase = course.frozen, course.phase
    values = {**frozen.params, **course.masters}
    closed = {p: leaf for p, leaf in values.items() if p in leaves}
    still = {p: leaf for p, leaf in frozen.stats.items() if p.split('/')[0] in stages}
    return {
        'state': on_host(course.state),
        'closed': on_host({'params': closed, 'stats': still}),
        'choices': [choice.to_saved() for choice in course.plan.choices],
        'phase': {
            'start': phase.start,
            'former': {name: sorted(found) for name, found in course.former.items()},
        },
    }


def touched(course: Course) -> tuple[set[str], set[str]]:
    """Leaves, and stages with statistics, that may differ from what was loaded by now."""
    leaves, stages = set(course.former['params']), set(course.former['stats'])
    for phase in course.plan.phases:
        if phase.start <= course.phase.start:
            leaves |= {*phase.trainable, *phase.reinit}
            stages |= {*phase.moving_stats}
    return leaves, stages


def touched_leaves(course: Course, variables: Mapping[str, Any]) -> dict[str, Flat]:
    """What of some variables of the run may differ from what was loaded, on the host."""
    leaves, stages = touched(course)
    params: Flat = flatten_dict(dict(variables['params']), sep='/')
    stats: Flat = flatten_dict(dict(variables.get('batch_stats', {})), sep='/')
    return {
        'params': {p: np.asarray(x) for p, x in params.items() if p in leaves},
        'stats': {p: np.asarray(x) for p, x in stats.items() if p.split('/')[0] in stages},
    }


def overlaid(variables: Mapping[str, Any], leaves: Mapping[str, Flat]) -> dict[str, Any]:
    """The variables with some leaves replaced; the inverse of `touched_leaves`."""
    params: Flat = flatten_dict(dict(variables['params']), sep='/')
    found = {**variables, 'params': combine({**params, **leaves['params']})}
    if variables.get('batch_stats'):
        stats: Flat = flatten_dict(dict(variables['batch_stats']), sep='/')
        found['batch_stats'] = combine({**stats, **leaves['stats']})
    return found


def restore(course: Course, saved: Mapping[str, Any], step: int) -> Changes:
    """Lets a course take up a checkpoint written after step `step`, in whatever phase that was.

    If another plan wrote it, every value that has moved stays, whether or not it still
    trains; optimizer state and averages are kept where they fit. The changes are told.
    """
    about = saved.get('phase', {'start': max(step - 1, 0), 'former': {}})
    for name, found in about['former'].items():
        course.former[name] = set(found)
    if course.plan.term('chosen') is not None:
        for choice in saved['choices']:
            course.plan = course.plan.with_choice(Choice.from_saved(choice))
    closed, open_ = saved['closed'], saved['state']
    variables = overlaid(
        course.variables,
        {
            'params': {**closed['params'], **open_['trainable']},
            'stats': {**closed['stats'], **open_['stats']},
        },
    )
    phase = course.plan.at(about['start'])
    state, frozen = course.started(variables, phase)
    merged, changes = merge(open_, state)
    if not changes.same:
        # The start of the old plan's phase means nothing to a new plan.
        phase = course.plan.at(max(step - 1, 0))
        state, frozen = course.started(variables, phase)
        merged, changes = merge(open_, state, ungrouped)
        course.former['params'] |= {*open_['trainable'], *closed['params']}
        moved = {*open_['stats'], *closed['stats']}
        course.former['stats'] |= {path.split('/')[0] for path in moved}
    course.stand(variables, phase, merged, frozen)
    return changes
