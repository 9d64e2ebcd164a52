"""The whole audit of the data of a config, with the features of its pretrained network."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from ftjax.config import Config
from ftjax.data import Splits, load_data
from ftjax.data.audit.audit_page import audit_page
from ftjax.data.audit.examples import Examples
from ftjax.data.audit.full import Opened, Seen, broken_finding, full_audit, open_files
from ftjax.data.audit.quick import Audit
from ftjax.data.audit.records import Record, csv_text, records, to_json
from ftjax.data.matching import matching_preprocessing
from ftjax.data.text.readers import reader_of
from ftjax.errors import UserError
from ftjax.io.files.atomic import write_json, write_text
from ftjax.io.process.progress import Progress
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.runs.before_training.frozen_features import feature_stage, frozen_features
from ftjax.runs.network_opening import open_network


@dataclasses.dataclass(frozen=True, eq=False)
class DataAudit:
    """What the audit of a config's data found."""

    audit: Audit
    opened: Opened
    records: tuple[Record, ...]
    source: str
    """Where features came from, or why there are none."""

    def lines(self) -> list[str]:
        """Findings for a terminal: a line each, the gravest first."""
        broken = broken_finding(self.opened.broken)
        every = [*([broken] if broken else []), *self.audit.findings]
        return [f'{one.severity + ":":<9}{one.message}' for one in every]

    def write(self, folder: pathlib.Path) -> None:
        """audit.html, audit.json and audit.csv; the largest first, for a disk that is nearly full.

        Raises:
          UserError: the folder cannot be written to, or the disk is full.
        """
        told = {'features': self.source, 'broken_files': len(self.opened.broken)}
        write_text(folder / 'audit.html', audit_page(self.audit, self.opened, self.source))
        write_json(folder / 'audit.json', to_json(self.audit, self.records, told))
        write_text(folder / 'audit.csv', csv_text(self.records))


def audit_into(folder: pathlib.Path, config: Config) -> str:
    """Audits the data of a config into a folder; what was found, for a terminal."""
    found = audit_data(config)
    found.write(folder)
    return '\n'.join(
        [f'audit, with features of {found.source}: {folder / "audit.html"}', *found.lines()]
    )


def audit_data(config: Config, features: bool = True, progress: bool = True) -> DataAudit:
    """Audits all the data of a config: whole images, and no few-shot subset.

    Args:
      config: its data, and the network whose features are compared.
      features: whether a pretrained network is run over the examples.
      progress: whether it is shown.

    Raises:
      UserError: the data cannot be used, or the network does not take them.
    """
    # Whole images: the ids of windows are no ids of the source, so no index could name them.
    settings = dataclasses.replace(
        config.data, verify='none', examples_per_class=None, sliding=None
    )
    opened = open_files(load_data(settings))
    if not len(opened.splits.train):
        raise UserError(f'{config.data.source}: no training example can be read')
    seen = seen_by_network(config, opened.splits, features, progress)
    audit = full_audit(opened, seen)
    return DataAudit(audit, opened, tuple(records(audit, opened.broken)), seen.source)


def seen_by_network(config: Config, splits: Splits, features: bool, progress: bool) -> Seen:
    """What the network of a config makes of the examples."""
    if not features:
        return Seen(source='none: not asked for')
    if not config.init or config.init.startswith('random:'):
        return Seen(source='none: config.init names no pretrained network')
    opened = open_network(config, splits)
    preprocessing = matching_preprocessing(
        splits.train, opened.network, opened.preprocessing, config.data
    )
    parts = [part for _, part, _ in Examples(splits).blocks()]
    total = sum(map(len, parts))
    with Progress(total, 'features', unit='examples', enabled=progress) as bar:
        found = frozen_features(
            opened.network,
            opened.variables,
            parts,
            preprocessing,
            config.data.image_size,
            bar.update,
        )
    source = f'{config.init}, before {feature_stage(opened.network)}, {found.shape[1]} numbers'
    if isinstance(preprocessing, TextPreprocessing):
        readers = [reader_of(part, preprocessing) for part in parts]
        lost = np.concatenate([reader.cut for reader in readers])
        return Seen(found, 0, lost, readers[0].preprocessing.max_length, source)
    side = min(preprocessing.image_size) if isinstance(preprocessing, Preprocessing) else 0
    return Seen(found, side, source=source)
