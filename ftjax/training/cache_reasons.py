"""Why the stages before a cut cannot be computed once and stored, if they cannot."""

from __future__ import annotations

from ftjax.data.augmentation import parse_augment
from ftjax.freezing.phase import Phase
from ftjax.freezing.plan import Plan


def refusal(plan: Plan, phase: Phase, augmentation: str = 'none', views: int = 1) -> str | None:
    """The reason why a phase cannot start at its cut, in a few words; None if it can.

    >>> import jax
    >>> from ftjax.freezing.plan import make_plan
    >>> from ftjax.models.registry import build
    >>> net = build('vit', {'depth': 2, 'width': 8, 'heads': 2, 'image_size': 16})
    >>> shapes = jax.eval_shape(net.init, jax.random.key(0), net.example_input())
    >>> plan = make_plan('last:1', net, shapes)
    >>> refusal(plan, plan.at(0)), refusal(plan, plan.at(0), 'flip')
    (None, "data.augment 'flip' draws anew at every step; train.cache_views=K fixes K views")
    >>> refusal(full := make_plan('full', net, shapes), full.at(0))
    "no stage lies before the cut: the first one, 'embed', trains"
    """
    names = list(phase.stages)
    before = names[: names.index(phase.cut)]
    if not before:
        return f'no stage lies before the cut: the first one, {phase.cut!r}, trains'
    for name in before:
        mode = phase.modes[name]
        if mode.batch_stats:
            return (
                f'stage {name!r} before the cut normalises by the batch and moves its '
                "statistics (freeze.norm='frozen' fixes them)"
            )
        if not mode.deterministic:
            return f'stage {name!r} before the cut runs with noise (dropout, stochastic depth)'
    if parse_augment(augmentation) and views == 1:
        return (
            f'data.augment {augmentation!r} draws anew at every step; '
            'train.cache_views=K fixes K views'
        )
    return changed_before(plan, phase, frozenset(before))


def changed_before(plan: Plan, phase: Phase, before: frozenset[str]) -> str | None:
    """The reason if weights before the cut are not those that were loaded."""
    for other in plan.phases:
        if other.start > phase.start:
            continue
        anew = [path for path in other.reinit if path.split('/')[0] in before]
        if anew:
            return f'{anew[0]} before the cut is given random values at step {other.start}'
        moved = other.moving if other.start < phase.start else frozenset()
        known = [path for path in sorted(moved) if path.split('/')[0] in before]
        if known:
            return (
                f'{known[0]} before the cut trains in the phase from step {other.start} on, so '
                'the stages before the cut are no longer those that were loaded'
            )
        if other.start < phase.start:
            stats = [name for name in other.moving_stats if name in before]
            if stats:
                return (
                    f'the statistics of {stats[0]!r} before the cut move in the phase from step '
                    f'{other.start} on'
                )
    return None
