"""A run's checkpoints as a pretrained network: what training changed over what it started from."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.io.files.saved_step import MANIFEST, SavedStep, best_first, steps_in
from ftjax.io.identity.identity_changes import differences, refused
from ftjax.io.json.json_values import Integer, Kind, Table, Text, check_table, optional
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained import own_format
from ftjax.pretrained.initialise import leaf_shapes, random_variables
from ftjax.pretrained.leaves import flatten
from ftjax.pretrained.readers.orbax_step import OrbaxStep
from ftjax.pretrained.readers.tensor_source import Header, TensorSource
from ftjax.pretrained.weights_identity import weights_of

FOLDER = 'checkpoints'
DESCRIPTION = 'network'


@dataclasses.dataclass(frozen=True)
class RunCheckpoint:
    """Where a checkpoint of a run is."""

    run: pathlib.Path
    step: pathlib.Path

    @property
    def description(self) -> pathlib.Path:
        """The folder that says which network it is; UserError where no run has told."""
        for name in ('model', DESCRIPTION):
            if (self.run / name / own_format.CONFIG).exists():
                return self.run / name
        raise UserError(
            f'{self.run} does not say which network its checkpoints belong to: it has neither '
            f'model/ nor {DESCRIPTION}/; finish the run by starting it again'
        )


def find(path: pathlib.Path) -> RunCheckpoint | None:
    """The checkpoint that RUN/checkpoints (its best) or RUN/checkpoints/STEP names, or None.

    Raises:
      UserError: the folder holds no checkpoint, or none that is whole.
    """
    if path.name.isdecimal() and path.parent.name == FOLDER and path.is_dir():
        return RunCheckpoint(path.absolute().parents[1], path.absolute())
    if path.name != FOLDER or not path.is_dir() or (path / own_format.CONFIG).exists():
        return None
    steps = [step for step in steps_in(path) if (path / str(step) / MANIFEST).exists()]
    if not steps:
        return None
    # Of the best validation; the last where none has a rank, which was the score in early versions.
    found = {step: SavedStep(path / str(step)).metrics for step in steps}
    ranks = {step: told.get('rank', told.get('score')) for step, told in found.items()}
    chosen = next(iter(best_first(ranks)), steps[-1])
    return RunCheckpoint(path.absolute().parent, path.absolute() / str(chosen))


class Overlay(TensorSource):
    """A network's leaves: a checkpoint's, and where it has none those of the run's beginning."""

    def __init__(self, step: OrbaxStep, network: Network, base: Callable[[], Mapping[str, Any]]):
        self.path, self._step = step.path, step
        self._base = functools.cache(base)
        self.headers = {
            key: step.headers.get(key) or Header(np.dtype(leaf.dtype), tuple(leaf.shape))
            for key, leaf in leaf_shapes(network).items()
        }
        for key in step.names:  # one the network has not is for the strict load to refuse
            self.headers.setdefault(key, step.headers[key])

    def read(self, name: str) -> np.ndarray:
        """One leaf; UserError if neither has it."""
        if name in self._step.headers:
            return self._step.read(name)
        base = self._base()
        if name not in base:
            raise UserError(f'{self.path}: {name} is neither there nor in what the run began with')
        return np.asarray(base[name])


def open_run(
    found: RunCheckpoint,
    config: Mapping[str, Any],
    run: Mapping[str, Any],
    load: Callable[..., Any],
) -> Overlay:
    """The leaves of a run's checkpoint.

    Args:
      found: where it is.
      config: our own description of the network.
      run: the run's config.json.
      load: (init, options by keyword) -> Pretrained: how the run's beginning is opened.

    Raises:
      UserError: the checkpoint is damaged, or frozen statistics were made by the run and kept
        nowhere. Reading a leaf raises it too: the run's beginning is no longer what it was.
    """
    network, step = build(config['model'], config['options']), OrbaxStep(found.step)
    freeze = run.get('freeze')
    made = isinstance(freeze, Mapping) and freeze.get('norm') == 'recompute'
    lost = [key for key in leaf_shapes(network) if key.startswith('batch_stats/')]
    if made and set(lost) - set(step.names):
        raise UserError(
            f'{found.step}: the run estimated frozen running statistics (freeze.norm = '
            'recompute), which its checkpoints do not hold; finish the run and open that'
        )

    def base() -> dict[str, Any]:
        found, report = beginning(config, run, load)
        before, now = step.saved.identity or {}, {'weights': weights_of(found, report)}
        wrong = refused(differences(before, now), ())
        if wrong:
            raise UserError(
                f'{step.path}: {wrong} from what the run began with, and its frozen leaves are not '
                'in the checkpoint; put back what it began with, or open the finished run'
            )
        return flatten(found)

    return Overlay(step, network, base)


_KINDS: dict[str, Kind] = {
    'seed': Integer(-(2**31), 2**31 - 1),
    'init': optional(Text()),
    'model': optional(Table()),
    'data': optional(Table()),
}


def check_config(run: Mapping[str, Any], path: pathlib.Path) -> None:
    """Refuses a run's config.json whose entries that are read here are not of their kinds."""
    check_table(run, _KINDS, str(path))


def beginning(
    config: Mapping[str, Any], run: Mapping[str, Any], load: Callable[..., Any]
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The variables that a run started from, adapters left out, and how they were loaded."""
    seed, options = run.get('seed', 0), dict(run.get('model') or {})
    classes = config['options'].get('num_classes', 0)
    if not run.get('init'):
        name = options.pop('name', None)
        if not isinstance(name, str):
            raise UserError('config.json of the run: neither init nor model.name is there')
        network = build(name, {**options, 'num_classes': classes})
        return random_variables(network, seed), {}
    found = load(
        run['init'],
        num_classes=classes,
        class_names=config.get('class_names') or None,
        image_size=_pair((run.get('data') or {}).get('image_size')),
        seed=seed,
        options=options or None,
    )
    return found.variables, found.report.to_json()


def _pair(size: Any) -> Any:
    return tuple(size) if isinstance(size, list) else size
