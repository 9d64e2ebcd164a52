"""Where each shipped task is registered: a run has one, and imports no other."""

from __future__ import annotations

NAMES = (
    *('causal_lm', 'classification', 'embedding', 'masked_features', 'masked_tokens'),
    *('multilabel', 'multiple_choice', 'regression', 'segmentation', 'text_ranking'),
    *('text_similarity', 'token_classification'),
)
PLACES = {name: f'ftjax.tasks.{name}' for name in NAMES}
"""By name, the module that registers the task when it is imported."""
