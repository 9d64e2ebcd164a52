"""What versions are called: NAME@3, NAME@latest, NAME@staging, NAME@production."""

from __future__ import annotations

import dataclasses
import re

from ftjax.errors import UserError, did_you_mean, shown

STAGES = ('staging', 'production')
LATEST = 'latest'
MOST = 10**9
_NAME = re.compile(r'[a-z0-9][a-z0-9_-]{0,63}')
_NUMBER = re.compile(r'[1-9][0-9]{0,8}')


@dataclasses.dataclass(frozen=True)
class Reference:
    """A version as a person writes it."""

    name: str
    which: int | str
    """A number, LATEST, or one of STAGES."""

    def __str__(self) -> str:
        return f'{self.name}@{self.which}'


def check_model_name(name: object) -> str:
    """The name of a model, if it is one.

    It becomes the name of a folder, on file systems that tell letters of two cases apart and on
    those that do not: hence small letters alone, and neither a dot nor a slash.

    Raises:
      UserError: anything else.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise UserError(
        f'{shown(name, 200)} is no name of a model; expected 1 to 64 of a-z, 0-9, - and _, '
        'beginning with a letter or digit'
    )


def check_stage(stage: object) -> str:
    """`staging` or `production`; UserError for anything else."""
    if isinstance(stage, str) and stage in STAGES:
        return stage
    raise UserError(f'unknown stage {shown(stage, 200)}; {did_you_mean(stage, STAGES)}')


def parse_reference(text: object) -> Reference:
    """What `NAME@WHICH` means.

    Raises:
      UserError: no such form.

    >>> parse_reference('digits@production')
    Reference(name='digits', which='production')
    >>> parse_reference('digits@3').which
    3
    """
    name, sign, which = text.partition('@') if isinstance(text, str) else ('', '', '')
    if not sign:
        raise UserError(
            f'{shown(text, 200)} names no version; expected NAME@3, NAME@{LATEST}, '
            + ' or '.join(f'NAME@{stage}' for stage in STAGES)
        )
    check_model_name(name)
    if _NUMBER.fullmatch(which):
        return Reference(name, int(which))
    if which in (LATEST, *STAGES):
        return Reference(name, which)
    raise UserError(
        f'{shown(text, 200)}: {shown(which)} is no version; expected a number from 1, or one of '
        f'{", ".join((LATEST, *STAGES))}; {did_you_mean(which, (LATEST, *STAGES))}'
    )
