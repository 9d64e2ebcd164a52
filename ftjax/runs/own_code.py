"""The code of the user's own that a run is made of, and whether it still is that of a run."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Collection

from ftjax.config import Config, read_saved_config
from ftjax.errors import UserError
from ftjax.io.files.atomic import read_json
from ftjax.io.identity.identity_changes import differences, flag, part, refused
from ftjax.io.identity.own_parts import named_in
from ftjax.io.identity.source_code import code_identity
from ftjax.io.json.json_values import JsonObject
from ftjax.models.adapters.adapted import plain_network
from ftjax.models.registry import options_of
from ftjax.models.stages import Network
from ftjax.registry import own
from ftjax.training.checkpoints.run_identity import saved_identity
from ftjax.training.feature_cache.key import augmentations_of

ANSWERS = ('network', 'model', 'adapter', 'head', 'task', 'tta', 'missing', 'family')
"""What a trained network's answers hang on; how it was trained, and on what, is past."""


def code_of(
    config: Config, network: Network, metrics: Collection[str] = (), baseline: object = None
) -> dict[str, object]:
    """The code of the user's own that a config names or a network is made of.

    In an ablation also that of the metrics that judge it, and of the baseline that it is.
    """
    plain = plain_network(network)  # adapters are named by the config
    named = named_in(config.to_json())
    of_network: set[str] = set()
    with contextlib.suppress(UserError):  # of a class that has no name
        of_network = named_in(options_of(network))  # with `init=RUN` they stand in no config
    things: dict[str, object] = {f'network {type(plain).__name__}': plain}
    things |= {f'network, part {n}': each for n, each in enumerate(plain.made_of)}
    # Of images only: those of texts stand here by their kind, as all else.
    things |= augmentations_of(config.data.augment)
    things |= _of_baseline(baseline)
    for one in own():
        if one.kind == 'metric' and one.name in metrics:
            things[f'metric {one.name}'] = one.function
        found = named | of_network if one.kind in ('model', 'adapter', 'head') else named
        if one.name in found and one.function is not type(plain):
            things[f'{one.kind} {one.name}'] = one.function
    return code_identity(things)


def baseline_code(baseline: object) -> dict[str, object]:
    """The code of a baseline of the user's own; {} of one of ftjax, or None."""
    return code_identity(_of_baseline(baseline))


def _of_baseline(baseline: object) -> dict[str, object]:
    kind = type(baseline)
    return {} if baseline is None else {f'baseline {kind.__name__}': kind}


def check_code(folder: pathlib.Path, network: Network, allowed: bool) -> str:
    """How code that a run's answers hang on differs from that of the run; '' if it does not.

    Args:
      folder: of the run.
      network: as it was opened.
      allowed: whether it may differ.

    Raises:
      UserError: it differs, and that was not asked for.
    """
    changed = how_code_differs(folder, network, ANSWERS)
    if changed and not allowed:
        raise UserError(
            f'{folder}: {changed} from that of the run, so answers would be of another network; '
            f'{flag("code")} goes on with what there is now and says so'
        )
    return changed


def how_code_differs(
    folder: pathlib.Path, network: Network, kinds: Collection[str] | None = None
) -> str:
    """How code of the user's own differs from that of the run; '' if it does not.

    `kinds` are those that count, of parts and 'network'; None for all.
    """
    old = _saved(folder)
    if not old:
        return ''
    config = read_saved_config(read_json(folder / 'config.json'))
    both = ({'code': _of_kinds(code, kinds)} for code in (old, code_of(config, network)))
    return refused(differences(*both), ())


def _of_kinds(code: JsonObject, kinds: Collection[str] | None) -> JsonObject:
    if kinds is None or not code:
        return code
    parts = part(code, 'parts').items()
    return {**code, 'parts': {k: v for k, v in parts if k.split()[0].rstrip(',') in kinds}}


def _saved(folder: pathlib.Path) -> JsonObject:
    """The identity of own code that a run's result or last checkpoint holds; {} for none."""
    try:
        result = json.loads((folder / 'result.json').read_text('utf-8'))
    except (OSError, ValueError):
        found = saved_identity(folder)
        return {} if found is None else part(found[0], 'code')
    return part(part(result, 'identity'), 'code')
