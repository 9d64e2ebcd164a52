"""What an adaptation moved after training, in a sentence for people."""

from __future__ import annotations

from ftjax.io.json.json_values import JsonObject

_NAMED = 3


def adaptation_in_words(result: JsonObject) -> str:
    """What was moved after training, as result.json tells it; '' of a run without adaptation.

    >>> adaptation_in_words({'adapted': {'method': 'tent', 'moved': ['params/norm/scale']}})
    'after training, tent moved 1 leaf: params/norm/scale'
    """
    adapted = result.get('adapted')
    if not adapted:
        return ''
    method, moved = adapted.get('method'), adapted.get('moved')
    if moved is None:  # written before it was recorded
        return f'after training, {method} moved leaves that were not recorded'
    if not moved:
        return f'after training, {method} moved nothing'
    more = f' and {len(moved) - _NAMED} more' if len(moved) > _NAMED else ''
    count = f'{len(moved)} lea{"f" if len(moved) == 1 else "ves"}'
    return f'after training, {method} moved {count}: {", ".join(map(str, moved[:_NAMED]))}{more}'
