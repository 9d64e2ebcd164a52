"""Holds a drawn configuration against a random model of transformers."""

import pathlib
import traceback

import numpy as np
from drawn_configs import MODEL_TYPES, drawn
from parity_engine import quick_jit

from ftjax.errors import UserError
from ftjax.pretrained import families
from ftjax.pretrained.config_check import check_config
from ftjax.pretrained.config_fields import known
from ftjax.pretrained.config_values import check_values
from ftjax.pretrained.open import load_pretrained

FILE = pathlib.Path('config.json')
NEAR = 1e-4
"""Of the largest output."""


def judged(model_type, number, folder):
    """'equal', 'refused', 'no model', or how far the outputs are apart."""
    config, _ = drawn(model_type, number)
    if refusal(config) is not None:
        return 'refused'
    model = torch_model(config)
    if model is None:
        return 'no model'
    try:
        ours, theirs = compared(model, folder, config)
    except UserError as error:
        return 'refused' if number else f'refused: {error}'
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return 'no model' if raised_by_the_reference(error) else repr(error)
    far = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-3))
    return 'equal' if far <= NEAR else far


def raised_by_the_reference(error):
    """Whether transformers or torch raised it: the code of the innermost frame is theirs."""
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    theirs = pathlib.Path(frames[-1]).parts
    return 'transformers' in theirs or 'torch' in theirs


def refusal(config):
    """Why a configuration is refused; None for one that is a network with a head."""
    family = MODEL_TYPES[config['model_type']]
    try:
        check_values(config, FILE)
        checked, _ = check_config(family, config, FILE)
        network = families.module(family).network_from_config(checked, num_classes=3)
    except UserError as error:
        return str(error)
    assert network.stages[-1] == 'head'
    return None


def torch_model(config):
    """A model of transformers with random weights, or None where there can be none."""
    import torch
    import transformers

    torch.manual_seed(0)
    torch.backends.mkldnn.enabled = False
    fields = {**known(config['model_type']).defaults, **config}
    kind = 'Image' if {'num_channels', 'vision_config'} & set(fields) else 'Sequence'
    model = None
    for auto in (f'AutoModelFor{kind}Classification', 'AutoModel'):  # some have no classifier
        try:
            made = transformers.AutoConfig.for_model(**config, num_labels=3)
            cls = getattr(transformers, auto)
            model = cls.from_config(made, attn_implementation='eager').eval()
            break
        except Exception:  # whatever it raises for sizes that do not go together
            continue
    if model is None:
        return None
    with torch.no_grad():
        for name, leaf in model.named_parameters():
            if leaf.ndim < 2 or 'lambda' in name or 'layer_scale' in name:
                leaf.add_(0.3 * torch.randn_like(leaf))
            else:
                leaf.copy_(0.3 * torch.randn_like(leaf))
    return model


def compared(model, folder, config):
    """(our outputs, theirs) for the same inputs; a UserError is a refusal."""
    import torch

    model.save_pretrained(folder)
    random = np.random.default_rng(1)
    found = load_pretrained(str(folder))
    if found.network.takes == 'images':
        height, width, channels = found.network.example_input(1).shape[1:]
        images = random.normal(size=(2, height, width, channels)).astype(np.float32)
        inputs, given = images, {'pixel_values': torch.from_numpy(images).permute(0, 3, 1, 2)}
        if found.family == 'vit_mae':  # nothing is hidden, and in the order of the image
            model.config.mask_ratio = 0.0
            given['noise'] = torch.arange(10_000).repeat(2, 1)[:, : np.prod(found.network.grid)]
        if found.family == 'siglip2':
            given = rows_of_patches(torch.from_numpy(images), found.network.patch_hw[0])
    else:
        ids = random.integers(6, 50, (2, 9))
        mask = np.ones_like(ids)
        pad = config.get('pad_token_id', known(config['model_type']).defaults.get('pad_token_id'))
        if isinstance(pad, int) and 0 <= pad < 50:
            mask[1, 6:], ids[1, 6:] = 0, pad
        inputs = {'input_ids': ids.astype(np.int32), 'attention_mask': mask.astype(np.int32)}
        given = {'input_ids': torch.from_numpy(ids), 'attention_mask': torch.from_numpy(mask)}
        if not isinstance(pad, int):  # decoders of transformers cannot tell where texts end
            inputs = {name: rows[:1] for name, rows in inputs.items()}
            given = {name: rows[:1] for name, rows in given.items()}
    with torch.no_grad():
        theirs = model(**given)
    ours = quick_jit(found.network.apply)(found.variables, inputs)
    ours = np.asarray(ours['hidden'] if isinstance(ours, dict) else ours)
    if hasattr(theirs, 'logits'):
        expected = theirs.logits
    elif ours.ndim > 2:
        expected = theirs.last_hidden_state
    elif found.family in ('deit', 'vit_mae'):  # of DeiT the pooler's layer is left over here
        expected = theirs.last_hidden_state[:, 0]
    else:
        expected = theirs.pooler_output
    return ours, expected.detach().numpy()


def rows_of_patches(images, patch):
    """What SigLIP 2 takes in place of images (batch, height, width, channels)."""
    import torch

    batch, height, width, channels = images.shape
    down, across = height // patch, width // patch
    x = images.reshape(batch, down, patch, across, patch, channels)
    rows = x.permute(0, 1, 3, 2, 4, 5).reshape(batch, down * across, -1)
    return {
        'pixel_values': rows,
        'pixel_attention_mask': torch.ones(rows.shape[:2], dtype=torch.int32),
        'spatial_shapes': torch.tensor([[down, across]]).repeat(batch, 1),
    }
