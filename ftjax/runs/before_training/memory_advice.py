"""What to change in a config whose run does not fit a device, each with its predicted number."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from ftjax.config import Config
from ftjax.errors import UserError
from ftjax.freezing.partition import combine
from ftjax.freezing.plan.plan import FreezeSettings, make_plan
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.io.process.host_memory import shown_size
from ftjax.leaves import flatten
from ftjax.models.adapters.adapted import plain_network
from ftjax.runs.before_training.memory_plan import RunMemory, run_memory
from ftjax.runs.prepare import Prepared, float32_shapes


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """A change of the config, in the config's words, and what the run would then peak at."""

    change: str
    peak: int


def suggestions(prepared: Prepared, memory: RunMemory, limit: int) -> list[Suggestion]:
    """Single changes that help, those with most effect first, and all together if none is enough.

    Each is compiled for shapes, as the run itself was.
    """
    base, beside, found = prepared.config, '', []
    if memory.validation.total > limit:
        base, beside = with_smaller_validation(base, memory, limit)
        tried = [(beside, base)]
    else:
        tried = []
    if memory.largest.total > limit:
        more = changes(base, memory, limit)
        tried += [(f'{one}, {beside}' if beside else one, config) for one, config in more]
    for change, config in tried:
        try:
            peak = run_memory(changed(prepared, config)).peak
        except UserError:  # the network has no such part, or a batch cannot be shared out so
            continue
        if peak < 0.98 * memory.peak:
            found.append(Suggestion(change, peak))
    found.sort(key=lambda one: one.peak)
    if not found or found[0].peak > limit:
        found += together(prepared, base, beside, limit)
    return found


def with_smaller_validation(config: Config, memory: RunMemory, limit: int) -> tuple[Config, str]:
    """The config with batches of the validation that fit, by proportion, and its words."""
    held, size = memory.validation.resident, config.data.eval_batch_size
    room = max(limit - held, 0) / max(memory.validation.total - held, 1)
    fewer = max(1, int(0.9 * room * size))
    data = dataclasses.replace(config.data, eval_batch_size=fewer)
    return dataclasses.replace(config, data=data), f'data.eval_batch_size={fewer}'


def together(prepared: Prepared, config: Config, beside: str, limit: int) -> list[Suggestion]:
    """What keeps the strategy, all at once: the smallest parts, rematerialised, over bfloat16."""
    size = config.data.batch_size
    config = with_parts(with_train(config, remat=True, steps_per_call=1), size)
    config = with_freeze(config, frozen_dtype='bfloat16')
    try:
        peak = run_memory(changed(prepared, config)).peak
    except UserError:
        return []
    change = (
        f'optimizer.accumulate={size}, train.remat=True, train.steps_per_call=1 and '
        "freeze.frozen_dtype='bfloat16' together"
    )
    change = f'{change}, {beside}' if beside else change
    return [Suggestion(change, peak)] if peak <= limit else []


def changes(config: Config, memory: RunMemory, limit: int) -> Iterator[tuple[str, Config]]:
    """Single changes worth a try, with the config that each makes."""
    size, phase = config.data.batch_size, memory.phases[0][0]
    parts = parts_that_fit(config, memory, limit)
    if parts > config.optimizer.accumulate:
        words = f'optimizer.accumulate={parts} (the same batch, {size // parts} examples at a time)'
        yield words, with_parts(config, parts)
    if not config.train.remat:
        yield 'train.remat=True', with_train(config, remat=True)
    if config.freeze.frozen_dtype is None and len(phase.trainable) < len(phase.leaves):
        yield "freeze.frozen_dtype='bfloat16'", with_freeze(config, frozen_dtype='bfloat16')
    if memory.steps > 1:
        yield 'train.steps_per_call=1', with_train(config, steps_per_call=1)
    blocks = [name for name in phase.stages if re.search(r'block_?\d', name)]
    trained = sum(phase.stages[name].trains for name in blocks)
    others = [f'last:{trained // 2}'] if trained > 1 else []
    added = any(term.details.kind == 'adapter' for term in terms_of(config))
    for strategy in [*others, *([] if added else ['lora:8']), 'head']:
        if strategy != config.freeze.strategy:
            none = {'phases': (), 'rules': (), 'multipliers': {}}
            yield f'freeze={strategy}', with_freeze(config, strategy=strategy, **none)


def parts_that_fit(config: Config, memory: RunMemory, limit: int) -> int:
    """Into how many parts a batch must go to fit, if what a step needs were in proportion."""
    step, size = memory.largest, config.data.batch_size
    now = config.optimizer.accumulate
    inside = max(step.temporary - step.gradients, 1)
    room = limit - (step.total - inside)
    choices = [n for n in range(now + 1, size + 1) if size % n == 0 and n % now == 0]
    enough = [n for n in choices if inside * now / n <= room]
    return min(enough) if enough else max(choices, default=now)


def terms_of(config: Config):
    """The terms of the strategy."""
    from ftjax.freezing.registry import parse

    return () if config.freeze.rules else parse(config.freeze.strategy)


def changed(prepared: Prepared, config: Config) -> Prepared:
    """The run under another config of the same data and network."""
    if config.freeze == prepared.config.freeze:
        return dataclasses.replace(prepared, config=config)
    network, variables = prepared.network, float32_shapes(prepared.variables)
    leaves = flatten(variables['params'])
    own = {path: leaf for path, leaf in leaves.items() if not network.is_adapter_leaf(path)}
    bare = {**variables, 'params': combine(own)}
    network, variables = with_adapters(config.freeze, plain_network(network), bare, config.seed)
    net = prepared.plan.net
    plan = make_plan(
        config.freeze,
        network,
        variables,
        head_is_new=net is None or net.head_is_new,
        run_length=prepared.run_length,
        seed=config.seed,
    )
    return dataclasses.replace(
        prepared, config=config, network=network, variables=variables, plan=plan
    )


def with_parts(config: Config, parts: int) -> Config:
    """The config with batches in so many parts."""
    optimizer = dataclasses.replace(config.optimizer, accumulate=parts)
    return dataclasses.replace(config, optimizer=optimizer)


def with_train(config: Config, **fields) -> Config:
    """The config with other fields of `train`."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **fields))


def with_freeze(config: Config, **fields) -> Config:
    """The config with other fields of `freeze`."""
    freeze = FreezeSettings(**{**vars(config.freeze), **fields})
    return dataclasses.replace(config, freeze=freeze)


def advice(told: list[Suggestion], limit: int) -> str:
    """Suggestions as lines for people."""
    if not told:
        return 'no single change would make it smaller; a smaller network or input would'
    wide = max(len(one.change) for one in told)
    lines = [
        f'  {one.change:{wide}}  {shown_size(one.peak):>12}{"" if one.peak > limit else "  fits"}'
        for one in told
    ]
    return '\n'.join(['what would make it smaller, and to what:', *lines])
