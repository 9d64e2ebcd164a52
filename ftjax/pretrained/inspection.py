"""What is in a checkpoint, read from its headers: for scripts/inspect_checkpoint.py."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping

import jax.numpy as jnp

from ftjax.leaves import stage_of
from ftjax.models.adapters.adapted import Adapted, adapters_in_words
from ftjax.models.registry import options_of
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.fit_network import fit_network
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.locate.locate import Location, locate
from ftjax.pretrained.open import describe
from ftjax.pretrained.report import LoadReport
from ftjax.pretrained.strict_load import report


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """A checkpoint's network, sizes, preprocessing and the report that a load would give."""

    source: str
    family: str
    model: str
    options: dict[str, object]
    stages: tuple[str, ...]
    parameters: dict[str, int]
    """Stage -> number of parameters; 0 for one without."""
    statistics: int
    """Numbers in batch_stats."""
    tensors: int
    nbytes: int
    dtypes: tuple[str, ...]
    preprocessing: Preprocessing | TextPreprocessing | None
    class_names: tuple[str, ...]
    report: LoadReport

    def table(self) -> str:
        """All of it in lines."""
        total = sum(self.parameters.values())
        width = max(map(len, self.stages))
        lines = [
            f'{self.source}',
            f'family {self.family}, model {self.model} '
            + ' '.join(f'{key}={value}' for key, value in self.options.items()),
            f'{self.tensors} tensors, {self.nbytes / 2**20:.1f} MiB, {", ".join(self.dtypes)}',
            f'{"stage":{width}}{"parameters":>14}{"share":>8}',
        ]
        lines += [
            f'{stage:{width}}{count:>14,}{count / max(total, 1):>8.1%}'
            for stage, count in self.parameters.items()
        ]
        lines.append(f'{"all":{width}}{total:>14,}{1:>8.1%}')
        if self.statistics:
            lines.append(f'and {self.statistics:,} running statistics')
        if self.preprocessing:
            fields = self.preprocessing.to_json().items()
            lines.append('preprocessing ' + ' '.join(f'{key}={value}' for key, value in fields))
        if self.class_names:
            shown = ', '.join(self.class_names[:10])
            more = len(self.class_names) - 10
            lines.append(f'classes {shown}' + (f' and {more} more' if more > 0 else ''))
        return '\n'.join([*lines, self.report.table()])


def inspect(init: str, model: str | Mapping[str, object] | None = None) -> Inspection:
    """Recognises a checkpoint and accounts for its tensors without reading any of them.

    Args:
      init: as for `load_pretrained`, without 'random:'. Of a hub repository that is not in
        the cache only the configuration and the headers are fetched.
      model: which network it is, for files that do not say.

    Raises:
      UserError: as `load_pretrained`, all but values that are not finite.
    """
    checkpoint = describe(_headers(init), model)
    network, keymap, plan = fit_network(checkpoint, {})
    source = checkpoint.source
    assert source is not None
    parameters = dict.fromkeys(network.stages, 0)
    statistics = 0
    for key, leaf in leaf_shapes(network).items():
        if key.startswith('params/'):
            parameters[stage_of(key)] += math.prod(leaf.shape)
        else:
            statistics += math.prod(leaf.shape)
    preprocessing, origin = checkpoint.preprocessing(network)
    found = report(plan, source, keymap, jnp.float32)
    name, options = named(network)
    return Inspection(
        source=f'{init}' + (f' ({checkpoint.revision})' if checkpoint.revision else ''),
        family=keymap.family,
        model=name,
        options=options,
        stages=network.stages,
        parameters=parameters,
        statistics=statistics,
        tensors=len(source.names),
        nbytes=source.nbytes,
        dtypes=tuple(sorted({str(source.dtype(name)) for name in source.names})),
        preprocessing=preprocessing,
        class_names=checkpoint.class_names if found.head == 'kept' else (),
        report=dataclasses.replace(
            found, notes=(*found.notes, *checkpoint.notes, f'preprocessing: {origin}')
        ),
    )


def named(network: Network) -> tuple[str, dict[str, object]]:
    """The model and its options; of a network with adapters its family's, and the adapters."""
    name, options = options_of(network)
    if not isinstance(network, Adapted):
        return name, options
    base = json.loads(network.base_options)
    shown = {**base, 'num_classes': network.num_classes}
    return network.base, {**shown, 'adapters': f'({adapters_in_words(network)})'}


def _headers(init: str) -> Location:
    """Like `locate`, but leaves a hub repository's tensors where they are."""
    if not init.startswith('hf://'):
        return locate(init)
    from ftjax.pretrained.locate.hub import cached, fetch
    from ftjax.pretrained.locate.hub_headers import HubHeaders

    if here := cached(init):
        return Location(*here)
    folder, commit = fetch(init, weights=False)
    if (folder / 'adapter_config.json').exists() and not (folder / 'config.json').exists():
        return locate(init)
    # The commit, not the branch: a push between the two requests must not mix two versions.
    address = init.partition('@')[0]
    return Location(folder, commit, HubHeaders(f'{address}@{commit}'))
