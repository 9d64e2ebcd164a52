"""What a registry holds, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from ftjax.errors import UserError
from ftjax.plotting.number_formats import score
from ftjax.printable import aligned, printable
from ftjax.serving.versions.registry import Damaged, Registry
from ftjax.serving.versions.version_names import STAGES
from ftjax.serving.versions.version_records import Version

_NOTE = 60


def list_models(registry: Registry) -> Iterator[str]:
    """A line a model: its last version, and what its stages hold."""
    rows = [['model', 'versions', 'latest', *STAGES]]
    for name in registry.models():
        numbers = registry.numbers(name, 'versions')
        held = [_held(registry, name, stage) for stage in STAGES]
        rows.append([name, str(len(numbers)), str(numbers[-1]), *held])
    yield from aligned(rows) if len(rows) > 1 else [f'{registry.url} holds no model']


def list_versions(registry: Registry, name: str) -> Iterator[str]:
    """A line a version, the newest first; then its history."""
    held = {stage: _held(registry, name, stage) for stage in STAGES}
    rows = [['version', 'published', 'by', 'stages', 'test set', 'metric', 'note']]
    for one in reversed(registry.versions(name)):
        stages = ', '.join(stage for stage, number in held.items() if number == str(one.number))
        if isinstance(one, Damaged):
            rows.append([str(one.number), 'damaged', '', stages, '', '', one.reason])
        else:
            told = [one.when[:16].replace('T', ' '), one.who, stages, *_run(one), one.note[:_NOTE]]
            rows.append([str(one.number), *told])
    yield from aligned(rows)
    events = registry.history(name)
    if events:
        yield ''
    for event in events:
        if isinstance(event, Damaged):
            yield printable(f'{event.number:>4}  damaged: {event.reason}')
        else:
            yield printable(
                f'{event.number:>4}  {event.when[:16].replace("T", " ")}  {event.action} '
                f'{event.stage}: {name}@{event.version}  by {event.who}: {event.reason}'
            )


def metric_told(version: Version) -> str:
    """The first metric that has an interval, as it is written; `–` where there is none.

    It is of the test set of the version's own run.
    """
    metrics = version.run.get('metrics', {})
    for name, value in metrics.items():
        interval = metrics.get(f'{name}_interval')
        if interval and isinstance(value, float):
            low, high = (score(bound, name) for bound in interval)
            return f'{name} {score(value, name)} [{low}, {high}]'
    return '–'


def _run(version: Version) -> tuple[str, str]:
    return (version.run.get('data', {}).get('test') or '–')[:8], metric_told(version)


def _held(registry: Registry, name: str, stage: str) -> str:
    try:
        event = registry.held(name, stage)
    except UserError:
        return 'damaged'
    return '–' if event is None else str(event.version)
