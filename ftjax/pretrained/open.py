"""`load_pretrained`: from one string to a network with its weights and all that goes with it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.errors import UserError
from ftjax.io.identity.own_parts import restore
from ftjax.io.json.json_reader import LENIENT, read_object
from ftjax.models.adapters.adapted import plain_network
from ftjax.models.built.network import open_built
from ftjax.models.registry import build, fields_of, is_recipe, options_of
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained import families, own_format, run_checkpoint
from ftjax.pretrained.built_models import open_model, options_for, placed, sized
from ftjax.pretrained.checkpoint import Checkpoint
from ftjax.pretrained.config_check import check_config
from ftjax.pretrained.config_values import check_values
from ftjax.pretrained.explain import Explanation, explain
from ftjax.pretrained.initialise import leaf_shapes, random_variables
from ftjax.pretrained.keymaps.keymap import KeyMap
from ftjax.pretrained.leaves import flatten
from ftjax.pretrained.locate.locate import RANDOM, Location, locate
from ftjax.pretrained.own_format import check_hash
from ftjax.pretrained.prefixes import without_prefix
from ftjax.pretrained.readers import open_source
from ftjax.pretrained.report import LoadReport
from ftjax.pretrained.strict_load import Sharding, load_into
from ftjax.registry import find


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A network, its variables and what travels with them."""

    network: Network
    variables: dict
    """{'params': .., 'batch_stats': .. where there are any}: nested dicts of jax.Array."""
    report: LoadReport
    preprocessing: Preprocessing | TextPreprocessing | None
    """Of images or of texts; None for a text network that came without a tokenizer."""
    class_names: tuple[str, ...]
    """Of the head, in the order of the logits; () for a new head or where nobody said."""
    source: str
    """The init string."""
    revision: str | None
    """The commit, for what comes from the hub."""
    family: str
    """The family of the names it came under; 'ftjax' for our own format."""
    config: Mapping[str, Any]
    """The checkpoint's configuration, as found."""
    tokenizer: pathlib.Path | None
    """tokenizer.json, for text."""

    @property
    def threshold(self) -> float | tuple[float, ...] | None:
        """From which probability the second of two classes, or each label, is answered."""
        own = self.family == own_format.FORMAT and self.report.head == 'kept'
        found = self.config.get('decision_threshold') if own else None
        return tuple(found) if isinstance(found, list) else found


def load_pretrained(
    init: str,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    head: str = 'auto',
    dtype: DTypeLike = jnp.float32,
    model: str | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    sharding: Sharding | None = None,
) -> Pretrained:
    """Opens a pretrained network.

    Args:
      init: 'glyphs' or 'docstrings' (shipped), the name of a registered function that builds a
        network with its weights, 'data:NAME', 'hf://ORG/NAME[@REVISION]', the
        path of a folder, file or run; with 'random:' before it the same network with random
        weights.
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
    random, options = init.startswith(RANDOM), dict(options or {})
    model = model or (dict(options) if 'name' in options else None)
    if is_recipe(name := init.removeprefix(RANDOM)):
        _check_model(options.pop('name', name), name, init)
        built = open_built(name, options_for(find('model', name).parameters, options, image_size))
        sized(built.network, image_size)
        found = open_model(
            *(built, init.removeprefix(RANDOM)),
            num_classes=num_classes,
            class_names=class_names,
            seed=seed,
            head=head,
            dtype=dtype,
            random=random,
        )
        return Pretrained(
            network=found.network,
            variables=placed(found.variables, sharding),
            report=found.report,
            preprocessing=found.preprocessing,
            class_names=found.class_names or tuple(class_names or ()),
            source=init,
            revision=None,
            family=found.report.family,
            config={},
            tokenizer=None,
        )
    where = locate(init.removeprefix(RANDOM), weights=not random)
    checkpoint = describe(where, model, tensors=not random)
    _check_name(options.pop('name', None), checkpoint, init)
    overrides = {**options, **_size_override(checkpoint, image_size)}
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
        network = checkpoint.network(**overrides)
        variables = placed(random_variables(network, seed, dtype), sharding)
        report = _random_report(init, checkpoint, network, variables)
    else:
        network, keymap, _ = fit_network(checkpoint, overrides, head)
        assert checkpoint.source is not None
        if checkpoint.is_own:
            check_hash(checkpoint.source.path, checkpoint.config)
        variables, report = load_into(
            network, checkpoint.source, keymap, head=head, seed=seed, dtype=dtype, sharding=sharding
        )
    preprocessing, origin = checkpoint.preprocessing(network)
    notes = (*report.notes, *checkpoint.notes)
    if preprocessing is not None or origin.startswith('none:'):
        notes = (*notes, f'preprocessing: {origin}')
    report = dataclasses.replace(report, notes=notes)
    return Pretrained(
        network=network,
        variables=variables,
        report=report,
        preprocessing=preprocessing,
        class_names=names if report.head == 'kept' else tuple(class_names or ()),
        source=init,
        revision=where.revision,
        family=checkpoint.family,
        config=checkpoint.config,
        tokenizer=checkpoint.tokenizer,
    )


def fit_network(
    checkpoint: Checkpoint, overrides: Mapping[str, Any], head: str = 'auto'
) -> tuple[Network, KeyMap, Explanation]:
    """The network for a checkpoint and how its tensors fit, from headers alone.

    Where nobody asks for classes and the file has no head, the network gets none: a base
    model's config.json names two classes that nobody trained. A pooler that the file lacks is
    left out too where no head asks for it: features must not pass through random weights.
    """
    assert checkpoint.source is not None
    network = checkpoint.network(**overrides)
    keymap = checkpoint.key_map(network)
    plan = explain(network, checkpoint.source, keymap, head)
    lost = any(key.startswith('params/pooler/') for key in plan.initialised)
    if lost and 'head' not in network.stages and 'pool' not in overrides:
        return fit_network(checkpoint, {**overrides, 'pool': 'none'}, head)
    if head != 'auto' or plan.head != 'new' or plan.head_in_source:
        return network, keymap, plan
    # A language model's head is no matter of classes: a new one takes head='new'.
    if checkpoint.promises_head or network.is_lm:
        explain(network, checkpoint.source, keymap, 'keep')  # raises, naming what is missing
    if 'num_classes' not in overrides:
        return fit_network(checkpoint, {**overrides, 'num_classes': 0}, head)
    return network, keymap, plan


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


def _size_override(
    checkpoint: Checkpoint, image_size: int | tuple[int, int] | None
) -> dict[str, Any]:
    """{'image_size': ..} in the way the network's field has it; {} for None."""
    if image_size is None:
        return {}
    network = plain_network(checkpoint.network())
    if 'image_size' not in fields_of(type(network)):
        raise UserError(
            f'image_size={image_size}: {type(network).__name__} has no image size to set'
        )
    sizes = (image_size,) * 2 if isinstance(image_size, int) else tuple(image_size)
    return {'image_size': sizes[0] if sizes[0] == sizes[1] else sizes}


def _random_report(
    init: str, checkpoint: Checkpoint, network: Network, variables: Mapping[str, Any]
) -> LoadReport:
    keys = flatten(variables)
    return LoadReport(
        source=init,
        family=checkpoint.family,
        initialised=dict.fromkeys(keys, 'random weights were asked for'),
        head='new' if 'head' in network.stages else 'none',
    )


def describe(
    where: Location, model: str | Mapping[str, Any] | None = None, *, tensors: bool = True
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
    folder = where.path if where.path.is_dir() else where.path.parent
    file = folder / own_format.CONFIG
    config = read_object(file, LENIENT) if file.exists() else None
    is_own = config is not None and config.get('format') == own_format.FORMAT
    if config is not None:
        (own_format.check_description if is_own else check_values)(config, file)
    family = own_format.FORMAT if is_own else families.family_of_config(config) if config else None
    notes, prefix = (), ''
    if family is not None and not is_own:
        config, notes = check_config(family, config or {}, file)
    source = where.headers
    if source is None and (tensors or family is None):
        source = open_source(where.path)
    if family is None and model is not None:
        family, config = _from_model(model)
    if family is None:
        assert source is not None
        source, prefix = without_prefix(source, _recognised)
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
            source, _counter(Checkpoint(folder, family, config, source))
        )
    if prefix:
        notes += (f'the names of all tensors begin with {prefix!r}, which is left off',)
    assert config is not None
    return Checkpoint(folder, family, config, source, where.revision, notes)


def _recognised(names: Sequence[str]) -> int:
    """All names, if they are of a family, or none."""
    return len(names) if families.family_of_tensors(names) else 0


def _counter(checkpoint: Checkpoint) -> Callable[[Sequence[str]], int]:
    """How many of some tensor names a checkpoint's configuration explains."""
    if checkpoint.is_own:
        return lambda names: len(leaf_shapes(checkpoint.network()).keys() & set(names))

    def explained(names):
        keymap = families.key_map(checkpoint.family, checkpoint.config, names)
        return sum(keymap.match(n) is not None or keymap.is_unused(n) for n in names)

    return explained


def _of_run(step: pathlib.Path, tensors: bool) -> Checkpoint:
    """A checkpoint of a run: its description, and its leaves over those it started from."""
    folder = run_checkpoint.description_of(step.parents[1])
    config = read_object(folder / own_format.CONFIG, LENIENT)
    own_format.check_description(config, folder / own_format.CONFIG)
    config.pop('weights_sha256', None)  # of the finished run's file
    source = run_checkpoint.open_run(step, config, load_pretrained) if tensors else None
    return Checkpoint(folder, own_format.FORMAT, config, source)


def _from_model(model: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The family and the config of a model of the registry given by name and options."""
    options = {'name': model} if isinstance(model, str) else dict(model)
    name = options.pop('name', None)
    if name is None:
        raise UserError(f"model: a name or {{'name': .., option: ..}} expected, not {model}")
    network = build(name, options)
    family = families.family_of_model(name)
    return family, families.module(family).config_from_network(network, ())
