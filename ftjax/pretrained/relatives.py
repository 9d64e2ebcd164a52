"""Relatives of model types that no family opens: named by kinship, not by spelling.

OPT is no GPT-2 and BEiT is no DeiT, though the names are alike: a checkpoint of the one does not
open as the other. What helps is to know which of the families here do the same work.
"""

from __future__ import annotations

from collections.abc import Collection

# Kind -> the model types here that do the same work, the nearest first.
KINDS = {
    'a decoder of text': ('llama', 'qwen3', 'gemma3_text', 'olmo2', 'phi3', 'gpt2'),
    'a mixture of experts': ('llama', 'qwen3', 'mistral'),
    'an encoder of text': ('modernbert', 'deberta-v2', 'roberta', 'bert', 'mpnet'),
    'an encoder of long texts': ('modernbert',),
    'an encoder and a decoder of text': (),
    'a vision transformer': ('dinov3_vit', 'dinov2', 'vit', 'beit', 'siglip2'),
    'a transformer with windows': ('swinv2', 'swin'),
    'a convolutional network': ('convnextv2', 'convnext', 'efficientnet', 'resnet'),
    'a model of images and texts': ('siglip', 'siglip2', 'clip'),
    'a language model that sees images': ('gemma3_text', 'qwen3', 'llama'),
    'a network for segmentation or detection': ('dinov3_vit', 'swinv2', 'convnextv2'),
    'a network for speech': (),
    'a state space model': ('llama', 'qwen3'),
}
_OF_KIND = {
    'a decoder of text': (
        'opt gpt_neo gpt_neox gptj gpt_bigcode bloom falcon mpt codegen ctrl xglm openai-gpt '
        'stablelm starcoder2 cohere cohere2 olmo olmo3 phi persimmon granite smollm3 nemotron '
        'glm glm4 exaone4 helium ministral arcee ernie4_5 seed_oss diffllama apertus '
        'hunyuan_v1_dense'
    ),
    'a mixture of experts': (
        'mixtral qwen2_moe qwen3_moe phimoe olmoe deepseek_v2 deepseek_v3 dbrx jetmoe gpt_oss '
        'granitemoe ernie4_5_moe glm4_moe minimax'
    ),
    'an encoder of text': (
        'deberta data2vec-text mobilebert squeezebert camembert-v2 ernie esm ibert layoutlm '
        'megatron-bert nystromformer rembert roformer xlm xlm-roberta-xl xlnet funnel convbert '
        'fnet flaubert luke nomic_bert bert-generation roberta-prelayernorm eurobert jina_bert '
        'xmod'
    ),
    'an encoder of long texts': 'longformer big_bird led reformer canine perceiver yoso',
    'an encoder and a decoder of text': (
        't5 mt5 umt5 t5gemma bart mbart pegasus marian blenderbot m2m_100 prophetnet '
        'switch_transformers'
    ),
    'a vision transformer': (
        'vit_msn vit_hybrid ijepa data2vec-vision hiera vitdet eva cait levit aimv2 vjepa2 dpt '
        'pixtral_vision pe_encoder'
    ),
    'a transformer with windows': (
        'swin2sr donut-swin focalnet maxvit mvitv2 cvt pvt pvt_v2 nat dinat'
    ),
    'a convolutional network': (
        'mobilenet_v1 mobilenet_v2 mobilevit mobilevitv2 regnet bit poolformer hgnet_v2 van'
    ),
    'a model of images and texts': (
        'chinese_clip altclip align x_clip clipseg blip flava groupvit owlvit metaclip_2 '
        'clip_text_model'
    ),
    'a language model that sees images': (
        'gemma3 gemma3n llava llava_next mllama llama4 qwen2_vl qwen2_5_vl qwen3_vl paligemma '
        'idefics3 phi4_multimodal internvl smolvlm mistral3 blip-2 kosmos-2'
    ),
    'a network for segmentation or detection': (
        'segformer mask2former maskformer oneformer upernet detr deformable_detr '
        'conditional_detr rt_detr rt_detr_v2 d_fine dab-detr yolos table-transformer sam sam2 '
        'beit_segmentation'
    ),
    'a network for speech': (
        'whisper wav2vec2 wav2vec2-bert hubert wavlm unispeech sew data2vec-audio speecht5 '
        'encodec audio-spectrogram-transformer clap moonshine parakeet_ctc'
    ),
    'a state space model': (
        'mamba mamba2 falcon_mamba recurrent_gemma rwkv zamba zamba2 jamba bamba'
    ),
}
KIND_OF = {name: kind for kind, names in _OF_KIND.items() for name in names.split()}
# Where one relative is much nearer than its kind says.
NEAREST = {
    'gemma3': 'gemma3_text is its language model alone',
    'gemma3n': 'gemma3_text is its elder',
    'mixtral': 'mistral is it without experts',
    'qwen2_moe': 'qwen2 is it without experts',
    'qwen3_moe': 'qwen3 is it without experts',
    'phimoe': 'phi3 is it without experts',
    'phi4_multimodal': 'phi3 is its language model alone',
    'olmo3': 'olmo2 is its elder',
    'olmo': 'olmo2 is its successor',
    'deberta': 'deberta-v2 is its successor, and V3 too',
    'nomic_bert': 'modernbert is another encoder with rotary positions',
    'data2vec-text': 'roberta has its form, under other names',
    'data2vec-vision': 'beit has its form, under other names',
    'dinov3': 'its transformers are dinov3_vit, its ConvNeXts dinov3_convnext',
    'clip_text_model': 'clip opens its tower of images alone',
}
# The same of architectures of timm, by the beginnings of their names.
NEAREST_IN_TIMM = {
    'efficientnet_b': 'it pads otherwise than tf_efficientnet_b0 .. b8, which are opened',
    'vit_7b_patch16_dinov3': (
        'vit_small, vit_base, vit_large and vit_huge_plus_patch16_dinov3 are opened'
    ),
    'swin_': 'of timm swinv2_* is opened; swin of transformers',
}


def relatives(model_type: str, known: Collection[str]) -> str:
    """What to say of a model type that no family opens.

    Args:
      model_type: as config.json has it.
      known: all model types that families open.
    """
    kind, near = KIND_OF.get(model_type), NEAREST.get(model_type)
    timm = (text for begins, text in NEAREST_IN_TIMM.items() if model_type.startswith(begins))
    near = near or next(timm, None)
    if kind is None and near is None:
        return f'known are {", ".join(sorted(known))}'
    said = [near] if near else []
    same = [name for name in KINDS.get(kind or '', ()) if name in known]
    if same:
        said.append(f'of that kind are {", ".join(same)}, which are other networks')
    elif kind:
        said.append('there is none of that kind')
    return f'it is {kind}; {"; ".join(said)}' if kind else '; '.join(said)
