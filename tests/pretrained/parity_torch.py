"""The side of the parity engine that needs PyTorch: models to reference folders."""

from __future__ import annotations

import copy
import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import transformers
from parity_engine import IGNORED, Parity, measure
from safetensors.numpy import save_file

from ftjax.export.huggingface import save_huggingface
from ftjax.pretrained.open import load_pretrained

# oneDNN's backward of a strided 1x1 convolution with few channels writes out of bounds
# (torch 2.13 on CPU: crashes, or corrupts memory), and these models are that small.
torch.backends.mkldnn.enabled = False

Inputs = np.ndarray | dict[str, np.ndarray]
Tap = tuple[str, Callable[[Any], torch.Tensor]]
"""The path of a module ('' for the model) and what of its output is our stage's output."""


def save_pretrained(model: torch.nn.Module, folder: pathlib.Path) -> None:
    """As transformers saves."""
    model.save_pretrained(folder)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One tiny model with random weights."""

    family: str
    source: str
    build: Callable[[], torch.nn.Module]
    inputs: Callable[[np.random.Generator], Inputs]
    labels: Callable[[np.random.Generator], np.ndarray]
    """int64, each in [0, size of the output's last axis), or -100."""
    taps: Mapping[str, Tap]
    """One for each stage of our network."""
    forward: Callable[[torch.nn.Module, dict[str, torch.Tensor]], Any]
    """(model, inputs as tensors; images under 'inputs', NHWC) -> the model's output."""
    logits: Callable[[Any], torch.Tensor]
    """The model's output -> what our last stage gives."""
    save: Callable[[torch.nn.Module, pathlib.Path], None] = save_pretrained
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Keywords of load_pretrained."""
    rate: float | None = None
    """The learning rate of an SGD step in train mode; None for no such test."""
    golden: bool = False
    """Whether it is committed."""
    reopens: bool = True
    """Whether transformers has a place for the network (asked of its own checkpoints only)."""
    pixels: tuple[int, ...] | None = None
    """Shape of what its image processor gives; None for (1, channels, height, width)."""
    missing: tuple[str, ...] = ()
    """Beginnings of names that transformers rightly misses in what we save."""


def randomise(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random values everywhere: zero biases and unit norms hide tensors that were swapped."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor, mean, scale):
        tensor.copy_(mean + scale * torch.randn(tensor.shape, generator=generator))

    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim >= 2:
                normal(tensor, 0, max(tensor[0].numel(), 1) ** -0.5)
            else:
                gain = name.endswith(('weight', 'lambda1', 'layer_scale_parameter', 'gamma'))
                normal(tensor, float(gain), 0.2)
        for name, tensor in model.named_buffers():
            if name.endswith('running_mean'):
                normal(tensor, 0, 0.2)
            elif name.endswith('running_var'):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return model.eval()


def write_reference(case: Case, folder: pathlib.Path, seed: int = 0) -> torch.nn.Module:
    """Fills a reference folder; returns the model that was saved."""
    rng = np.random.default_rng(seed)
    model = randomise(case.build(), seed)
    inputs, labels = case.inputs(rng), case.labels(rng)
    case.save(model, folder / 'model')
    seen = run(case, model, inputs, labels)
    save_like(case, model, {n: zero_if_none(p) for n, p in named(model)}, folder / 'gradients')
    arrays = {'labels': labels, **{f'outputs/{name}': array for name, array in seen.items()}}
    if isinstance(inputs, dict):
        arrays |= {f'inputs/{name}': array for name, array in inputs.items()}
    else:
        arrays['inputs'] = inputs
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        folder / 'reference.safetensors',
    )
    if case.rate is not None:
        stepped = copy.deepcopy(model).train()
        stepped.zero_grad()
        run(case, stepped, inputs, labels)
        torch.optim.SGD(stepped.parameters(), lr=case.rate).step()
        case.save(stepped, folder / 'stepped')
    facts = {'family': case.family, 'source': case.source, 'options': dict(case.options)}
    facts |= {} if case.rate is None else {'rate': case.rate}
    (folder / 'case.json').write_text(json.dumps(facts, indent=2) + '\n')
    return model


def run(case: Case, model, inputs: Inputs, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Forward and backward; the outputs of all stages. Gradients are left on the model."""
    seen: dict[str, torch.Tensor] = {}
    handles = []
    for stage, (path, select) in case.taps.items():
        module = model.get_submodule(path)
        handles.append(module.register_forward_hook(catcher(seen, stage, select)))
    output = case.forward(model, tensors(inputs))
    logits = case.logits(output)
    axis = logits.shape[-1]
    loss = torch.nn.functional.cross_entropy(
        logits.reshape(-1, axis), torch.from_numpy(labels).reshape(-1), ignore_index=IGNORED
    )
    model.zero_grad()
    loss.backward()
    for handle in handles:
        handle.remove()
    return {stage: tensor.detach().numpy() for stage, tensor in seen.items()}


def catcher(seen: dict, stage: str, select: Callable):
    """A forward hook that keeps a module's output; the first of several runs counts.

    The last counts where `select` has an attribute `last`.
    """

    def hook(module, args, output):
        if getattr(select, 'last', False):
            seen[stage] = select(output)
        seen.setdefault(stage, select(output))  # what a hook returns would replace the output

    return hook


def tensors(inputs: Inputs) -> dict[str, torch.Tensor]:
    arrays = inputs if isinstance(inputs, dict) else {'inputs': inputs}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def named(model: torch.nn.Module):
    return dict(model.named_parameters()).items()


def zero_if_none(parameter: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def save_like(case: Case, model, values: Mapping[str, torch.Tensor], folder: pathlib.Path) -> None:
    """Saves tensors in place of the parameters: their names and layouts become the file's."""
    double = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in named(double):
            parameter.copy_(values[name])
    case.save(double, folder)


def check_live(case: Case, folder: pathlib.Path) -> Parity:
    """Writes the reference, measures against it, and has transformers open what we save."""
    model = write_reference(case, folder)
    parity = measure(folder)
    parity.check()
    if case.source == 'transformers' and case.reopens:
        check_opens(case, model, folder)
    return parity


def check_opens(case: Case, model: torch.nn.Module, folder: pathlib.Path) -> None:
    """transformers opens our export of the untouched network and computes the same."""
    pretrained = load_pretrained(str(folder / 'model'), **case.options)
    save_huggingface(
        folder / 'export',
        pretrained.network,
        pretrained.variables,
        pretrained.preprocessing,
        pretrained.class_names,
        family=pretrained.family,
    )
    opened, info = type(model).from_pretrained(folder / 'export', output_loading_info=True)
    # The running count of batches is no weight: BatchNorm starts it at nought.
    missing = [
        name
        for name in info['missing_keys']
        if not name.endswith('num_batches_tracked') and not name.startswith(case.missing or '\0')
    ]
    assert not missing, missing
    assert not info['unexpected_keys'], info['unexpected_keys']
    inputs = case.inputs(np.random.default_rng(0))
    with torch.no_grad():
        before = case.logits(case.forward(model.eval(), tensors(inputs)))
        after = case.logits(case.forward(opened.eval(), tensors(inputs)))
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)
    if pretrained.preprocessing is not None:
        check_processor(pretrained.preprocessing, folder / 'export', case.pixels)


def check_processor(preprocessing, folder: pathlib.Path, shape: tuple[int, ...] | None) -> None:
    """transformers' own preprocessing, opened from our export, gives images of the right size."""
    if preprocessing.channels != 3:
        return  # its processors take no others
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    pixels = np.asarray(processor(images=image, return_tensors='np')['pixel_values'])
    assert pixels.shape == (shape or (1, 3, *preprocessing.image_size))
