"""Flags of the scripts, and what is said when one of them, or the config file, is wrong."""

from __future__ import annotations

import difflib
import functools
import os
import pathlib
import re
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import config_dict
from ml_collections.config_flags import config_flags

from ftjax.errors import UserError, did_you_mean, shown
from ftjax.io.identity.identity_changes import INPUTS, flag

_ARGV = list(sys.argv)
"""Where ml_collections looks for overrides; without those that it cannot make."""

REASONS = {
    'invalid literal for int()': 'a whole number',
    'Exceeds the limit': 'a whole number',  # of more digits than Python reads
    'could not convert string to float': 'a number',
    'Non-boolean argument to boolean flag': 'true or false',
}
"""What a flag's parser says, and what it means."""

# The flags belong to the script that defines them: `--help` lists them as its own.
flags.disclaim_key_flags()


def define_config(default: str | None = None) -> flags.FlagHolder[Any]:
    """The flag `--config=FILE.py[:ARGUMENT]` and, per key, `--config.key=value`.

    `.value` is the locked ConfigDict that the file's `get_config` returns. Required unless
    there is a default. A key that is None in the file cannot be set from the command line:
    write `ml_collections.config_dict.placeholder(int)` there instead.
    """
    holder = config_flags.DEFINE_config_file(
        'config', default, 'Configuration file.', sys_argv=_ARGV
    )
    if default is None:
        flags.mark_flag_as_required('config')
    return holder


def define_workdir(
    default: str | None = None, said: str = 'Folder that results are written to.'
) -> flags.FlagHolder[Any]:
    """The flag `--workdir=FOLDER`: where results go; required unless there is a default."""
    holder = flags.DEFINE_string('workdir', default, said)
    if default is None:
        flags.mark_flag_as_required('workdir')
    return holder


def define_audit() -> flags.FlagHolder[str]:
    """The flag `--audit=full`: all checks of scripts/audit.py before anything is trained."""
    said = 'Checks of the data first: quick (less than a second), or full, into WORKDIR/audit.'
    return flags.DEFINE_enum('audit', 'quick', ['quick', 'full'], said)


def define_own_parts() -> flags.FlagHolder[Any]:
    """The flag `--config=FILE.py`, of scripts that open a run: where its own parts are now."""
    said = 'Config file with the parts of your own, where it is not what the run was made with.'
    return flags.DEFINE_multi_string('config', [], said)


def define_data(said: str) -> Callable[[], dict[str, list[Any]]]:
    """The flags `--data.KEY=VALUE`, of scripts that read other data than a run's own.

    What is returned gives the values of each key, as many as there were, of the type of the
    field of `config.data`.
    """
    holder = flags.DEFINE_multi_string('data', [], f'{said} Written --data.KEY=VALUE.')

    def given() -> dict[str, list[Any]]:
        from ftjax.cli.overrides import data_values  # it brings all settings along

        return data_values(holder.value)

    return given


def define_allowed_changes() -> Callable[[], tuple[str, ...]]:
    """The flags --allow_data_change and its like; what is returned gives the kinds allowed.

    They may be written with hyphens too.
    """
    said = {
        'data': 'Go on although the data are not those that the folder was made with.',
        'weights': 'Go on although the pretrained weights are not those of before.',
        'code': 'Go on although code of your own (network, strategies, ..) has changed.',
    }
    holders = {}
    for kind in INPUTS:
        name = flag(kind).removeprefix('--')
        holders[kind] = flags.DEFINE_bool(name, False, f'{said[kind]} Both are recorded.')
        flags.DEFINE_alias(name.replace('_', '-'), name)
    return lambda: tuple(kind for kind, holder in holders.items() if holder.value)


def define_engine() -> Callable[[], Any]:
    """The flags --engine, --workers and --ray_address; what is returned makes the engine."""
    names = ['in_process', 'processes', 'ray']
    engine = flags.DEFINE_enum('engine', 'in_process', names, 'Where the runs run.')
    workers = flags.DEFINE_integer(
        'workers', None, 'Runs at a time: half the processors, or the cluster, unless given.'
    )
    address = flags.DEFINE_string(
        'ray_address', '', 'Of a running Ray cluster; empty to start one on this machine.'
    )

    def made() -> Any:
        from ftjax.ablation.engines.factory import make_engine
        from ftjax.ablation.engines.worker_start import start_worker

        if engine.value != 'in_process':
            # What is measured here must leave an accelerator's memory to the workers.
            os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
        file: Any = flags.FLAGS['config']
        start = functools.partial(start_worker, file.config_filename, os.getcwd())
        return make_engine(engine.value, workers.value, start, address.value)

    return made


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the flags and loads the config file; the arguments that are no flags are left.

    Raises:
      UserError: no such config file, an error in it (the line is named), an unknown flag or
        config key (the nearest is named), or a value of the wrong type.
    """
    given, changes = _flag_value(argv, 'config'), []
    _check_stray(argv)
    if given is not None:
        _check_source(given.split(':', 1)[0])
    if 'data' in flags.FLAGS:
        argv = [re.sub(r'^--?data\.(?=\w+=)', '--data=', word) for word in argv]
    if any(word.startswith(('--config.', '-config.')) for word in argv):
        from ftjax.cli import overrides  # it brings all settings along

        argv, changes = overrides.taken(argv)
    _ARGV[:] = argv
    try:
        rest = flags.FLAGS(list(argv))
        if changes:
            from ftjax.cli import overrides

            overrides.make(flags.FLAGS['config'].value, changes)
        return rest
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if given is not None:
            _check_config(given, argv, error)
        if isinstance(error, flags.IllegalFlagValueError):
            _check_value(argv, error)
        if isinstance(error, flags.Error):
            raise UserError(_plain(str(error))) from error
        raise


def _check_source(file: str) -> None:
    path = pathlib.Path(file)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else pathlib.Path('configs')
        raise UserError(f'no such config file: {file}; {_near_config(path, folder)}')
    try:
        source = compile(path.read_bytes(), file, 'exec')
    except (SyntaxError, ValueError) as error:
        line = getattr(error, 'lineno', None)
        where = f' line {line}' if line else ''
        text = getattr(error, 'msg', error)
        raise UserError(f'config file {file}{where} is not Python: {text}') from None
    if 'get_config' not in source.co_names:
        raise UserError(f'config file {file} defines no get_config()')


def _near_config(path: pathlib.Path, folder: pathlib.Path) -> str:
    # By name alone: a folder and an ending in common make no two files alike.
    there = {p.stem: str(p) for p in sorted(folder.glob('*.py')) if not p.stem.startswith('_')}
    near = difflib.get_close_matches(path.stem, there, n=1, cutoff=0.6)
    if near:
        return f'did you mean {there[near[0]]!r}?'
    return 'there are ' + (', '.join(there.values()) or f'none in {folder}')


def _check_stray(argv: Sequence[str]) -> None:
    """UserError for an argument that is no flag: what comes after it would not be read."""
    words = iter(argv[1:])
    for word in words:
        if word == '--':
            return
        name, equals, _ = word.lstrip('-').partition('=')
        if not word.startswith('-'):
            hint = 'flags are written --name=value'
            if '.py' in word and 'config' in flags.FLAGS:
                hint = f'did you mean --config={word}?'
            raise UserError(f'unexpected argument {shown(word)}; {hint}')
        takes = not flags.FLAGS[name].boolean if name in flags.FLAGS else '.' in name
        if takes and not equals:
            next(words, None)  # its value


def _check_value(argv: Sequence[str], error: BaseException) -> None:
    """Raises UserError in a user's words for a value that a flag cannot be."""
    found = re.match(r'flag --([\w.-]+)=', str(error))
    value = _flag_value(argv, re.escape(found[1])) if found else None
    if found is None or value is None:
        return
    name, why = found[1], str(error).removeprefix(f'{found[0]}{value}: ')
    expected = next((words for start, words in REASONS.items() if start in why), None)
    if expected is None:
        raise UserError(f'--{name}={shown(value)}: {why}') from error
    if name.startswith('config.'):
        from ftjax.cli.overrides import expected_at

        expected = expected_at(name.removeprefix('config.')) or expected
    raise UserError(f'--{name} is {shown(value)}; expected {expected}') from error


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


def _leaves(config: Any, prefix: str = '') -> Iterator[tuple[str, object]]:
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
