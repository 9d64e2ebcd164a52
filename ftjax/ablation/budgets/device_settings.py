"""What a config says of the devices of a cluster, checked."""

from __future__ import annotations

from collections.abc import Mapping

from ftjax.errors import UserError, shown


def check_devices(memory: str, devices: Mapping[str, object]) -> None:
    """UserError for a size that is none, or devices of a run that are no share and no number.

    Args:
      memory: of each device, a size; '' for none given.
      devices: arm to the devices of each of its runs, None where nobody says.

    >>> check_devices('16GiB', {'head': 0.25, 'full': 2.0, 'last:1': None})
    """
    if memory:
        from ftjax.training.cost.memory_limit import read_size  # few configs name one

        read_size(memory, 'config.ablation.device_memory')
    for arm, count in devices.items():
        if count is None:
            continue
        number = isinstance(count, (int, float)) and not isinstance(count, bool)
        if not number or not 0 < count < 2**31 or (count > 1 and count != int(count)):
            raise UserError(
                f'config.ablation.devices_per_run of arm {shown(arm)} is {shown(count)}; expected '
                'a share of a device (0.25) or a whole number of devices (2)'
            )
