"""Flags as they are given: parsed, and what is said when one, or the config file, is wrong."""

from __future__ import annotations

import difflib
import pathlib
import re
import runpy
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import config_dict

from ftjax.cli.flags import ARGV
from ftjax.errors import UserError, did_you_mean, shown

REASONS = {
    'invalid literal for int()': 'a whole number',
    'Exceeds the limit': 'a whole number',  # of more digits than Python reads
    'could not convert string to float': 'a number',
    'Non-boolean argument to boolean flag': 'true or false',
}
"""What a flag's parser says, and what it means."""


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
    ARGV[:] = argv
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
        if _takes_value(name) and not equals:
            next(words, None)  # its value


def words_apart(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """(arguments that are no flags, the program's name and the flags with their values).

    For a script of commands: `publish DIR --name=digits`, and `--name digits publish DIR` too.
    """
    words: list[str] = []
    others, left = list(argv[:1]), iter(argv[1:])
    for word in left:
        if word == '--':
            words += left
        elif not word.startswith('-'):
            words.append(word)
        else:
            others.append(word)
            name, equals, _ = word.lstrip('-').partition('=')
            if _takes_value(name) and not equals:
                others += [value for value in [next(left, None)] if value is not None]
    return words, others


def _takes_value(name: str) -> bool:
    return not flags.FLAGS[name].boolean if name in flags.FLAGS else '.' in name


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
        if match and not _reached(config, match[1]):
            raise UserError(
                f'config.{match[1]} cannot be changed on the command line, since one of its keys '
                f'holds a dot; change it in {file}'
            ) from error
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


def _reached(config: Any, path: str) -> bool:
    """Whether a dotted path is one of a key for each part, as flags read it."""
    for part in path.split('.'):
        if not isinstance(config, Mapping | config_dict.ConfigDict) or part not in config:
            return False
        config = config[part]
    return True


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
