"""Measures how far a network of ours is from a reference that PyTorch wrote to a folder.

A reference folder, made live by `parity_torch.write_reference` or committed as a golden:

    model/       the checkpoint as its library saves it: config.json, weights
    gradients/   the gradient of the loss, under the checkpoint's names and layouts
    stepped/     (BatchNorm only) the weights after one SGD step in train mode
    reference.safetensors    inputs, labels, the output of every stage
    case.json    {family, source, options for load_pretrained, rate of the SGD step}

Inputs are one array of images, or for text a dict of input_ids, attention_mask and
token_type_ids. Nothing in here needs PyTorch. The loss is the mean cross-entropy over the last
axis of the last stage's output, classes or features alike; labels of -100 are left out.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from ftjax.export.source_names import to_source
from ftjax.models.stages import EVAL, TRAIN, Network
from ftjax.pretrained.checkpoint import Checkpoint
from ftjax.pretrained.fit_network import fit_network
from ftjax.pretrained.keymaps.keymap import KeyMap
from ftjax.pretrained.locate.locate import locate
from ftjax.pretrained.open import describe
from ftjax.pretrained.readers import TensorSource, open_source
from ftjax.pretrained.strict_load import load_into

GOLDENS = pathlib.Path(__file__).parent / 'goldens'
STAGE_TOLERANCE, GRADIENT_TOLERANCE, STEP_TOLERANCE = 1e-5, 1e-4, 1e-5
IGNORED = -100


@dataclasses.dataclass(frozen=True)
class Parity:
    """Relative errors by stage and by leaf, and tensors that did not come back bit for bit."""

    family: str
    source: str
    stages: dict[str, float]
    gradients: dict[str, float]
    step: dict[str, float]
    changed: tuple[str, ...]

    @property
    def row(self) -> dict:
        """The row of results/parity/table.json."""
        row = {
            'family': self.family,
            'source': self.source,
            'stage_error': max(self.stages.values()),
            'gradient_error': max(self.gradients.values()),
            'round_trip': 'bitwise' if not self.changed else f'differs: {self.changed[0]}',
        }
        return row | ({'step_error': max(self.step.values())} if self.step else {})

    def check(self) -> None:
        """Fails with everything beyond its tolerance."""
        for errors, tolerance in (
            (self.stages, STAGE_TOLERANCE),
            (self.gradients, GRADIENT_TOLERANCE),
            (self.step, STEP_TOLERANCE),
        ):
            # `not <=` so that NaN fails.
            beyond = {name: error for name, error in errors.items() if not error <= tolerance}
            assert not beyond, f'{self.family}: beyond {tolerance}: {beyond}'
        assert not self.changed, f'{self.family}: not back bit for bit: {self.changed}'


def goldens(prefix: str) -> list[pathlib.Path]:
    """The committed references of a family: goldens/PREFIX and goldens/PREFIX_*, at least one."""
    folders = [GOLDENS / prefix, *sorted(GOLDENS.glob(f'{prefix}_*'))]
    found = [folder for folder in folders if (folder / 'case.json').exists()]
    # Tests are made from this list: an empty one would pass without a word.
    if not found:
        raise FileNotFoundError(f'no golden of {prefix}: scripts/parity/make_parity_goldens.py')
    return found


def measure(folder: pathlib.Path) -> Parity:
    """Loads the checkpoint in a reference folder and compares everything there is."""
    case = json.loads((folder / 'case.json').read_text())
    arrays = Arrays(folder / 'reference.safetensors')
    checkpoint, network, keymap = recognise(folder / 'model', case['options'])
    assert checkpoint.source is not None
    variables = load_into(network, checkpoint.source, keymap)[0]
    inputs, labels = arrays.inputs(), arrays['labels']
    outputs, gradients = forward_backward(network, variables, inputs, labels)
    expected = {name: arrays[f'outputs/{name}'] for name in arrays.stages}
    assert set(expected) == set(network.stages), 'the reference must hold every stage'
    mask = inputs.get('attention_mask') if isinstance(inputs, dict) else None
    step = {}
    if (folder / 'stepped').exists():
        ours = sgd_step(network, variables, inputs, labels, case['rate'])
        step = errors_of(ours, read(folder / 'stepped', network, keymap))
    theirs = {'params': read(folder / 'gradients', network, keymap)['params']}
    return Parity(
        case['family'],
        case['source'],
        {name: output_error(outputs[name], expected[name], mask) for name in expected},
        errors_of({'params': gradients}, theirs),
        step,
        not_bitwise(checkpoint.source, keymap, variables),
    )


def padding_error(folder: pathlib.Path) -> float:
    """How far the output for a sentence alone is from that in its padded batch (text only).

    Relative to the largest value; padding is what attention_mask leaves out, on either side.
    """
    case = json.loads((folder / 'case.json').read_text())
    inputs = Arrays(folder / 'reference.safetensors').inputs()
    assert isinstance(inputs, dict), 'only text has padding'
    mask = np.asarray(inputs['attention_mask'], bool)
    assert not mask.all(), 'the reference must have padding'
    checkpoint, network, keymap = recognise(folder / 'model', case['options'])
    assert checkpoint.source is not None
    variables = load_into(network, checkpoint.source, keymap)[0]

    @quick_jit
    def run(variables, inputs):
        return plain(network.apply(variables, inputs))

    row = int(mask.sum(axis=1).argmin())  # the one with most padding
    together = np.asarray(run(variables, inputs))[row]
    alone = np.asarray(run(variables, {n: a[row : row + 1, mask[row]] for n, a in inputs.items()}))
    if together.shape != alone[0].shape:  # one vector a token
        together = together[mask[row]]
    return float(np.abs(alone[0] - together).max() / np.abs(together).max())


def recognise(folder: pathlib.Path, options: dict) -> tuple[Checkpoint, Network, KeyMap]:
    """The checkpoint as `load_pretrained` sees it with these keywords."""
    overrides = dict(options.get('options', {}))
    if 'num_classes' in options:
        overrides['num_classes'] = options['num_classes']
    checkpoint = describe(locate(str(folder)), options.get('model'))
    network, keymap, _ = fit_network(checkpoint, overrides)
    return checkpoint, network, keymap


def read(folder: pathlib.Path, network: Network, keymap: KeyMap) -> dict:
    """The weights file in `folder` as the network's variables."""
    file = next(path for path in sorted(folder.iterdir()) if path.suffix != '.json')
    return jax.device_get(load_into(network, open_source(file), keymap)[0])


# Programs that run once: what the compiler saves is more than what it makes faster.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={
        'xla_backend_optimization_level': 0,
        'xla_llvm_disable_expensive_passes': True,
    },
)


def forward_backward(network, variables, inputs, labels) -> tuple[dict, dict]:
    """The output of every stage and the gradient of the loss, from one compiled program."""
    rest = {name: value for name, value in variables.items() if name != 'params'}

    @quick_jit
    def run(params, rest, inputs, labels):
        def loss(params):
            out, seen = network.apply(
                {'params': params, **rest}, inputs, modes=EVAL, taps=network.stages
            )
            return cross_entropy(plain(out), labels), seen

        (_, seen), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        return {name: plain(output) for name, output in seen.items()}, gradients

    return jax.device_get(run(variables['params'], rest, inputs, labels))


def sgd_step(network, variables, inputs, labels, rate: float) -> dict:
    """The variables after one step in train mode."""

    @quick_jit
    def run(variables, inputs, labels):
        stats = {'batch_stats': variables['batch_stats']}

        def loss(params):
            out, moved = network.apply(
                {'params': params, **stats},
                inputs,
                modes=TRAIN,
                rngs={'dropout': jax.random.key(0)},
                mutable=['batch_stats'],
            )
            return cross_entropy(plain(out), labels), moved

        gradients, moved = jax.grad(loss, has_aux=True)(variables['params'])
        params = jax.tree.map(lambda p, g: p - rate * g, variables['params'], gradients)
        return {'params': params, **moved}

    return jax.device_get(run(variables, inputs, labels))


def plain(state):
    """The array of a stage's output: what flows on is a dict, logits are not."""
    return state['hidden'] if isinstance(state, dict) else state


def cross_entropy(logits, labels):
    """The mean over the labels that are not IGNORED."""
    labels = jnp.asarray(labels)
    counted = labels != IGNORED
    chosen = jnp.take_along_axis(
        jax.nn.log_softmax(logits), jnp.where(counted, labels, 0)[..., None], axis=-1
    )[..., 0]
    return -(chosen * counted).sum() / counted.sum()


def output_error(ours: np.ndarray, theirs: np.ndarray, mask: np.ndarray | None) -> float:
    """The largest difference relative to the largest value; real tokens only."""
    assert ours.shape == theirs.shape, f'{ours.shape} here, {theirs.shape} there'
    if mask is not None and ours.ndim >= 3 and ours.shape[:2] == mask.shape:
        real = np.asarray(mask, bool)
        ours, theirs = ours[real], theirs[real]
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def errors_of(ours: dict, theirs: dict) -> dict[str, float]:
    """By leaf: the largest difference relative to the leaf's largest value.

    What is zero but for rounding (the gradient of a key's bias, say) is measured against a
    hundredth of the largest value of all.
    """
    ours, theirs = flatten_dict(ours, sep='/'), flatten_dict(theirs, sep='/')
    assert set(ours) == set(theirs), set(ours) ^ set(theirs)
    floor = 1e-2 * max(np.abs(leaf).max() for leaf in theirs.values())
    return {
        key: float(np.abs(ours[key] - leaf).max() / max(np.abs(leaf).max(), floor))
        for key, leaf in theirs.items()
    }


def not_bitwise(source: TensorSource, keymap: KeyMap, variables: dict) -> tuple[str, ...]:
    """The checkpoint's tensors that the inverse key map does not give back bit for bit."""
    written = to_source(variables, keymap)
    changed = []
    for name in source.names:
        if name not in written and keymap.is_unused(name):
            continue
        before = source.read(name)
        after = written.pop(name)[2]() if name in written else None
        same = after is not None and after.dtype == before.dtype and after.shape == before.shape
        if not same or after.tobytes() != before.tobytes():
            changed.append(name)
    return (*changed, *written)


class Arrays:
    """The reference's arrays by name."""

    def __init__(self, path: pathlib.Path):
        source = open_source(path)
        self._arrays = {name: source.read(name) for name in source.names}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    @property
    def stages(self) -> list[str]:
        """The stages there are outputs of."""
        return [n.removeprefix('outputs/') for n in self._arrays if n.startswith('outputs/')]

    def inputs(self):
        """One array of images, or a dict of arrays for text."""
        if 'inputs' in self._arrays:
            return self._arrays['inputs']
        prefix = 'inputs/'
        return {n.removeprefix(prefix): a for n, a in self._arrays.items() if n.startswith(prefix)}
