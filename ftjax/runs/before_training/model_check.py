"""Whether a network of one's own keeps the stage contract: checks that say what is wrong.

The weights are moved a little at random before, so that leaves that start at 0 (a layer scale, a
new head) hide nothing behind them. Nothing is written but in a temporary folder.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.leaves import flatten
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import save_own
from ftjax.runs.before_training.checked_network import Subject, Wrong, compared
from ftjax.runs.before_training.stage_checks import STAGE_CHECKS
from ftjax.runs.prepare import Prepared
from ftjax.runs.run_spec import run_spec
from ftjax.training.feature_cache.policy import refusal
from ftjax.training.loop.fit import fit


@dataclasses.dataclass(frozen=True)
class Check:
    """One check: its name, what was found wrong, and what is to be known."""

    name: str
    wrong: str = ''
    note: str = ''

    def __str__(self) -> str:
        state = 'FAILED' if self.wrong else 'ok'
        said = self.wrong or self.note
        return f'{state:6}  {self.name}' + (f': {said}' if said else '')


def check_model(prepared: Prepared, reference: pathlib.Path | None = None) -> Iterator[Check]:
    """All checks in turn, each as soon as it is done.

    Args:
      prepared: a run with the network.
      reference: .npz with `inputs` (or `inputs/KEY` for each of several), as the network takes
        them, `outputs`, and outputs of stages under their names, of the original implementation.
    """
    subject = Subject.of(prepared)
    for check in (*STAGE_CHECKS, cut_and_cache_agree, saved_and_opened):
        yield result(check, subject)
    if reference is not None:
        yield result(functools.partial(reference_outputs, reference), subject)


def result(check: Callable[[Subject], str | None], subject: Subject) -> Check:
    """The outcome of one check; what the network raises is what is wrong."""
    name = (getattr(check, 'func', check).__doc__ or '').strip().split('\n')[0].rstrip('.')
    try:
        return Check(name, note=check(subject) or '')
    except (Wrong, UserError) as wrong:
        return Check(name, str(wrong))
    except Exception as error:
        said = str(error).strip().split('\n')[0][:300]
        return Check(name, f'{type(error).__name__}: {said}')


def cut_and_cache_agree(subject: Subject) -> str:
    """Steps from stored features give the losses of steps from the inputs."""
    network = subject.network
    plan = make_plan('last:1', network, subject.variables)
    reason = refusal(plan, plan.at(0))
    if reason:
        return f'left out: {reason}'
    spec = run_spec(subject.prepared)
    settings = dataclasses.replace(
        *(spec.settings,),
        steps=2,
        keep='last',
        patience=None,
        eval_every=1e6,
        tensorboard=False,
        loggers=(),
    )
    losses = {}
    for cache in ('off', 'on'):
        own = dataclasses.replace(settings, cache=cache, cache_bytes=2**40)
        found = fit(
            dataclasses.replace(
                *(spec,),
                network=network,
                variables=subject.variables,
                plan=plan,
                settings=own,
                augmentation='none',
            ),
            progress=False,
        )
        losses[cache] = [row['train_loss'] for row in found.history]
        if not found.verification.frozen_unchanged:
            raise Wrong(f'frozen leaves moved: {found.verification.moved_frozen[0]}')
    worst = compared(np.array(losses['on']), np.array(losses['off']), 'losses with and without')
    return f'last:1, within {worst:.1e}'


def saved_and_opened(subject: Subject) -> str:
    """The network is saved and opened again, bit for bit."""
    network = subject.network
    if network.is_local:
        return 'left out: it has no name, so that no other process could open it'
    with tempfile.TemporaryDirectory() as folder:
        save_own(folder, network, subject.variables, subject.prepared.preprocessing)
        again = load_pretrained(folder)
    if again.network != network:
        raise Wrong(f'it comes back as {again.network!r}')
    old, new = (flatten(v) for v in (subject.variables, again.variables))
    differ = [path for path, leaf in old.items() if not np.array_equal(leaf, new[path])]
    if differ:
        raise Wrong(f'{differ[0]} comes back with other values')
    return f'{len(old)} leaves'


def reference_outputs(file: pathlib.Path, subject: Subject) -> str:
    """Outputs are those of the original implementation."""
    init = subject.prepared.config.init
    if not init:
        raise Wrong('config.init is empty: there are no weights to compare with')
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    inputs = {key.partition('/')[2]: x for key, x in arrays.items() if key.startswith('inputs')}
    inputs = inputs[''] if set(inputs) == {''} else inputs
    wanted = {key: x for key, x in arrays.items() if not key.startswith('inputs')}
    if not arrays.keys() - wanted.keys() or not wanted:
        raise Wrong(f"{file} has {', '.join(arrays)}; expected 'inputs' and 'outputs'")
    opened = load_pretrained(init, options=subject.prepared.config.model_options or None)
    network = opened.network
    stages = tuple(key for key in wanted if key != 'outputs')
    for name in stages:
        if name not in network.stages:
            raise Wrong(f'{file}: {name} is no stage; there are {", ".join(network.stages)}')
    apply = jax.jit(functools.partial(network.apply, taps=stages))
    out = apply(opened.variables, inputs)
    out, seen = out if stages else (out, {})
    worst = []
    for key, expected in wanted.items():
        found = out if key == 'outputs' else seen[key]
        found = found['hidden'] if isinstance(found, Mapping) else found
        if found.shape != expected.shape:
            raise Wrong(f'{key} has the shape {found.shape}, and the reference {expected.shape}')
        worst.append(f'{key} within {compared(found, expected, key):.1e}')
    return ', '.join(worst)
