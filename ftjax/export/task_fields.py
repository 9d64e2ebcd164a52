"""What config.json must say of a run beyond its network: the task, and the token that fills up."""

from __future__ import annotations

import logging

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.decoders.text_decoder import Decoder
from ftjax.models.stages import Network
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.tasks import task_of

_log = logging.getLogger(__name__)


def task_fields(network: Network, preprocessing: object, config: JsonObject) -> dict[str, object]:
    """The fields, {} for a network without classes or values.

    Args:
      network: without adapters.
      preprocessing: of the run.
      config: the run's config.json.
    """
    if not network.num_classes:
        return {}
    found: dict[str, object] = {}
    try:
        if name := (config.get('data') or {}).get('task'):
            found['problem_type'] = task_of(name).problem_type or None
    except UserError:  # of the user's own, whose file is not here
        pass
    if isinstance(network, Decoder) and isinstance(preprocessing, TextPreprocessing):
        given = network.pad_id
        if given is None or given < 0:
            found |= padding(preprocessing)
    return found


def padding(preprocessing: TextPreprocessing) -> dict[str, object]:
    """`pad_token_id` of a classifier that looks for the last token that is another.

    None is written where that would be the wrong one, since every text ends in this very token.
    """
    ids = preprocessing.open().encode('a').ids
    if ids and ids[-1] == preprocessing.pad_id:
        _log.warning(
            'pad_token_id is left out of config.json: token %d both ends and fills up texts, and '
            'transformers could not tell which is the last; it takes texts one by one',
            preprocessing.pad_id,
        )
        return {}
    return {'pad_token_id': preprocessing.pad_id}
