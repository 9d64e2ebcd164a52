"""`load_pretrained`: from one string to a network with its weights and all that goes with it."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.errors import UserError
from ftjax.io.identity.own_parts import restore
from ftjax.io.json.json_reader import LENIENT, read_object
from ftjax.io.json.json_values import JsonObject
from ftjax.models.adapters.adapted import plain_network
from ftjax.models.built.network import open_built
from ftjax.models.registry import build, is_recipe, options_of
from ftjax.pretrained import families, own_format, run_checkpoint
from ftjax.pretrained.built_models import OpenedModel, open_model, options_for, sized
from ftjax.pretrained.checkpoint import Checkpoint
from ftjax.pretrained.config_check import check_config
from ftjax.pretrained.config_values import check_values
from ftjax.pretrained.fit_network import fit_network, size_override
from ftjax.pretrained.locate.locate import RANDOM, Location, locate
from ftjax.pretrained.outline import BuiltOutline, Outline, Pretrained
from ftjax.pretrained.peft.adapter_folder import adapter_folder, check_network
from ftjax.pretrained.peft.merged_checkpoint import merged_checkpoint
from ftjax.pretrained.prefixes import without_prefix
from ftjax.pretrained.readers import open_source
from ftjax.pretrained.recognise import explained_by, recognised
from ftjax.pretrained.strict_load import Sharding
from ftjax.registry import find


def load_pretrained(
    init: str,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    head: str = 'auto',
    dtype: DTypeLike = jnp.float32,
    model: str | Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
    sharding: Sharding | None = None,
) -> Pretrained:
    """Opens a pretrained network.

    Args:
      init: 'glyphs', 'docstrings' or another that is shipped, the name of a registered
        function that builds a network with its weights, 'data:NAME', 'hf://ORG/NAME[@REVISION]',
        the path of a folder, file or run, or of an adapter of PEFT, which is merged into its
        base; with 'random:' before it the same network with random weights.
      num_classes: of the task; None keeps the checkpoint's head as it is, or leaves the head
        out where it has none; 0 leaves it out.
      class_names: of the task; as many classes under other names get a new head with
        head='auto'.
      image_size: (height, width) in pixels or one number; None for the checkpoint's.
        Position tables are resized.
      seed: for the weights that are initialised.
      head: 'auto', 'keep' or 'new'.
      dtype: of the parameters; running statistics are float32 always.
      model: which network it is, for files without a config.json: a name of the registry or
        {'name': .., option: ..}.
      options: other fields of the network to replace, as {'dropout': .1}; a `name` among them
        must be that of the network.
      sharding: (leaf key, shape) -> sharding, for more than one device.

    Raises:
      UserError: nothing there, a pickle, tensors unexplained, missing, damaged or of
        another shape; see `ftjax.pretrained.explain`.

    Example:
      pretrained = load_pretrained('data:resnet26_gn_cifar10', num_classes=2)
      print(pretrained.report.table())
    """
    found = outline(
        init,
        num_classes=num_classes,
        class_names=class_names,
        image_size=image_size,
        seed=seed,
        head=head,
        model=model,
        options=options,
    )
    return found.load(dtype, sharding=sharding)


def outline(
    init: str,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    head: str = 'auto',
    model: str | Mapping[str, object] | None = None,
    options: JsonObject | None = None,
) -> Outline | BuiltOutline:
    """What `load_pretrained` with these arguments would open, from names and headers alone.

    Raises:
      UserError: as `load_pretrained`, all but what only the tensors' values tell.
    """
    random, options = init.startswith(RANDOM), dict(options or {})
    model = model or (dict(options) if 'name' in options else None)
    if is_recipe(name := init.removeprefix(RANDOM)):
        _check_model(options.pop('name', name), name, init)
        built = open_built(name, options_for(find('model', name).parameters, options, image_size))
        sized(built.network, image_size)

        def opened(dtype: DTypeLike) -> OpenedModel:
            return open_model(
                *(built, name),
                num_classes=num_classes,
                class_names=class_names,
                seed=seed,
                head=head,
                dtype=dtype,
                random=random,
            )

        return BuiltOutline(init, tuple(class_names or ()), opened)
    where = locate(init.removeprefix(RANDOM), weights=not random)
    checkpoint = describe(where, model, tensors=not random)
    _check_name(options.pop('name', None), checkpoint, init)
    overrides = {**options, **size_override(checkpoint, image_size)}
    if num_classes is None and class_names is not None:
        num_classes = len(class_names)
    if num_classes is not None:
        overrides['num_classes'] = num_classes
    names = checkpoint.class_names
    if head == 'auto' and names and class_names is not None and tuple(class_names) != names:
        head = 'new'
    if head == 'auto' and num_classes and checkpoint.network().is_reconstruction:
        head = 'new'  # it guesses features: as many classes by chance are not those
    if random:
        network, keymap, explanation = checkpoint.network(**overrides), None, None
    else:
        network, keymap, explanation = fit_network(checkpoint, overrides, head)
    return Outline(
        init=init,
        checkpoint=checkpoint,
        network=network,
        keymap=keymap,
        explanation=explanation,
        asked_names=tuple(class_names or ()),
        head_policy=head,
        seed=seed,
    )


def _check_name(name: str | None, checkpoint: Checkpoint, init: str) -> None:
    """UserError where a config says another network than the checkpoint is."""
    if name is None:
        return
    _check_model(name, options_of(plain_network(checkpoint.network()))[0], init)


def _check_model(name: str, found: str, init: str) -> None:
    if name != found:
        raise UserError(
            f'config.model.name is {name!r}, and the network of {init} is {found!r}; leave the '
            "name out, or set config.init='' for a new network"
        )


def describe(
    where: Location, model: str | Mapping[str, object] | None = None, *, tensors: bool = True
) -> Checkpoint:
    """Recognises a checkpoint: by config.json, by `model`, or by the names of its tensors.

    Args:
      where: from `locate`.
      model: for files without a config.json: a name of the model registry, or
        {'name': .., option: ..}.
      tensors: False to leave the weights alone; then a configuration must be there.

    Raises:
      UserError: nothing recognises it.
    """
    if where.revision is None:
        for folder in (where.path, *where.path.absolute().parents[:2]):
            restore(folder)  # a run, or model/ or checkpoints/STEP of one
    if found := run_checkpoint.find(where.path):
        return _of_run(found, tensors)
    if (adapter := adapter_folder(where.path)) is not None:
        base = locate(adapter.base, weights=tensors)
        check_network(adapter, base.path)
        checkpoint = describe(base, model, tensors=tensors)
        return merged_checkpoint(adapter, checkpoint, where.revision)
    folder = where.path if where.path.is_dir() else where.path.parent
    file = folder / own_format.CONFIG
    config = read_object(file, LENIENT) if file.exists() else None
    is_own = config is not None and config.get('format') == own_format.FORMAT
    if config is not None:
        (own_format.check_description if is_own else check_values)(config, file)
    family = own_format.FORMAT if is_own else families.family_of_config(config) if config else None
    notes, prefix, options = (), '', {}
    if family is not None and not is_own:
        config, notes = check_config(family, config or {}, file)
    source = where.headers
    if source is None and (tensors or family is None):
        source = open_source(where.path)
    if family is None and model is not None:
        family, config, options = _from_model(model)
    if family is None:
        assert source is not None
        source, prefix = without_prefix(source, recognised)
        family = families.family_of_tensors(source.names)
        if family is None or not hasattr(families.module(family), 'config_from_tensors'):
            raise UserError(
                f'{where.path}: no config.json beside it, and no family recognises its tensors '
                f'(the first is {next(iter(source.names), "missing")!r}); say which network it '
                'is with model={name, options}'
            )
        config = families.module(family).config_from_tensors(source)
    elif source is not None:
        assert config is not None
        source, prefix = without_prefix(
            source, explained_by(Checkpoint(folder, family, config, source, options=options))
        )
    if prefix:
        notes += (f'the names of all tensors begin with {prefix!r}, which is left off',)
    assert config is not None
    return Checkpoint(folder, family, config, source, where.revision, notes, options)


def _of_run(step: pathlib.Path, tensors: bool) -> Checkpoint:
    """A checkpoint of a run: its description, and its leaves over those it started from."""
    folder = run_checkpoint.description_of(step.parents[1])
    config = read_object(folder / own_format.CONFIG, LENIENT)
    own_format.check_description(config, folder / own_format.CONFIG)
    config.pop('weights_sha256', None)  # of the finished run's file
    source = run_checkpoint.open_run(step, config, load_pretrained) if tensors else None
    return Checkpoint(folder, own_format.FORMAT, config, source)


def _from_model(model: str | JsonObject) -> tuple[str, dict[str, object], dict[str, object]]:
    """Of a model of the registry by name and options: family, config, and what it has no place for.

    Raises:
      UserError: no such model or option, or no option can be left out to make a config.
    """
    options = {'name': model} if isinstance(model, str) else dict(model)
    name = options.pop('name', None)
    if name is None:
        raise UserError(f"model: a name or {{'name': .., option: ..}} expected, not {model}")
    asked = options_of(build(name, options))[1]
    family = families.family_of_model(name)
    module = families.module(family)
    first: UserError | None = None
    for count in range(len(options) + 1):
        for left_out in itertools.combinations(options, count):
            rest = {key: value for key, value in options.items() if key not in left_out}
            try:
                config = module.config_from_network(build(name, rest), ())
                said = options_of(module.network_from_config(dict(config)))[1]
            except UserError as error:
                first = first or error
            else:
                return family, config, {k: asked[k] for k in options if said.get(k) != asked[k]}
    assert first is not None
    raise first
