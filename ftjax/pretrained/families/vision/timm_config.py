"""What the families read off a timm config.json, and off names where there is no config."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ftjax.errors import UserError, check_name
from ftjax.io.json.json_values import JsonObject
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import BOOKKEEPING, Fields

HALF = (0.5, 0.5, 0.5)
CROP_MODES = {'center': 'crop', 'squash': 'squash'}
"""timm's way to a crop -> ours; its 'border' pads the image."""
TIMM_FIELDS = Fields(
    reads=('architecture', 'model_args', 'global_pool', 'num_classes', 'pretrained_cfg'),
    inert={
        'num_features': 'follows from the architecture',
        'label_names': BOOKKEEPING,
        'label_descriptions': BOOKKEEPING,
        'do_pooling': 'of the class that wraps timm in transformers',
    },
)


def options_from_timm(
    config: JsonObject,
    base: Mapping[str, object],
    arguments: Mapping[str, str],
    *,
    pooled: str | None = None,
) -> dict[str, object]:
    """A network's fields: those of the architecture, changed by the config's own.

    Args:
      config: timm's config.json.
      base: the fields of the architecture it names.
      arguments: entries of its `model_args` that the network can follow -> fields.
      pooled: its `global_pool`; None for 'token' where there are heads of attention, else 'avg'.

    Raises:
      UserError: `model_args` asks for something that the network cannot follow.
    """
    options = dict(base)
    for name, value in (config.get('model_args') or {}).items():
        check_name(name, arguments, 'entry of model_args in a timm config.json:')
        options[arguments[name]] = tuple(value) if isinstance(value, list) else value
    pooling = config.get('global_pool')
    own = pooled or ('token' if 'heads' in base else 'avg')
    if pooling not in (None, own):
        raise UserError(
            f'timm config.json: global_pool {pooling!r} is not supported for '
            f'{config["architecture"]}; only {own!r} is'
        )
    options['num_classes'] = config.get('num_classes', 1000)
    channels = config.get('pretrained_cfg', {}).get('input_size', (3,))[0]
    return {**options, 'channels': channels}


def pixels(
    config: JsonObject,
    image_size: tuple[int, int],
    mean: tuple[float, ...] = HALF,
    std: tuple[float, ...] = HALF,
) -> Preprocessing:
    """The preprocessing of timm's `pretrained_cfg`, or that given where there is none.

    Raises:
      UserError: a `crop_mode` that is not known here.
    """
    cfg = config.get('pretrained_cfg', {})
    mode = check_name(cfg.get('crop_mode') or 'center', CROP_MODES, 'crop_mode of timm:')
    return Preprocessing(
        image_size=tuple(cfg.get('input_size', (3, *image_size))[1:]),
        mean=tuple(cfg.get('mean', mean)),
        std=tuple(cfg.get('std', std)),
        channels=len(cfg.get('mean', mean)),
        interpolation=cfg.get('interpolation', 'bicubic'),
        resize=CROP_MODES[mode],
        crop_fraction=cfg.get('crop_pct', 1.0),
    )


def depth_of(names: Iterable[str], prefix: str) -> int:
    """How many numbered modules start with `prefix`: blocks.0 .. blocks.11 are 12."""
    pattern = re.compile(re.escape(prefix) + r'(\d+)\D.*')
    numbers = [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
    return 1 + max(numbers, default=-1)
