"""Which config made which result, from the commands that results/README.md puts beside them."""

from __future__ import annotations

import dataclasses
import pathlib
import re

FOLDER = re.compile(r'\]\(([\w./-]+?)/(?:table|README)\.md\)')
CONFIG = re.compile(r'--config=(configs/[\w./-]+\.py)')
REPRODUCED = re.compile(r'`(T\d\w*)`|reproduce\.sh (T\d\w*)')


@dataclasses.dataclass(frozen=True)
class Links:
    """Where configs and commits of results are found."""

    configs: dict[str, str]
    """As `configs_named` gives them."""
    commits: str = ''
    """Address of a commit up to its hash, https://HOST/OWNER/NAME/commit/; '' for none."""

    def config(self, file: str) -> str:
        """See `config_of`."""
        return config_of(file, self.configs)

    def commit(self, commit: str) -> str:
        """The address of a commit; '' where none is known.

        >>> Links({}, 'https://example.org/commit/').commit('b8a55a222099')
        'https://example.org/commit/b8a55a222099'
        """
        return self.commits + commit if self.commits else ''


def configs_named(results: pathlib.Path) -> dict[str, str]:
    """{folder below results: config, relative to the checkout}; none that is not there.

    Args:
      results: a folder with a README.md, in a checkout.
    """
    readme, root = results / 'README.md', results.parent
    found: dict[str, str] = {}
    for line in readme.read_text('utf-8').splitlines() if readme.is_file() else ():
        named = CONFIG.findall(line)
        for folder in FOLDER.findall(line):
            own = f'configs/reproductions/{folder.rpartition("/")[2]}.py'
            script = f'configs/{folder.rpartition("/")[2]}.py'
            for config in (*named[-1:], own, script):
                if (root / config).is_file():
                    found.setdefault(folder, config)
    return found


def config_of(file: str, configs: dict[str, str]) -> str:
    """The config of the rows in a file, both relative to results; '' where nobody says it."""
    folder = file.rpartition('/')[0]
    if '/submissions/' in f'/{folder}/':
        return f'{folder}/config.py'
    while folder and folder not in configs:
        folder = folder.rpartition('/')[0]
    return f'../{configs[folder]}' if folder else ''
