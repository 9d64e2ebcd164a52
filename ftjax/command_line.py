"""Flags of the scripts, and what is said when one of them, or the config file, is wrong."""

from __future__ import annotations

import pathlib
import re
import runpy
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import config_dict
from ml_collections.config_flags import config_flags

from ftjax.errors import UserError, did_you_mean

# The flags belong to the script that defines them: `--help` lists them as its own.
flags.disclaim_key_flags()


def define_config(default: str | None = None) -> flags.FlagHolder[Any]:
    """The flag `--config=FILE.py[:ARGUMENT]` and, per key, `--config.key=value`.

    `.value` is the locked ConfigDict that the file's `get_config` returns. Required unless
    there is a default. A key that is None in the file cannot be set from the command line:
    write `ml_collections.config_dict.placeholder(int)` there instead.
    """
    holder = config_flags.DEFINE_config_file('config', default, 'Configuration file.')
    if default is None:
        flags.mark_flag_as_required('config')
    return holder


def define_workdir(default: str | None = None) -> flags.FlagHolder[Any]:
    """The flag `--workdir=FOLDER`: where results go; required unless there is a default."""
    holder = flags.DEFINE_string('workdir', default, 'Folder that results are written to.')
    if default is None:
        flags.mark_flag_as_required('workdir')
    return holder


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the flags and loads the config file; the arguments that are no flags are left.

    Raises:
      UserError: no such config file, an error in it (the line is named), an unknown flag or
        config key (the nearest is named), or a value of the wrong type.
    """
    given = _flag_value(argv, 'config')
    if given is not None:
        _check_source(given.split(':', 1)[0])
    try:
        return flags.FLAGS(list(argv))
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if given is not None:
            _check_config(given, argv, error)
        if isinstance(error, flags.Error):
            raise UserError(_plain(str(error))) from error
        raise


def _check_source(file: str) -> None:
    path = pathlib.Path(file)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else pathlib.Path('configs')
        near = did_you_mean(str(path), [str(p) for p in sorted(folder.glob('*.py'))])
        raise UserError(f'no such config file: {file}; {near}')
    try:
        source = compile(path.read_bytes(), file, 'exec')
    except (SyntaxError, ValueError) as error:
        line = getattr(error, 'lineno', None)
        where = f' line {line}' if line else ''
        text = getattr(error, 'msg', error)
        raise UserError(f'config file {file}{where} is not Python: {text}') from None
    if 'get_config' not in source.co_names:
        raise UserError(f'config file {file} defines no get_config()')


def _check_config(given: str, argv: Sequence[str], error: BaseException) -> None:
    """Raises UserError if `error` came from the config file or from an unknown key."""
    file, *argument = given.split(':', 1)
    cause: BaseException | None = error
    while cause is not None:
        for frame in reversed(traceback.extract_tb(cause.__traceback__)):
            if frame.filename == file:
                what = str(cause) if isinstance(cause, UserError) else _named(cause)
                raise UserError(f'config file {file} line {frame.lineno}: {what}') from error
        cause = cause.__cause__ or cause.__context__
    try:
        config = runpy.run_path(file)['get_config'](*argument)
    except Exception as failure:
        raise UserError(f'config file {given}: {_named(failure)}') from error
    known = dict(_leaves(config))
    for word in argv:
        match = re.match(r'--?(?:no)?config\.([\w.]+)', word)
        if match and match[1] not in known:
            key = match[1]
            raise UserError(f'unknown config key {key!r}; {did_you_mean(key, known)}') from error
        if match and known[match[1]] is None:
            raise UserError(
                f'config.{match[1]} is None in {file}, which says nothing of its type: write '
                'config_dict.placeholder(int) there, or str, float, ..'
            ) from error


def _leaves(config: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Dotted keys of a ConfigDict, inner ones included, with their values.

    A placeholder comes with its type: it is None but can be set.
    """
    for key in config:
        value = config[key]
        if value is None and hasattr(config, 'get_type'):
            kind = config.get_type(key)
            value = None if kind is type(None) else kind
        yield f'{prefix}{key}', value
        if isinstance(value, Mapping | config_dict.ConfigDict):
            yield from _leaves(value, f'{prefix}{key}.')


def _flag_value(argv: Sequence[str], name: str) -> str | None:
    found = None
    for word, following in zip(argv, [*argv[1:], None], strict=True):
        match = re.fullmatch(rf'--?{name}(?:=(.*))?', word, re.DOTALL)
        if match:
            found = match[1] if match[1] is not None else following
    return found


def _plain(message: str) -> str:
    """A flag's error in fewer words than absl's."""
    missing = re.match(r'flag --(\w+)=None: Flag --\w+ must have a value', message)
    if missing:
        return f'the flag --{missing[1]} is missing'
    unknown = re.match(r"Unknown command line flag '([^']+)'\.?", message)
    if unknown:
        names = [name for name in flags.FLAGS if len(name) > 1]
        return f'unknown flag --{unknown[1]}; {did_you_mean(unknown[1], names)}'
    return message


def _named(error: BaseException) -> str:
    return f'{type(error).__name__}: {error}'
