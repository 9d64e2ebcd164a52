"""The arms that `advise` compares: ways of freezing that the user's own network allows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax

from ftjax.config import Config, merged, read_config
from ftjax.data import Splits
from ftjax.errors import UserError
from ftjax.optim.optimizer import shapes_of, state_bytes
from ftjax.plotting import number_formats
from ftjax.runs.network_opening import Opened
from ftjax.runs.prepare import Prepared, prepare
from ftjax.runs.run_spec import run_spec
from ftjax.tasks.registry import task_of

FULL = 'full'
FEW = 10.0
"""How much higher the rates of new or few parameters (heads, vectors, low ranks) begin than those
of pretrained matrices: the ratio that was best for LoRA in 'LoRA Without Regret' (Schulman et al.,
Thinking Machines, 2025). The search for rates goes on from there."""
STEP = math.sqrt(10.0)
"""Between neighbours of a starting grid of rates."""


SEEDS = 10
"""Most seeds of an arm; the race adds them where they are needed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateArm:
    """One way of freezing, and what its plan says that it costs.

    Attributes:
      strategy: value of config.freeze, and the name in tables.
      rates: its starting grid of learning rates, three, rising.
      trainable: parameters that train, in the phase that trains most.
      share: of all parameters.
      optimizer_bytes: of the optimizer's state.
      backward: share of the stages that the backward pass goes through.
    """

    strategy: str
    rates: tuple[float, ...]
    trainable: int
    share: float
    optimizer_bytes: int
    backward: float


def candidate_arms(
    values: Mapping[str, object], data: Splits, opened: Opened
) -> tuple[list[CandidateArm], dict[str, str]]:
    """The arms for a network, the cheapest first, and {strategy: why it is left out}.

    From the head alone to all of it: head, norm, bitfit, first:1, last:k for one block, a quarter
    and a half of them, layer-wise rates, LoRA on every dense layer, full. Left out are those that
    the network does not allow, and those that train exactly what another one trains.

    Args:
      values: the config as plain dicts; its freeze is not looked at, its learning rate is the
        middle of the grid of arms that train pretrained matrices.
      data: of the run.
      opened: the network.

    Raises:
      UserError: the network allows nothing but one of them: there is nothing to compare.
    """
    arms: list[CandidateArm] = []
    left_out: dict[str, str] = {}
    known: dict[object, str] = {}
    for strategy, factor in strategies(len(opened.network.blocks)).items():
        config = read_config(merged(values, {'freeze': strategy}))
        try:
            prepared = prepare(config, data, opened)
        except UserError as error:
            left_out[strategy] = str(error)
            continue
        phase = prepared.plan.phases[0]
        trained = frozenset((path, phase.leaves[path].multiplier) for path in phase.trainable)
        if trained in known:
            left_out[strategy] = f'trains the same parameters as {known[trained]}'
            continue
        known[trained] = strategy
        arms.append(described(strategy, factor, prepared))
    if len(arms) < 2:
        raise UserError(
            'there is nothing to compare: of the ways of freezing that advise knows, this network '
            f'allows {arms[0].strategy if arms else "none"}'
        )
    return sorted(arms, key=lambda arm: (arm.backward, arm.trainable)), left_out


def strategies(blocks: int) -> dict[str, float]:
    """{strategy: its rates over those of full fine-tuning} for a network of so many blocks.

    >>> [name for name in strategies(12) if name.startswith('last')]
    ['last:1', 'last:3', 'last:6']
    >>> [name for name in strategies(2) if name.startswith('last')]
    ['last:1']
    """
    depths = sorted({1, max(1, round(blocks / 4)), max(1, round(blocks / 2))})
    return {
        FULL: 1.0,
        'head': FEW,
        'norm': FEW,
        'bitfit': FEW,
        'first:1': 1.0,
        **{f'last:{depth}': 1.0 for depth in depths if depth < blocks},
        'llrd:0.75': 1.0,
        'lora:8,all': FEW,
    }


def described(strategy: str, factor: float, prepared: Prepared) -> CandidateArm:
    """An arm with the costs that its plan tells; nothing is compiled."""
    spec, phase = run_spec(prepared), prepared.plan.phases[0]
    state = jax.eval_shape(spec.train_step(phase).tx.init, shapes_of(phase))
    stages = list(phase.stages)
    return CandidateArm(
        strategy=strategy,
        rates=rates_around(factor * prepared.config.optimizer.learning_rate),
        trainable=prepared.plan.size_trained,
        share=prepared.plan.size_trained / phase.size(),
        optimizer_bytes=state_bytes(state),
        backward=1 - stages.index(phase.cut) / len(stages),
    )


def rates_around(middle: float) -> tuple[float, ...]:
    """A starting grid of three learning rates.

    >>> rates_around(1e-3)
    (0.00032, 0.001, 0.0032)
    """
    return tuple(float(f'{rate:.2g}') for rate in (middle / STEP, middle, middle * STEP))


def ablation_of(
    config: Config, arms: list[CandidateArm], data: Splits, given: Mapping[str, Any], budget: str
) -> dict[str, object]:
    """The section `ablation` of a race of these arms.

    Arms of the config's own whose strategy is a candidate's take its rates, others those around
    the config's learning rate, unless the config names rates.

    Args:
      config: of the run, which all arms share.
      arms: from `candidate_arms`.
      data: of the run: baselines follow from it.
      given: keys that the config sets itself; they replace those made here.
      budget: of the race, '10 min'; it replaces that of the config.

    Raises:
      UserError: `full` is no arm, and the config names neither arms nor another reference; or
        the config names several tasks, equal compute, or a baseline as its reference.
    """
    if given.get('tasks'):
        raise UserError(
            'config.ablation.tasks does not go with advice, which is on one set of data; leave it '
            'out, and call advise once for each task'
        )
    if given.get('equal') == 'compute':
        raise UserError(
            "config.ablation.equal 'compute' does not go with advice: arms would run for other "
            'steps than a run of the choice does; leave it out'
        )
    named: dict[str, object] = {
        arm.strategy: {'freeze': arm.strategy, 'rates': arm.rates} for arm in arms
    }
    if FULL not in named and not {'arms', 'reference'} & set(given):
        raise UserError(
            'the network cannot be trained whole, which all other arms are compared with; name '
            'arms and their reference in the config, config.ablation'
        )
    if data.label_kind.one_class:
        # The pixels know no decision threshold: see the check of their cells.
        pixels = data.train.kind != 'text' and not config.train.threshold
        kinds = ('pixels', 'probe') if pixels else ('probe',)
        named |= {kind: {'baseline': kind} for kind in kinds}
    made = {
        'question': 'What to freeze?',
        'arms': named,
        'rates': rates_around(config.optimizer.learning_rate),
        'seeds': tuple(range(SEEDS)),
        'reference': FULL,
        'metric': task_of(data.task).default_metric,
    }
    section: dict[str, Any] = {**made, **given, 'budget': budget}
    if 'rates' not in given:
        section['arms'] = with_rates(section['arms'], {arm.strategy: arm.rates for arm in arms})
    reference = section['arms'].get(section['reference'] or next(iter(section['arms']), ''))
    if isinstance(reference, Mapping) and 'baseline' in reference:
        raise UserError(
            f'config.ablation.reference {section["reference"]!r} is a baseline, which no config '
            'trains, and advice may be to train the reference; name an arm that trains'
        )
    return section


def with_rates(
    arms: Mapping[str, Any], rates: Mapping[str, tuple[float, ...]]
) -> dict[str, object]:
    """Arms with the starting grids of their strategies, where they have none of their own.

    >>> with_rates({'top': 'head', 'own': {'freeze': 'own'}}, {'head': (0.1, 0.2)})
    {'top': {'rates': (0.1, 0.2), 'freeze': 'head'}, 'own': {'freeze': 'own'}}
    """
    found: dict[str, object] = {}
    for arm, given in arms.items():
        strategy = given.get('freeze') if isinstance(given, Mapping) else given
        known = rates.get(strategy) if isinstance(strategy, str) else None
        changes = given if isinstance(given, Mapping) else {'freeze': given}
        found[arm] = given if known is None else {'rates': known, **changes}
    return found


def described_arms(arms: list[CandidateArm], left_out: Mapping[str, str]) -> str:
    """The arms with what their plans cost, and those left out, as lines for people."""
    rows = [('arm', 'trained parameters', 'optimizer state', 'backward pass through', 'rates')]
    rows += [
        (
            arm.strategy,
            f'{arm.trainable:,} ({number_formats.share(arm.share)})',
            f'{arm.optimizer_bytes:,} bytes',
            f'{100 * arm.backward:.0f} % of the stages',
            ', '.join(f'{rate:g}' for rate in arm.rates),
        )
        for arm in arms
    ]
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ['  '.join(f'{cell:{n}}' for cell, n in zip(row, wide, strict=True)) for row in rows]
    lines += [f'left out {strategy}: {why}' for strategy, why in left_out.items()]
    return '\n'.join(line.rstrip() for line in lines)
