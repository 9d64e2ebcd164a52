"""Promotions and rollbacks: each is one more record, and the last one of a stage decides."""

from __future__ import annotations

import dataclasses

from ftjax.errors import UserError
from ftjax.serving.versions.publishing import checked_note
from ftjax.serving.versions.registry import Damaged, Registry, create, made_now
from ftjax.serving.versions.version_names import check_model_name, check_stage
from ftjax.serving.versions.version_records import Event, Version


@dataclasses.dataclass(frozen=True)
class Promoted:
    """What became of a promotion or rollback."""

    event: Event
    new: bool
    """False where the stage held the version already."""


def promote(registry: Registry, reference: str, stage: str, reason: str) -> Promoted:
    """Puts a version into `staging` or `production`, once its files are seen to be good.

    Raises:
      UserError: no such version, a damaged one, no reason, or the store cannot be written to.
    """
    check_stage(stage)
    _check_reason(reason)
    version = registry.resolve(reference)
    registry.open(version)
    while True:
        events = registry.history(version.name)
        last = last_of(events, stage)
        # What came after it and cannot be read may be of this stage too.
        after = [each for each in events if last is not None and each.number > last.number]
        unread = any(isinstance(each, Damaged) for each in after)
        if last is not None and last.version == version.number and not unread:
            return Promoted(last, False)
        before = () if last is None else (*last.before, last.version)
        event = _event(events, 'promote', stage, version, before, reason)
        if create(registry, 'history', event):
            return Promoted(event, True)


def rollback(registry: Registry, name: str, stage: str, reason: str) -> Promoted:
    """Puts back what a stage held before; a second rollback goes one further back.

    Raises:
      UserError: there is nothing before, what was before is damaged, or no reason.
    """
    check_model_name(name)
    check_stage(stage)
    _check_reason(reason)
    while True:
        events = registry.history(name)
        last = registry.held(name, stage)
        if last is None:
            registry.versions(name)  # that there is such a model
        if last is None or not last.before:
            held = 'nothing' if last is None else f'only {name}@{last.version}'
            raise UserError(f'{name}: {stage} has held {held} so far; there is nothing before it')
        version = registry.version(name, last.before[-1])
        registry.open(version)
        event = _event(events, 'rollback', stage, version, last.before[:-1], reason)
        if create(registry, 'history', event):
            return Promoted(event, True)


def last_of(events: list[Event | Damaged], stage: str) -> Event | None:
    """The last change of a stage that can be read."""
    told = (each for each in reversed(events) if isinstance(each, Event))
    return next((each for each in told if each.stage == stage), None)


def _event(
    events: list[Event | Damaged],
    action: str,
    stage: str,
    version: Version,
    before: tuple[int, ...],
    reason: str,
) -> Event:
    last = events[-1] if events else None
    return Event(
        name=version.name,
        number=1 if last is None else last.number + 1,
        action=action,
        stage=stage,
        version=version.number,
        before=before,
        reason=reason,
        **made_now(last),
    )


def _check_reason(reason: str) -> None:
    if not checked_note(reason, 'the reason').strip():
        raise UserError('no reason is given; --reason says to those who come later why')
