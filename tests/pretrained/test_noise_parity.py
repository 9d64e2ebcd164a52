"""Dropout in training, held against transformers' by the mean and deviation of many draws."""

import jax
import numpy as np
import pytest
from drawn_comparison import rows_of_patches, torch_model
from drawn_configs import MODEL_TYPES, drawn

from ftjax.models.stages import TRAIN
from ftjax.pretrained import families
from ftjax.pretrained.config_fields import known
from ftjax.pretrained.open import load_pretrained

DRAWS, TIMES = 512, 6
"""Copies of one example in a batch, and batches."""
RATE = 0.4
WEIGHTS = ('attention_probs_dropout_prob', 'attention_dropout', 'attn_pdrop')
NOISE = (
    *('hidden_dropout_prob', 'classifier_dropout', 'dropout', 'resid_pdrop', 'embd_pdrop'),
    *('seq_classif_dropout', 'drop_path_rate', 'classifier_dropout_prob', 'embedding_dropout'),
    *('cls_dropout', 'pooler_dropout', 'mlp_dropout', *WEIGHTS),
)
UNAPPLIED = ('pos_embed_rescale',)
"""Noise in training that is not applied here, which the load report says."""
TYPES = [
    name
    for name, family in MODEL_TYPES.items()
    if {*WEIGHTS, 'vision_config'} & set(families.module(family).FIELDS[name].reads)
]


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize('model_type', TYPES)
def test_dropped_attention_weights_scatter_outputs_as_in_transformers(model_type, tmp_path):
    torch = pytest.importorskip('torch')
    config, _ = drawn(model_type, 0)
    own = {**known(model_type).defaults, **config}
    if vision := config.get('vision_config'):
        vision['attention_dropout'] = RATE
    else:
        config |= {name: 0.0 for name in (*NOISE, 'mask_ratio') if name in own}
        config |= {name: RATE for name in WEIGHTS if name in own}
        config |= {name: None for name in UNAPPLIED if name in own}
    model = torch_model(config)
    assert model is not None
    with torch.no_grad():  # far from where the softmax is one token
        for leaf in model.parameters():
            leaf.mul_(0.7)
    model.train().save_pretrained(tmp_path)
    found = load_pretrained(str(tmp_path))
    random = np.random.default_rng(1)
    if found.network.takes == 'images':
        shape = found.network.example_input(1).shape[1:]
        one = random.normal(size=(1, *shape)).astype(np.float32)
        inputs = np.repeat(one, DRAWS, axis=0)
        given = {'pixel_values': torch.from_numpy(inputs).permute(0, 3, 1, 2)}
        if found.family == 'siglip2':
            given = rows_of_patches(torch.from_numpy(inputs), found.network.patch_hw[0])
    else:
        ids = np.repeat(random.integers(6, 50, (1, 9)), DRAWS, axis=0)
        inputs = {'input_ids': ids.astype(np.int32), 'attention_mask': np.ones_like(ids, np.int32)}
        given = {'input_ids': torch.from_numpy(ids)}
        if own.get('pad_token_id') is None:
            model.config.pad_token_id = 0
    apply = jax.jit(
        lambda key: found.network.apply(found.variables, inputs, modes=TRAIN, rngs={'dropout': key})
    )
    ours, theirs = [], []
    for number in range(TIMES):
        out = apply(jax.random.key(number))
        ours.append(np.asarray(out['hidden'] if isinstance(out, dict) else out))
        with torch.no_grad():
            out = model(**given)
        if hasattr(out, 'logits'):
            theirs.append(out.logits.numpy())
        elif found.family in ('deit', 'vit_mae'):
            theirs.append(out.last_hidden_state[:, 0].numpy())
        else:
            theirs.append(out.pooler_output.numpy())
    ours, theirs = np.concatenate(ours), np.concatenate(theirs)
    assert theirs.std(axis=0).min() > 1e-4, 'nothing was dropped'
    count = len(ours)
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / count)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) / error).max() < 5
    # The deviation of a deviation, by the fourth moment: outputs need not be normal.
    spread = [x.var(axis=0) for x in (ours, theirs)]
    fourth = [((x - x.mean(axis=0)) ** 4).mean(axis=0) for x in (ours, theirs)]
    error = np.sqrt(sum((f - v**2) / count for f, v in zip(fourth, spread, strict=True)))
    assert (np.abs(spread[0] - spread[1]) / error).max() < 5
