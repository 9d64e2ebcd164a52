"""Families of encoders of text under the names of transformers."""

from ftjax.pretrained.families.row import Row

# In the order in which they are tried. The key is the module's name in this folder.
ROWS = {
    # Without the prefix RoBERTa's names are BERT's.
    'bert': Row(
        models=('bert',),
        model_types=('bert',),
        tensors=(r'(bert\.)?encoder\.layer\.0\.attention\.self\.query\.weight',),
    ),
    'roberta': Row(
        models=('roberta',),
        model_types=('roberta', 'camembert'),
        tensors=(r'roberta\.encoder\.layer\.0\.attention\.self\.query\.weight',),
    ),
    'xlm_roberta': Row(models=('xlm_roberta',), model_types=('xlm-roberta',)),
    'mpnet': Row(
        models=('mpnet',),
        model_types=('mpnet',),
        tensors=(r'(mpnet\.)?encoder\.relative_attention_bias\.weight',),
    ),
    'albert': Row(
        models=('albert',),
        model_types=('albert',),
        tensors=(r'(albert\.)?encoder\.embedding_hidden_mapping_in\.weight',),
    ),
    'deberta': Row(
        models=('deberta',),
        model_types=('deberta-v2',),
        tensors=(r'(deberta\.)?encoder\.layer\.0\.attention\.self\.query_proj\.weight',),
    ),
    'modernbert': Row(
        models=('modernbert',),
        model_types=('modernbert',),
        tensors=(r'(model\.)?layers\.0\.attn\.Wqkv\.weight',),
    ),
    'electra': Row(
        models=('electra',),
        model_types=('electra',),
        tensors=(r'electra\.encoder\.layer\.0\.attention\.self\.query\.weight',),
    ),
    'distilbert': Row(
        models=('distilbert',),
        model_types=('distilbert',),
        tensors=(r'(distilbert\.)?transformer\.layer\.0\.attention\.q_lin\.weight',),
    ),
}
