"""Families of decoders of text under the names of transformers."""

from ftjax.pretrained.families.row import Row

# In the order in which they are tried. The key is the module's name in this folder.
ROWS = {
    'gpt2': Row(
        models=('gpt2',),
        model_types=('gpt2',),
        tensors=(r'(transformer\.)?h\.0\.attn\.c_attn\.weight',),
    ),
    'olmo2': Row(
        models=('olmo2',),
        model_types=('olmo2',),
        tensors=(
            r'(model\.)?layers\.0\.post_feedforward_layernorm\.weight',
            r'(model\.)?layers\.0\.self_attn\.q_norm\.weight',
        ),
    ),
    'phi3': Row(
        models=('phi3',),
        model_types=('phi3',),
        tensors=(r'(model\.)?layers\.0\.self_attn\.qkv_proj\.weight',),
    ),
    'gemma': Row(
        models=('gemma',),
        model_types=('gemma', 'gemma2', 'gemma3_text'),
        tensors=(r'(model\.)?layers\.0\.pre_feedforward_layernorm\.weight',),
    ),
    'llama': Row(
        models=('llama',),
        model_types=('llama', 'mistral', 'qwen2', 'qwen3'),
        tensors=(
            r'(model\.)?layers\.0\.self_attn\.q_proj\.weight',
            r'(model\.)?layers\.0\.mlp\.gate_proj\.weight',
        ),
    ),
}
