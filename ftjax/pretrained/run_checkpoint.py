"""A run's checkpoints as a pretrained network: what training changed over what it started from."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.io.files.saved_step import MANIFEST, SavedStep, Stored, steps_in
from ftjax.io.identity.identity_changes import differences, part, refused
from ftjax.io.json.json_reader import read_object
from ftjax.io.json.json_values import Integer, JsonObject, Table, Text, check_table, optional
from ftjax.leaves import flatten
from ftjax.models.adapters.adapted import plain_network
from ftjax.models.registry import build, is_recipe, options_of
from ftjax.pretrained import own_format
from ftjax.pretrained.initialise import leaf_shapes, random_variables
from ftjax.pretrained.locate.locate import RANDOM
from ftjax.pretrained.readers.tensor_source import Header, TensorSource
from ftjax.pretrained.weights_identity import weights_of
from ftjax.pytrees import Flat

FOLDER = 'checkpoints'
DESCRIPTION = 'network'
OF_LABELS = ('pool', 'head', 'vector_dim')
"""Fields of a network for texts that the kind of labels sets, and config.json of a run has not."""
PARTS = (
    ('closed', 'params', 'params'),
    ('closed', 'batch_stats', 'stats'),
    ('state', 'params', 'trainable'),
    ('state', 'params', 'ema'),
    ('state', 'batch_stats', 'stats'),
)
"""(item, collection, its name in the item); what comes later in this list wins."""


def find(path: pathlib.Path) -> pathlib.Path | None:
    """The step that RUN/checkpoints (its best) or RUN/checkpoints/STEP names, None otherwise."""
    path = path.absolute()
    if path.name.isdecimal() and path.parent.name == FOLDER and path.is_dir():
        return path
    if path.name != FOLDER or not path.is_dir() or (path / own_format.CONFIG).exists():
        return None
    steps = [step for step in steps_in(path) if (path / str(step) / MANIFEST).exists()]
    if not steps:
        return None
    progress = part(SavedStep(path / str(steps[-1])).items, 'progress')
    best = part(progress, 'best').get('step')
    return path / str(best if best in steps else steps[-1])


def description_of(run: pathlib.Path) -> pathlib.Path:
    """The folder that says which network a run is of; UserError where it has not told."""
    for name in ('model', DESCRIPTION):
        if (run / name / own_format.CONFIG).exists():
            return run / name
    raise UserError(
        f'{run} does not say which network its checkpoints belong to: it has neither model/ nor '
        f'{DESCRIPTION}/; finish the run by starting it again'
    )


class RunSource(TensorSource):
    """Leaves of a network by key, 'params/head/dense/kernel': a checkpoint's over those of before.

    Of the checkpoint: the trainable leaves (their moving average, where the run keeps one), those
    that trained in earlier phases, and running statistics; not the optimizer's state.
    """

    def __init__(
        self,
        step: pathlib.Path,
        before: Mapping[str, Header] | None = None,
        read_before: Callable[[], Mapping[str, object]] = dict,
    ):
        """Reads manifest and headers; UserError if they are damaged or of a later version."""
        self.path, self.saved = step, SavedStep(step)
        self.headers, self.stored = dict(before or {}), {}
        self._before = functools.cache(read_before)
        for item, collection, name in PARTS:
            for key, leaf in part(part(self.saved.items, item), name).items():
                if isinstance(leaf, Stored):
                    self.stored[f'{collection}/{key}'] = leaf
        items = sorted({leaf.item for leaf in self.stored.values()})
        headers = {item: self.saved.headers(item) for item in items}
        for key, leaf in self.stored.items():
            if leaf.number not in headers[leaf.item]:
                raise self.saved.damaged(f'{key} is missing')
            # One that the network has not is for the strict load to refuse.
            self.headers[key] = Header(*headers[leaf.item][leaf.number])

    def read(self, name: str) -> np.ndarray:
        """One leaf; UserError if it is not what was saved, or nowhere."""
        if name in self.stored:
            return self.saved.arrays([(name, self.stored[name])])[0]
        if name not in self._before():
            raise UserError(f'{self.path}: {name} is neither there nor in what the run began with')
        return np.asarray(self._before()[name])


def open_run(step: pathlib.Path, config: JsonObject, load: Callable[..., object]) -> RunSource:
    """The leaves of a run's checkpoint, `config` being our own description of its network.

    `load` opens the run's beginning: (init, options by keyword) -> Pretrained. UserError where the
    checkpoint is damaged, or frozen statistics were made by the run and kept nowhere; reading a
    leaf raises it where the run's beginning is no longer what it was.
    """
    file = step.parents[1] / own_format.CONFIG
    run = read_object(file) if file.exists() else {}
    kinds = {'init': optional(Text()), 'model': optional(Table()), 'data': optional(Table())}
    check_table(run, {**kinds, 'seed': Integer(-(2**31), 2**31 - 1)}, str(file))

    def read_before() -> Flat:
        found, report = beginning(config, run, load)
        now = {'weights': weights_of(found, report)}
        wrong = refused(differences(source.saved.identity or {}, now), ())
        if wrong:
            raise UserError(
                f'{step}: {wrong} from what the run began with, and its frozen leaves are not in '
                'the checkpoint; put back what it began with, or open the finished run'
            )
        return flatten(found)

    shapes = leaf_shapes(build(config['model'], config['options']))
    before = {key: Header(np.dtype(x.dtype), tuple(x.shape)) for key, x in shapes.items()}
    source = RunSource(step, before, read_before)
    lost = {key for key in shapes if key.startswith('batch_stats/')} - {*source.stored}
    if lost and part(run, 'freeze').get('norm') == 'recompute':
        raise UserError(
            f'{step}: the run estimated frozen running statistics (freeze.norm = recompute), which '
            'its checkpoints do not hold; finish the run and open that'
        )
    return source


def beginning(
    config: JsonObject, run: JsonObject, load: Callable[..., Any]
) -> tuple[Mapping[str, object], dict[str, object]]:
    """The variables that a run started from, adapters left out, and how they were loaded."""
    seed, options = run.get('seed', 0), dict(run.get('model') or {})
    network = plain_network(build(config['model'], config['options']))
    if not run.get('init'):
        if not isinstance(options.get('name'), str):
            raise UserError('config.json of the run: neither init nor model.name is there')
        return random_variables(network, seed), {}
    if network.takes == 'texts' and not is_recipe(run['init'].removeprefix(RANDOM)):
        made = options_of(network)[1]
        options = {name: made[name] for name in OF_LABELS if name in made} | options
    names, size = config.get('class_names') or None, (run.get('data') or {}).get('image_size')
    size, options = tuple(size) if isinstance(size, list) else size, options or None
    how = {'class_names': names, 'image_size': size, 'seed': seed, 'options': options}
    found = load(run['init'], num_classes=network.num_classes, **how)
    return found.variables, found.report.to_json()
