"""Losses, gradients and greedy texts of tiny random decoders beside those of transformers."""

import jax
import numpy as np
import pytest

from ftjax.evaluation.generation.decoding import Decoding
from ftjax.evaluation.generation.generated_texts import padded_left
from ftjax.evaluation.generation.sampling import GREEDY
from ftjax.pretrained.open import load_pretrained
from ftjax.tasks import task_of

pytestmark = [pytest.mark.torch, pytest.mark.slow]
SIZES = {
    'vocab_size': 40,
    'hidden_size': 32,
    'intermediate_size': 40,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'max_position_embeddings': 64,
    'bos_token_id': 1,
    'eos_token_id': 2,
    'pad_token_id': 0,
}
GPT2 = {'vocab_size': 40, 'n_embd': 32, 'n_layer': 2, 'n_head': 4, 'n_positions': 64}
KINDS = {
    'GPT2': {**GPT2, 'bos_token_id': 1, 'eos_token_id': 2, 'pad_token_id': 0},
    'Llama': SIZES,
    'Mistral': {**SIZES, 'sliding_window': 5},
    'Qwen2': {**SIZES, 'tie_word_embeddings': True},
    'Qwen3': {**SIZES, 'head_dim': 8},
}


@pytest.fixture(params=KINDS)
def both(request, tmp_path):
    """A model of transformers with random weights, and ours of its folder."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f'{request.param}Config')(**KINDS[request.param])
    name = 'GPT2LMHeadModel' if request.param == 'GPT2' else f'{request.param}ForCausalLM'
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    model.save_pretrained(tmp_path)
    return model, load_pretrained(str(tmp_path))


def test_loss_and_gradients_of_completions(both):
    import torch

    model, found = both
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 40, (3, 12)).astype(np.int32)
    real = np.arange(12) < np.array([12, 9, 7])[:, None]
    counted = real & (np.arange(12) >= np.array([3, 5, 1])[:, None])  # after the prompts
    labels = torch.from_numpy(np.where(counted, ids, -100)).long()
    out = model(
        input_ids=torch.from_numpy(ids).long(),
        attention_mask=torch.from_numpy(real.astype(np.int64)),
        labels=labels,
    )
    out.loss.backward()

    targets = np.full(ids.shape, -1, np.int32)
    targets[:, :-1] = np.where(counted[:, 1:], ids[:, 1:], -1)
    inputs = {'input_ids': ids, 'attention_mask': real.astype(np.int32), 'targets': targets}
    batch = {'labels': targets[..., None], 'mask': (targets >= 0).astype(np.float32)}

    def loss(variables):
        total, weight = task_of('causal_lm').loss(found.network.apply(variables, inputs), batch)
        return total / weight

    value, slopes = jax.jit(jax.value_and_grad(loss))(found.variables)
    assert value == pytest.approx(float(out.loss), abs=1e-5)
    theirs = np.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
    ours = np.sqrt(sum(float((x**2).sum()) for x in jax.tree.leaves(slopes)))
    assert ours == pytest.approx(theirs, rel=1e-5)
    table = model.get_input_embeddings().weight.grad.numpy()
    got = slopes['params']['embed']['word_embed']['embedding']
    np.testing.assert_allclose(got, table, atol=1e-5 * max(1, np.abs(table).max()))


def test_greedy_texts_token_for_token(both):
    import torch

    model, found = both
    rng = np.random.default_rng(1)
    prompts = [rng.integers(3, 40, size).tolist() for size in (9, 4, 1, 7)]
    ids, mask = padded_left(prompts, 9, 0)
    theirs = model.generate(
        torch.from_numpy(ids).long(),
        attention_mask=torch.from_numpy(mask.astype(np.int64)),
        max_new_tokens=14,
        do_sample=False,
    ).numpy()[:, 9:]
    run = Decoding(found.network, 14, GREEDY, found.network.end_ids)
    keys = jax.random.split(jax.random.key(0), 4)
    ours = np.asarray(jax.jit(run)(found.variables, ids, mask, keys))[:, : theirs.shape[1]]
    np.testing.assert_array_equal(ours, theirs)
    assert len({tuple(row) for row in ours.tolist()}) > 2
