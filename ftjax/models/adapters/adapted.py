"""A network with adapters: any family, its file untouched, its modules intercepted."""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn

from ftjax.errors import UserError, check_name, shown
from ftjax.field_types import check_fields
from ftjax.io.json.json_reader import parse_json
from ftjax.io.json.json_values import (
    Integer,
    JsonObject,
    Kind,
    Number,
    Table,
    Text,
    check,
    check_table,
)
from ftjax.leaves import flatten, unflatten
from ftjax.models.adapters.adapter import Adapter, Site, acting
from ftjax.models.field_kinds import check_options
from ftjax.models.registry import build, family, fields_of, options_of
from ftjax.models.stages import EVAL, Modes, Network
from ftjax.pytrees import Inputs, Variables
from ftjax.registry import find

_FIELDS: dict[str, Kind] = {
    'rank': Integer(1, 2**16),
    'alpha': Number(-1e9, 1e9),
    'targets': Text(longest=1000),
    'reduction': Integer(1, 2**16),
    'tokens': Integer(1, 2**16),
}


def of_family(name: str) -> property:
    """An attribute that the network with adapters has from the network without."""
    return property(operator.attrgetter(f'network.{name}'))


class Adapted(Network):
    """A family's network whose modules are called through adapters.

    Its fields are plain values, so that it is saved and built like any other: the family's
    name, its options and the adapters as JSON text. Added parameters lie beside the module's
    own, 'block_00/attn/query/lora_a', in the same stage.

    >>> from ftjax.models.adapters.lora import LoRA
    >>> from ftjax.models.registry import build
    >>> net = adapted(build('vit', {'depth': 1, 'width': 8, 'heads': 2}), [LoRA(rank=2)])
    >>> net.stages
    ('embed', 'block_00', 'norm', 'head')
    """

    base: str = 'vit'
    base_options: str = '{}'
    adapters: tuple[str, ...] = ()
    num_classes: int = 0

    def __post_init__(self):
        super().__post_init__()
        base_network(self.base, self.base_options, self.num_classes)
        for text in self.adapters:
            read_adapter(text)

    @property
    def network(self) -> Network:
        """The network without adapters."""
        return base_network(self.base, self.base_options, self.num_classes)

    # The stage contract, of which the family answers every part.
    stages = of_family('stages')
    blocks = of_family('blocks')
    sections = of_family('sections')
    vocab_size = of_family('vocab_size')
    max_positions = of_family('max_positions')
    longest_text = of_family('longest_text')
    token_types = of_family('token_types')
    pad_id = of_family('pad_id')
    end_ids = of_family('end_ids')
    is_lm = of_family('is_lm')
    is_decoder = of_family('is_decoder')
    head_kind = of_family('head_kind')
    takes_tags = of_family('takes_tags')
    is_dense = of_family('is_dense')
    tapped = of_family('tapped')
    ties = of_family('ties')
    runs = of_family('runs')
    grid = of_family('grid')
    offset_grid = of_family('offset_grid')
    takes = of_family('takes')
    target_scale = of_family('target_scale')
    table_codes = of_family('table_codes')
    is_reconstruction = of_family('is_reconstruction')
    vocabulary_leaves = of_family('vocabulary_leaves')
    made_of = of_family('made_of')
    is_local = of_family('is_local')

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        """The family's own stage: adapters act on its modules when they are called."""
        return self.network.make_stage(name)

    def is_adapter_leaf(self, path: str) -> bool:
        """Whether a parameter is one of the adapters'."""
        return any(read_adapter(text).owns(path) for text in self.adapters)

    def has_role(self, path: str, role: str) -> bool:
        """As in the network without adapters."""
        return self.network.has_role(path, role)

    def feature_map(self, hidden: Any) -> Any:
        """As of the network without adapters."""
        return self.network.feature_map(hidden)

    def own_initial(self, key: Any) -> dict[str, Any]:
        """As of the network without adapters."""
        return self.network.own_initial(key)

    def example_input(self, batch_size: int = 1) -> Inputs:
        """That of the family."""
        return self.network.example_input(batch_size)

    @nn.compact
    def __call__(
        self,
        inputs: Inputs,
        *,
        start: str | None = None,
        stop: str | None = None,
        modes: Modes = EVAL,
        taps: Sequence[str] = (),
    ) -> Any:
        """As every network; each module's call goes through the adapters, the first innermost."""
        adapters, blocks = [read_adapter(text) for text in self.adapters], self.blocks

        def intercept(run, args, kwargs, context):
            if context.method_name != '__call__' or context.module.scope is None:
                return run(*args, **kwargs)  # not bound: a base network asked for its stages
            path = '/'.join(context.module.path)
            if not path:
                return run(*args, **kwargs)
            for adapter in adapters:
                site = Site(context.module, path, blocks, adapter)
                run = functools.partial(call_through, adapter, site, run)
            return run(*args, **kwargs)

        with nn.intercept_methods(intercept), acting():
            return super().__call__(inputs, start=start, stop=stop, modes=modes, taps=taps)


def call_through(
    adapter: Adapter, site: Site, run: Callable, *args: object, **kwargs: object
) -> object:
    """One adapter's call of one module."""
    return adapter.call(site, run, args, kwargs)


@functools.cache
def base_network(name: str, options: str, num_classes: int) -> Network:
    """A family's network that belongs to no other module."""
    values = _object(options, 'base_options')
    if name == 'adapted':
        raise UserError('model adapted: base is again adapted; expected a family without adapters')
    made: Any = family(name)  # linen adds `parent`, which the class does not declare
    for key in values:
        check_name(key, fields_of(made), f'option of model {name!r}:')
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    values['num_classes'] = num_classes
    check_options(made, values, f'model {name!r}')
    # Built inside another module's call, linen would take it for a part of that module.
    return made(**{**values, 'parent': None})


def _object(text: str, what: str) -> dict[str, Any]:
    """A field of Adapted that holds JSON text."""
    value = parse_json(text, f'model adapted: {what}')
    return check(value, f'model adapted: {what}', Table())


def adapted(network: Network, adapters: Sequence[Adapter]) -> Adapted:
    """The network with adapters, its variables yet to be extended by theirs."""
    name, options = options_of(network)
    classes = options.pop('num_classes')
    text = json.dumps(options, sort_keys=True)
    return Adapted(name, text, tuple(write_adapter(a) for a in adapters), classes)


def write_adapter(adapter: Adapter) -> str:
    """An adapter as JSON text."""
    return json.dumps({'kind': adapter.kind, **vars(adapter)}, sort_keys=True)


@functools.lru_cache(maxsize=256)
def read_adapter(text: str) -> Adapter:
    """The inverse of write_adapter."""
    fields = _object(text, 'an adapter')
    cls: type[Adapter] = find('adapter', fields.pop('kind', '')).function
    for name in fields:
        check_name(name, [field.name for field in dataclasses.fields(cls)], 'field of an adapter:')
    check_fields(cls, fields, f'adapter {cls.kind}')
    check_table(fields, _FIELDS, f'adapter {cls.kind}')
    try:
        re.compile(fields.get('targets', ''))
    except (re.error, RecursionError, OverflowError) as error:
        targets = shown(fields['targets'])
        raise UserError(f'adapter {cls.kind}: targets is {targets}, no pattern: {error}') from None
    return cls(**fields)


def plain_network(network: Network) -> Network:
    """The family's network: without adapters, if there are any."""
    return network.network if isinstance(network, Adapted) else network


def with_overrides(options: JsonObject, overrides: Mapping[str, object]) -> dict[str, object]:
    """Options of an Adapted with some fields replaced, those of the family's network included.

    Raises UserError for a field that neither has.
    """
    own, known = set(fields_of(Adapted)), fields_of(family(options['base']))
    inner = {key: value for key, value in overrides.items() if key not in own}
    for key in inner:
        check_name(key, known, f'option of model {options["base"]!r}:')
    base = json.dumps({**_object(options['base_options'], 'base_options'), **inner}, sort_keys=True)
    outer = {key: value for key, value in overrides.items() if key in own}
    return {**options, 'base_options': base, **outer}


def adapters_in_words(network: Adapted) -> str:
    """The adapters and their settings in one line: 'ssf; lora rank=8 alpha=16.0'."""
    found = [read_adapter(text) for text in network.adapters]
    return '; '.join(
        ' '.join([each.kind, *(f'{key}={value}' for key, value in vars(each).items())])
        for each in found
    )


def merge(network: Network, variables: Variables) -> tuple[Network, dict[str, Any]]:
    """The network without adapters, and its variables with theirs folded in.

    Outputs are equal to rounding. A network without adapters comes back as it is. Raises
    UserError if an adapter is no linear map and so cannot be merged.
    """
    if not isinstance(network, Adapted):
        return network, dict(variables)
    params = flatten(variables['params'])
    for text in network.adapters:  # the innermost first
        adapter = read_adapter(text)
        if not adapter.mergeable:
            raise UserError(
                f'{adapter.kind} cannot be merged into the weights of {network.base}; '
                'lora, oft, ia3 and ssf can'
            )
        params = adapter.merge(params)
    base = build(
        network.base, {**json.loads(network.base_options), 'num_classes': network.num_classes}
    )
    return base, {**variables, 'params': unflatten(params)}
