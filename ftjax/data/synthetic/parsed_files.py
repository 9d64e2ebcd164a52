"""Python files as syntax trees: parsed, never run."""

from __future__ import annotations

import ast
import gc
import warnings
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path

_HOLD_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def python_files(
    folder: Path, skipped: Collection[str], modules: Collection[str] | None = None
) -> Iterator[tuple[str, Path]]:
    """(module at the top, path) of the Python files of a library, in the order of their paths.

    Args:
      folder: of the library.
      skipped: names of folders that are left out with all that lies in them.
      modules: names at the top to keep to; None for all.
    """
    for top in sorted(folder.iterdir()):
        module = top.name.removesuffix('.py')
        if top.name in skipped or not (modules is None or module in modules):
            continue
        for path in sorted(top.rglob('*.py')) if top.is_dir() else (top,):
            if path.suffix == '.py' and not {*skipped}.intersection(path.relative_to(folder).parts):
                yield module, path


def syntax_tree(text: str | bytes) -> ast.Module | None:
    """The tree of a file's text; None if this Python cannot parse it."""
    collects = gc.isenabled()
    # A tree has no cycles, and its many objects make the collector run: half of the time.
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of escapes that a later Python will refuse
            return ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    finally:
        if collects:
            gc.enable()


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements, in the order of `ast.walk`, which looks at expressions too.

    >>> tree = ast.parse('if x: y = 1; z = 2')
    >>> [type(node).__name__ for node in statements(tree)]
    ['If', 'Assign', 'Assign']
    """
    waiting = deque([tree])
    while waiting:
        node = waiting.popleft()
        if isinstance(node, ast.stmt):
            yield node
        waiting += [x for x in ast.iter_child_nodes(node) if isinstance(x, _HOLD_STATEMENTS)]
