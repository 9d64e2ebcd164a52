"""From a deployed bundle and new labelled data to a candidate: trained, compared, exported."""

from __future__ import annotations

import dataclasses
import filecmp
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftjax.config import Config
from ftjax.data.audit.quick import quick_audit
from ftjax.data.dataset import Splits
from ftjax.data.load import load_data
from ftjax.data.other_source import same_source
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.io.files.atomic import write_json, write_text
from ftjax.pretrained.own_files import WEIGHTS
from ftjax.runs.prediction.trained import Trained, open_trained
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.serving.bundle.manifest import check_manifest
from ftjax.serving.bundle.run_facts import read_run_facts
from ftjax.serving.making.write_bundle import write_bundle
from ftjax.serving.updating.compare_sets import changes, higher_is_better, scored
from ftjax.serving.updating.continued_config import (
    SAME,
    config_of_bundle,
    continued_config,
    left_at_defaults,
    new_settings,
    old_settings,
)
from ftjax.serving.updating.update_text import update_text
from ftjax.serving.updating.updated import Updated

RESULT, TEXT, BUNDLE = 'update.json', 'update.md', 'bundle'


@dataclasses.dataclass(frozen=True, kw_only=True)
class UpdateRequest:
    """What is to be done."""

    bundle: pathlib.Path
    """Of the deployed network."""
    data: dict[str, Any]
    """Fields of `config.data` of the new data."""
    workdir: pathlib.Path
    strategies: tuple[str, ...] = (SAME,)
    learning_rate: float | None = None
    epochs: float | None = None
    forgetting: bool = True
    """Whether the old data are read, and all are compared on their test split too."""
    parts: Sequence[str] = ()
    """Files with parts of the user's own, which a bundle does not name."""
    command: str = ''


def update_model(request: UpdateRequest, say: Callable[[str], object] = print) -> Updated:
    """Trains, compares, and exports the best on validation data; writes update.md and update.json.

    Strategies are compared on the validation splits, of old and new data alike; the test splits
    only report. A strategy that was trained already in the folder is not trained again.

    Raises:
      UserError: before anything is trained: no bundle; other classes; data that cannot be read,
        or are not those of its run; a task whose metric is no mean over examples; a strategy that
        cannot start from the bundle.
    """
    check_manifest(request.bundle)
    deployed = open_trained(os.fspath(request.bundle), request.parts)
    config = config_of_bundle(request.bundle)
    settings = new_settings(config, request.data)
    new = load_data(settings)
    check_classes(deployed, new)
    old = old_data(request, old_settings(config)) if request.forgetting else None
    sets = {'new': new, **({} if old is None else {'old': old})}
    for name, splits in sets.items():
        if not (len(splits.val) and len(splits.test)):
            raise UserError(
                f'the {name} data have no validation or no test split; set --data.val_fraction '
                'and --data.test_fraction' + ('' if name == 'new' else ', or --noforgetting')
            )
    configs = {
        strategy: continued_config(
            *(config, request.bundle, settings, strategy, request.learning_rate, request.epochs)
        )
        for strategy in request.strategies
    }
    for strategy, own in configs.items():
        check_start(request.bundle, strategy, own, new)
    notes = [*notes_on_data(request, config), *overlaps(old, new)]
    for note in notes:
        say(f'note: {note}')
    on_val, tests = {}, {}
    # The deployed network comes first: what cannot be compared is not trained.
    for name in ('deployed', *request.strategies):
        trained, folder = deployed, request.workdir / folder_of(name)
        if name != 'deployed':
            say(f'{name}: {folder}')
            train(prepare(configs[name], new), folder)
            trained = open_trained(os.fspath(folder))
        on_val[name] = {key: scored(trained, splits.val) for key, splits in sets.items()}
        tests[name] = {key: scored(trained, splits.test) for key, splits in sets.items()}
    metric = on_val['deployed']['new'].metric
    validation = {
        name: {key: one.mean for key, one in found.items()} for name, found in on_val.items()
    }
    chosen = best_of({name: validation[name] for name in request.strategies}, metric)
    found = Updated(
        chosen=chosen,
        candidate=exported(
            request.workdir / folder_of(chosen),
            request.workdir / f'{BUNDLE}_{folder_of(chosen)}',
            request,
        ),
        validation=validation,
        tests={name: tuple(changes(tests['deployed'], tests[name])) for name in request.strategies},
        notes=tuple(notes),
    )
    write_json(request.workdir / RESULT, {**found.facts, 'notes': notes})
    write_text(request.workdir / TEXT, update_text(found, metric, os.fspath(request.bundle)))
    return found


def exported(run: pathlib.Path, output: pathlib.Path, request: UpdateRequest) -> pathlib.Path:
    """The bundle of a run; one that is there already is taken if it is sound and of this run."""
    if output.exists():
        check_manifest(output)
        model = open_trained(os.fspath(run)).model
        if model is None or not filecmp.cmp(model / WEIGHTS, output / WEIGHTS, shallow=False):
            raise UserError(
                f'{output} holds other weights than {run}: it is of an earlier update; remove it, '
                'or give another --workdir'
            )
        return output
    return write_bundle(os.fspath(run), output, command=request.command)


def check_classes(deployed: Trained, new: Splits) -> None:
    """UserError unless the new data have the classes of the head, in its order."""
    names, own = new.class_names, deployed.class_names
    if names and own and tuple(names) != tuple(own):
        missing = [name for name in own if name not in names]
        unknown = [name for name in names if name not in own]
        told = f'they lack {", ".join(map(repr, missing[:5]))}' if missing else ''
        told += '; ' if missing and unknown else ''
        told += f'they have {", ".join(map(repr, unknown[:5]))} too' if unknown else ''
        raise UserError(
            'the new data have other classes than the deployed network: '
            f'{told or "in another order"}; a network with other classes is a new one '
            '(scripts/train.py --config.init=BUNDLE)'
        )


def check_start(bundle: pathlib.Path, strategy: str, config: Config, new: Splits) -> None:
    """UserError for a strategy that cannot start from the bundle's weights; none are read."""
    prepared = prepare(config, new, weights=False)
    if prepared.opened is not None and prepared.opened.head_is_new:
        raise UserError(f'{bundle}: its head does not fit the new data')
    if strategy == SAME and any(phase.reinit for phase in prepared.plan.phases):
        raise UserError(
            f'{SAME}: the strategy of the run, {config.freeze.described!r}, begins some weights at '
            'random, which would undo what was deployed; say what trains now: --strategies=full, '
            'for instance'
        )


def notes_on_data(request: UpdateRequest, config: Mapping[str, Any]) -> list[str]:
    """Sentences on how the new data are read and cut."""
    told, names = [], left_at_defaults(config, request.data)
    if names:
        told.append(
            f'at their defaults, though the run had set them: {", ".join(names)}; where they are '
            'true of the new data too, give them as --data.NAME=VALUE'
        )
    if not request.forgetting and same_source(request.data['source'], config['data']['source']):
        told.append(
            'the new data are of the source that the deployed network was trained on: it may have '
            'trained on examples that are validation or test examples now, and look too good'
        )
    return told


def old_data(request: UpdateRequest, settings: DataSettings) -> Splits:
    """The data of the bundle's run; UserError where they are no longer those."""
    try:
        found = load_data(settings)
    except UserError as error:
        raise UserError(
            f'the data that {request.bundle} was made of cannot be read ({error}); with '
            '--noforgetting nothing is said of them'
        ) from error
    known = read_run_facts(request.bundle).get('data') or {}
    for name in ('val', 'test'):
        if known.get(name) not in (None, getattr(found, name).fingerprint):
            raise UserError(
                f'the {name} split of {settings.source} is no longer that of the run; '
                'with --noforgetting nothing is said of the old data'
            )
    return found


def overlaps(old: Splits | None, new: Splits) -> list[str]:
    """Sentences on examples that were trained on in one data set and test the other."""
    if old is None:
        return []
    told = []
    old, new = (data.whole or data for data in (old, new))  # images, and not windows of them
    for seen, tested, first, second in ((old, new, 'old', 'new'), (new, old, 'new', 'old')):
        audit = quick_audit(Splits(train=seen.train, val=tested.val, test=tested.test))
        for split, counts in audit.leaks().items():
            if counts['exact']:
                told.append(
                    f'{counts["exact"]:,} examples of the {second} {split} split are in the '
                    f'{first} training split: the {second} results are too good'
                )
    return told


def best_of(validation: dict[str, dict[str, float]], metric: str) -> str:
    """The strategy with the best mean over the validation sets; the first of equal ones."""
    sign = 1 if higher_is_better(metric) else -1
    return max(validation, key=lambda name: sign * sum(validation[name].values()))


def folder_of(strategy: str) -> str:
    """A strategy as a name of a folder.

    >>> folder_of('last:2+llrd:0.75')
    'last_2_llrd_0_75'
    """
    return '_'.join(part for part in ''.join(c if c.isalnum() else ' ' for c in strategy).split())


def check_strategies(strategies: Sequence[str]) -> tuple[str, ...]:
    """UserError for two that share a folder, or none."""
    folders = [folder_of(one) for one in strategies]
    if not folders or len(set(folders)) < len(folders) or '' in folders:
        told = ', '.join(strategies) or 'none'
        raise UserError(f'strategies are {told}; expected different ones')
    return tuple(strategies)
