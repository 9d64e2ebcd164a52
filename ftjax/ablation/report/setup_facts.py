"""What lets a reader repeat an ablation from its page: what all arms share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.ablation.report.arm_lines import arm_lines
from ftjax.ablation.settings import AblationSettings
from ftjax.io.json.json_values import JsonObject
from ftjax.plotting import number_formats

Rows = Sequence[Mapping[str, Any]]
OF_ADAM, OF_SGD = ('betas', 'epsilon'), ('momentum', 'nesterov')


def setup_of(values: JsonObject, settings: AblationSettings, rows: Rows = ()) -> dict[str, object]:
    """What was held fixed, name to value, in the order to show; arms may change it.

    Args:
      values: the config as plain dicts, without its section `ablation`.
      settings: that section.
      rows: finished ones; they tell the sizes of the splits.
    """
    data, train = values['data'], values['train']
    steps = train.get('steps')
    return {
        'data': ', then '.join(settings.sequence) or data['source'],
        **({'corruption': data['corruption']} if data.get('corruption', 'none') != 'none' else {}),
        **({'head': 'one for all tasks'} if settings.sequence_head == 'shared' else {}),
        'training examples a class': data['examples_per_class'] or 'all',
        **split_sizes(rows),
        **chance_lines(rows),
        'network': values['init'] or values['model'].get('name'),
        'optimizer': optimizer_line(values['optimizer']),
        'length': f'{steps} steps' if steps else f'{train["epochs"]:g} epochs',
        'batch': f'{data["batch_size"]} examples',
        'augmentation': data.get('augment') or 'none',
        'weights kept': 'of the last step'
        if train.get('keep') == 'last'
        else f'the best on validation, looked at every {train["eval_every"]:g} epochs',
        'arm': arm_lines(settings),
        'starting rates': rates_line(settings),
        'seeds': ', '.join(map(str, settings.seeds)),
        **({'tasks': settings.tasks} if settings.tasks else {}),
        **({'folds': settings.folds} if settings.folds else {}),
        **({'tuned beside the rate': settings.tune} if settings.tune else {}),
        **({'budget': settings.budget} if settings.budget else {}),
        **({'equal': settings.equal} if settings.equal != 'steps' else {}),
    }


def split_sizes(rows: Rows) -> dict[str, str]:
    """Examples of each split, and of every further test set, as the rows tell them."""
    found: dict[str, str] = {}
    for row in rows:
        where = f' ({row["task"]})' if row.get('task') else ''
        sizes = row.get('sizes') or {'test': (row.get('test') or {}).get('n')}
        known = [f'{name} {count:,}' for name, count in sizes.items() if count]
        if known:
            found.setdefault(f'examples{where}', ', '.join(known))
        for name, metrics in (row.get('shifts') or {}).items():
            if metrics.get('n'):
                found.setdefault(f'examples of {name}{where}', f'{metrics["n"]:,}')
    return found


def chance_lines(rows: Rows) -> dict[str, str]:
    """Accuracy of guessing, and of always answering the class that is most frequent in testing."""
    found: dict[str, str] = {}
    for row in rows:
        known = row.get('guessing')
        if known:
            where = f' ({row["task"]})' if row.get('task') else ''
            found.setdefault(
                f'accuracy of guessing{where}',
                f'{number_formats.share(1 / known["classes"])}; of always answering the most '
                f'frequent class of the test split {number_formats.share(known["majority"])}',
            )
    return found


def optimizer_line(optimizer: Mapping[str, object]) -> str:
    """The optimizer with all that is set of it but the rate.

    >>> optimizer_line({'name': 'sgd', 'learning_rate': 0.1, 'momentum': 0.9, 'nesterov': False})
    'sgd, momentum 0.9'
    """
    name = str(optimizer['name'])
    of_others = OF_ADAM if name == 'sgd' else OF_SGD if name.startswith('adam') else ()
    parts = [name]
    for key, value in optimizer.items():
        if key in ('name', 'learning_rate', *of_others) or value in (None, False, '', 0, {}, ()):
            continue
        if (key, value) == ('accumulate', 1):
            continue
        parts.append(f'{key.replace("_", " ")} {value}')
    return ', '.join(parts)


def rates_line(settings: AblationSettings) -> str:
    """The starting grid of rates, of which arms where they differ, and how it goes on."""
    arms_of: dict[tuple[float, ...], list[str]] = {}
    for arm, grid in settings.grids.items():
        arms_of.setdefault(grid, []).append(arm)
    told = '; '.join(
        (f'{", ".join(arms)}: ' if len(arms_of) > 1 else '')
        + ', '.join(f'{rate:g}' for rate in grid)
        for grid, arms in arms_of.items()
    )
    if settings.search != 'grid' or not told:
        return told or 'none'
    return f'{told}; up to {settings.max_extra} more while a best one is on an edge'
