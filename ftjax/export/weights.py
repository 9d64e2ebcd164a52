"""A run's network as a folder for transformers, or its adapters as one for PEFT."""

from __future__ import annotations

import logging
import os
import pathlib

from ftjax.errors import UserError, check_name
from ftjax.export.finished_run import FinishedRun, open_finished
from ftjax.export.hub_push import check_push, push_folder
from ftjax.export.huggingface import save_huggingface, save_inputs
from ftjax.export.model_card import PLAN
from ftjax.export.peft import save_peft
from ftjax.export.sentence_modules import USAGE, trunk_of, write_modules
from ftjax.export.task_fields import task_fields
from ftjax.io.files.whole_folder import whole_folder
from ftjax.io.json.json_reader import read_object
from ftjax.io.json.json_values import JsonObject
from ftjax.leaves import flatten, unflatten
from ftjax.models.adapters.adapted import (
    Adapted,
    adapters_in_words,
    merge,
    plain_network,
    read_adapter,
)
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained import families, own_format
from ftjax.pretrained.checkpoint import input_size
from ftjax.pretrained.locate.hub import parse
from ftjax.pretrained.peft.merged_source import BROUGHT, MERGED

_log = logging.getLogger(__name__)
ADAPTERS = ('merged', 'peft')
DTYPES = ('source', 'float32')
FROZEN = 'frozen'
REMEDY = "ftjax itself opens the run's folder (config.init, load_pretrained)"


def export_weights(
    workdir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    adapters: str = 'merged',
    dtype: str = 'source',
    command: str = '',
    push_to: str = '',
    private: bool = True,
    allow_code_change: bool = False,
) -> pathlib.Path:
    """Writes a finished run's network for PyTorch; returns the folder.

    Args:
      workdir: the run's folder.
      output: what is made; must not exist, or be empty. On any failure nothing is there.
      adapters: 'merged' into the weights, or in the format of 'peft': then the folder holds
        the adapters and the head, and `base/` below it the network that they belong to,
        unless that is a repository of the hub and came through training as it was.
      dtype: of what trained: 'source', rounded to what the checkpoint had that the run began
        with, or 'float32', as it was trained.
      command: what was typed, for the model card.
      push_to: ORG/NAME of the hub to upload the folder to as well; '' for nowhere.
      private: of a repository that this makes; one that exists stays as visible as it is.
      allow_code_change: whether own code that answers may be another than that of the run.

    Raises:
      UserError: no finished run there, a network that transformers or PEFT has no place for,
        an output that holds something, or a hub that refuses; then the folder stays.
    """
    output = pathlib.Path(output)
    check_name(adapters, ADAPTERS, 'form of adapters')
    kind = None if check_name(dtype, DTYPES, 'dtype of an export') == 'source' else dtype
    if push_to:
        check_push(push_to)
    run = open_finished(workdir, command, push_to or 'FOLDER', allow_code_change)
    if push_to and adapters == 'peft' and not base_of(run)[0]:
        raise UserError(
            'adapters alone cannot be pushed: the network that they belong to is on no hub (the '
            'run began elsewhere, or changed more of it); push with --adapters=merged'
        )
    with whole_folder(output) as folder:
        if adapters == 'peft':
            write_peft(folder, output, run, kind)
        else:
            write_merged(folder, run, kind)
        own_format.write_json(folder / PLAN, run.plan)
    if push_to:
        _log.info('pushed: %s', push_folder(output, push_to, private=private))
    return output


def write_merged(folder: pathlib.Path, run: FinishedRun, dtype: str | None = None) -> None:
    """The network without adapters, its preprocessing or tokenizer, and the card."""
    found = run.found
    network, variables = merge(found.network, found.variables)
    trunk, weights = trunk_of(network, variables)
    check_family(trunk)
    save_huggingface(
        folder,
        trunk,
        weights,
        found.preprocessing,
        found.class_names,
        tokenizer=run.tokenizer,
        origin=run.origin,
        dtype=dtype,
        fields=task_fields(trunk, found.preprocessing, run.config),
    )
    name = class_of(read_object(folder / 'config.json'))
    adapters = ''
    if isinstance(found.network, Adapted):
        adapters = f'Adapters ({adapters_in_words(found.network)}) were merged into the weights.'
    usage = [f"model = {name}.from_pretrained('{run.place}')"]
    if network.head_kind == 'vector':
        assert not isinstance(found.preprocessing, Preprocessing)
        write_modules(folder, network, variables, found.preprocessing)
        usage = [line.format(place=run.place) for line in USAGE]
    card = run.card(name, usage, adapters)
    (folder / 'README.md').write_text(card, encoding='utf-8')


def write_peft(
    folder: pathlib.Path, output: pathlib.Path, run: FinishedRun, dtype: str | None = None
) -> None:
    """The adapters and the head; the network that they belong to, if it is nowhere else."""
    found, network = run.found, run.found.network
    if not isinstance(network, Adapted):
        raise UserError(
            "the run trained no adapters, so there is nothing in PEFT's format; "
            'export it with --adapters=merged'
        )
    family = check_family(network.network)
    also, _ = new_beside(network, run)
    leaves = flatten(found.variables).items()
    plain = unflatten(
        {k: leaf for k, leaf in leaves if not network.is_adapter_leaf(k.partition('/')[2])}
    )
    base, revision = base_of(run)
    on_hub = bool(base)
    if not on_hub:
        base = str(output.absolute() / 'base')
        save_huggingface(
            *(folder / 'base', network.network, plain, None, found.class_names),
            origin=run.origin,
            dtype=dtype,
            fields=task_fields(network.network, found.preprocessing, run.config),
        )
    save_peft(folder, network, found.variables, also=also, base=base, revision=revision or None)
    save_inputs(folder, family, found.preprocessing, run.tokenizer)
    config = families.module(family).config_from_network(network.network, found.class_names)
    name, opening = class_of(config), "'FOLDER/base'"
    if on_hub:
        at = f", revision='{revision}'" if revision else ''
        told = task_fields(network.network, found.preprocessing, run.config)
        more = ''.join(f', {name}={value!r}' for name, value in told.items() if value is not None)
        opening = f"'{base}'{at}, num_labels={network.num_classes}{more}"
        opening += ', ignore_mismatched_sizes=True'
    usage = [
        'from peft import PeftModel',
        f'base = {name}.from_pretrained({opening})',
        f"model = PeftModel.from_pretrained(base, '{run.place}')",
    ]
    adapters = f'Adapters ({adapters_in_words(network)}) in the format of PEFT, for `{base}`.'
    card = run.card(name, usage, adapters, peft=True)
    (folder / 'README.md').write_text(card, encoding='utf-8')


def base_of(run: FinishedRun) -> tuple[str, str]:
    """(ORG/NAME, revision) of the network that adapters belong to; '' where the hub has it not.

    It has another one where the run trained more, resized the images or replaced options.
    """
    network = run.found.network
    if not isinstance(network, Adapted) or not run.init.startswith('hf://'):
        return '', ''
    at = parse(run.init)
    moved = new_beside(network, run)[1]
    # PEFT names a repository, and none of its folders.
    if moved or at.subfolder or is_changed(run, network.network):
        return '', ''
    return at.repository, at.revision or ''


def is_changed(run: FinishedRun, network: Network) -> bool:
    """Whether a run replaced what outputs of its beginning depend on: the image size, options."""
    options = run.config.get('model') or {}
    if any(name != 'name' and 'drop' not in name for name in options):
        return True
    if not (run.config.get('data') or {}).get('image_size'):
        return False
    return run.origin is None or input_size(run.origin.checkpoint.network()) != input_size(network)


def class_of(config: JsonObject) -> str:
    """The class of transformers that a config.json names."""
    return config['architectures'][0]


def check_family(network: Network) -> str:
    """The family that writes a network; UserError where transformers has none like it."""
    if network.takes == 'table':
        raise UserError(
            f'{type(network).__name__} takes rows of a table, for which transformers has no '
            f'network; {REMEDY}'
        )
    if network.is_dense:
        raise UserError(
            f'{type(network).__name__} answers each position of an image, and transformers has no '
            f'such head; {REMEDY}'
        )
    try:
        family = families.family_of_network(network)
    except UserError as error:
        raise UserError(f'{error}; {REMEDY}') from None
    if not getattr(families.module(family), 'IN_TRANSFORMERS', True):
        raise UserError(f'{type(network).__name__} has no place in transformers; {REMEDY}')
    try:
        families.module(family).config_from_network(network, ())
    except UserError as error:
        raise UserError(f'{error}; {REMEDY}') from None
    return family


def export_in_words(network: Network) -> str:
    """What class of transformers a network is exported as, or why there is none."""
    try:
        plain = plain_network(network)
        family = check_family(plain)
    except UserError as error:
        return f'export to transformers: none ({error})'
    texts = network.adapters if isinstance(network, Adapted) else ()
    kept = [one for one in map(read_adapter, texts) if not one.mergeable]
    if kept:
        return f'export to transformers: none ({kept[0].kind} cannot be merged; {REMEDY})'
    name = class_of(families.module(family).config_from_network(plain, ()))
    return f'export to transformers: {name}'


def new_beside(network: Adapted, run: FinishedRun) -> tuple[list[str], bool]:
    """Leaves after the last block that an adapter must bring along, and whether others are new.

    New is what trained, what an adaptation moved after training, and what the load initialised
    because the checkpoint has none, as a pooler, or merged with an adapter that PEFT wrote.
    """
    variables, plan, result = run.found.variables, run.plan, run.result
    paths = [key.partition('/')[2] for key in flatten(variables) if key.startswith('params/')]
    moved = {
        path
        for phase in plan.get('phases', [])
        for path, leaf in phase.get('leaves', {}).items()
        if leaf.get('group') != FROZEN
    }
    if result.get('adapted'):
        # An older result does not say which: all may have moved.
        later = result['adapted'].get('moved')
        moved |= set(paths) if later is None else {str(path).partition('/')[2] for path in later}
    moved |= {key.partition('/')[2] for key in run.load_report.get('initialised') or ()}
    transformed = (run.load_report.get('transformed') or {}).items()
    moved |= {key.partition('/')[2] for key, how in transformed if MERGED in how or BROUGHT in how}
    stages = network.stages
    last = stages.index(network.blocks[-1])
    own = [path for path in paths if not network.is_adapter_leaf(path)]
    tail = [path for path in own if stages.index(path.split('/')[0]) > last]
    also = [path for path in tail if path in moved or path.startswith('head/')]
    elsewhere = 'batch_stats' in variables or any(p in moved for p in own if p not in tail)
    return also, elsewhere
