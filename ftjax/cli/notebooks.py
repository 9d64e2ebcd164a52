"""Notebooks that are executed top to bottom and written back with their outputs."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pathlib
import re
import signal
import tempfile
from collections.abc import Iterator
from typing import Any

from ftjax.errors import UserError
from ftjax.io.files.atomic import write_bytes

Notebook = dict[str, Any]
"""A notebook of format 4 as its JSON says it."""

TIMEOUT = 600
"""Seconds that a cell may take."""
LIMIT = 200_000
"""Bytes of a notebook with its outputs: readers load it from a web page."""
OF_A_MACHINE = re.compile(r'(?:/(?:home|root|tmp|Users|var|work|mnt)/|[A-Z]:\\\\)[\w.-]+')
"""A path that other machines do not have."""
COLOUR = re.compile(r'\x1b\[[0-9;]*m')
"""What tracebacks of notebooks colour their words with."""


def read_notebook(path: str | os.PathLike[str]) -> Notebook:
    """A notebook's JSON.

    Raises:
      UserError: no such file, or one that is no notebook of format 4.
    """
    try:
        found = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise UserError(f'{path}: no such file') from None
    except ValueError as error:
        raise UserError(f'{path} is no notebook: {error}') from None
    if not isinstance(found, dict) or found.get('nbformat') != 4 or 'cells' not in found:
        raise UserError(f'{path} is no notebook of format 4')
    return found


def execute(notebook: Notebook, name: str) -> Notebook:
    """The notebook with new outputs, of a process of its own in a temporary folder.

    Neither outlives the call: processes that cells have started are ended too.

    Args:
      notebook: from `read_notebook`; it is left as it is.
      name: for messages.

    Raises:
      UserError: a cell fails, or the extra `tutorials` is not installed.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
    except ImportError as error:
        raise UserError(
            f"notebooks need the package {error.name}: pip install 'ftjax[tutorials]'"
        ) from None
    # Which joins the lines that a file holds.
    node: Any = nbformat.reads(json.dumps(notebook), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client: Any = NotebookClient(
            node,
            timeout=TIMEOUT,
            kernel_name='python3',
            resources={'metadata': {'path': folder}},
            record_timing=False,
            # The kernel says on every start that it listens on this machine's own ports.
            extra_arguments=['--log-level=ERROR'],
        )
        groups: list[int] = []
        client.on_notebook_start = lambda **_: groups.append(client.km.provisioner.pgid)
        try:
            client.execute(env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'TMPDIR': folder})
        except CellExecutionError as error:
            raise UserError(f'{name}: {COLOUR.sub("", str(error)).strip()}') from None
        finally:
            for group in groups:
                with contextlib.suppress(ProcessLookupError):  # nothing was left
                    os.killpg(group, signal.SIGKILL)
    return json.loads(nbformat.writes(node))


def cleaned(notebook: Notebook) -> Notebook:
    """The notebook without what differs from one execution to the next on the same machine.

    >>> cell = {'cell_type': 'code', 'metadata': {'a': 1}, 'outputs': [], 'source': 'x'}
    >>> cleaned({'nbformat': 4, 'cells': [cell]})['cells'][0]['metadata']
    {}
    """
    language = {'name': 'python'}
    kernel = {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'}
    cells: list[dict[str, Any]] = [{**cell, 'metadata': {}} for cell in notebook['cells']]
    for cell in cells:
        if cell['cell_type'] == 'code':
            cell['outputs'] = list(_joined(cell['outputs']))
    metadata = {'kernelspec': kernel, 'language_info': language}
    return {**notebook, 'cells': cells, 'metadata': metadata}


def _joined(outputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Outputs where a stream that came in several pieces is one."""
    last: dict[str, Any] | None = None
    for output in outputs:
        stream = output['name'] if output['output_type'] == 'stream' else None
        if last is not None and stream is not None and stream == last.get('name'):
            last['text'] = _text(last['text']) + _text(output['text'])
            continue
        if last is not None:
            yield last
        last = dict(output)
    if last is not None:
        yield last


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ''.join(value)


def faults(notebook: Notebook) -> Iterator[str]:
    """What must not be in a notebook that is committed: sentences, none for a good one."""
    for number, cell in enumerate(notebook['cells']):
        if cell['cell_type'] != 'code':
            continue
        if cell['execution_count'] is None:
            yield f'cell {number} was not executed'
        for output in cell['outputs']:
            if output['output_type'] == 'error':
                yield f'cell {number} failed: {output["ename"]}: {output["evalue"]}'
            if output.get('name') == 'stderr':
                yield f'cell {number} writes to stderr: {_text(output["text"]).strip()[:200]}'
            told = {key: value for key, value in output.items() if key != 'data'}
            shown = {
                kind: value
                for kind, value in output.get('data', {}).items()
                if kind.startswith('text/')
            }
            path = OF_A_MACHINE.search(json.dumps([told, shown], ensure_ascii=False))
            if path is not None:
                yield f'cell {number} shows a path of one machine: {path.group()}'
    size = len(as_file(notebook))
    if size > LIMIT:
        yield f'{size:,} bytes; at most {LIMIT:,}'


def as_file(notebook: Notebook) -> bytes:
    """The bytes of a notebook's file: a line a line, so that changes can be read."""
    lines = copy.deepcopy(notebook)
    for cell in lines['cells']:
        cell['source'] = _text(cell['source']).splitlines(keepends=True)
        for output in cell.get('outputs', ()):
            if 'text' in output:
                output['text'] = _text(output['text']).splitlines(keepends=True)
    return (json.dumps(lines, indent=1, ensure_ascii=False, sort_keys=True) + '\n').encode()


def write_notebook(path: str | os.PathLike[str], notebook: Notebook) -> None:
    """Writes a notebook, whole or not at all.

    Raises:
      UserError: it has faults; the file stays as it was.
    """
    found = list(faults(notebook))
    if found:
        raise UserError(f'{path} is not written: {"; ".join(found)}')
    write_bytes(path, as_file(notebook))
