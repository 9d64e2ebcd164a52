"""Arms without a learning rate to search for: what an arm of a config names as its `baseline`."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import ClassVar

from ftjax.ablation.cells.extra_test_sets import further_tests
from ftjax.ablation.cells.head2toe_row import head2toe_row
from ftjax.ablation.cells.linear_probe_row import probe_row
from ftjax.ablation.cells.pixel_baseline import PixelRegression, pixels_of
from ftjax.ablation.cells.row import finished_fields, numbers_of
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.row_types import OwnRow, Rows
from ftjax.data import Splits
from ftjax.errors import UserError, check_name
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.prepare import Prepared
from ftjax.tasks import evaluate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline:
    """One kind of such arms; fields of a subclass are the options that an arm may give.

    A kind of one's own is a subclass with a name in BASELINES, set in the config file say.
    """

    network: ClassVar[bool] = True
    """Whether rows depend on the pretrained network."""
    changes: ClassVar[Mapping[str, object]] = types.MappingProxyType({})
    """What the baseline changes in the config, unless the arm says otherwise."""

    @property
    def group(self) -> str:
        """Arms of one group share their work on a seed, and are therefore one job; '' for none."""
        return ''

    @property
    def runs(self) -> float:
        """Training runs that a row takes, for the estimate of the time."""
        return 0.0

    def check(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> None:
        """Raises UserError, before the first run, where the baseline makes no sense of the data.

        The arguments are those of `row`.
        """

    def row(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> OwnRow:
        """The fields of a row.

        Args:
          data: of the task and seed.
          prepared: the network on these data; None unless `network`.
          settings: of the ablation.
        """
        raise NotImplementedError

    def verdicts(self, settings: AblationSettings, rows: Rows) -> list[dict[str, object]]:
        """Verdicts on the rows of one task beyond the gates of the config."""
        return []


class Pixels(Baseline):
    """A logistic regression on the raw pixels, of images in files at 32 x 32."""

    network = False

    def check(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> None:
        """See Baseline."""
        _needs_classes('pixels', data)
        if data.train.takes != 'images':
            raise UserError(
                f"baseline 'pixels': {data.train.name} holds texts, which have no pixels"
            )

    def row(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> OwnRow:
        """See Baseline."""
        fitted = PixelRegression(
            (pixels_of(data.train), data.train.labels), (pixels_of(data.val), data.val.labels)
        )
        val, test = (
            evaluate(fitted.outputs(pixels_of(part)), part.labels, data.class_names, task=data.task)
            for part in (data.val, data.test)
        )
        return finished_fields(
            numbers_of(val), test, {}, penalty=fitted.penalty, **fingerprints(data)
        )


class Probe(Baseline):
    """A logistic regression on what the pretrained network gives its head."""

    def check(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> None:
        """See Baseline."""
        _needs_classes('probe', data)

    def row(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> OwnRow:
        """See Baseline."""
        assert prepared is not None
        return probe_row(prepared)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head2Toe(Baseline):
    """A linear head on a share of what all stages of the pretrained network give."""

    share: float = 0.1

    def check(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> None:
        """See Baseline."""
        _needs_classes('head2toe', data)
        if isinstance(self.share, bool) or not 0 < self.share <= 1:
            raise UserError(f"baseline 'head2toe': share is {self.share}; expected above 0 to 1")

    def row(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> OwnRow:
        """See Baseline."""
        assert prepared is not None
        return head2toe_row(prepared, self.share)


class Pretrained(Baseline):
    """The network as it was loaded: what the config adds to all arms is not in it."""

    changes = types.MappingProxyType({'freeze': 'full'})

    def row(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> OwnRow:
        """See Baseline."""
        assert prepared is not None
        val, test = (
            split_metrics(prepared, prepared.variables, split) for split in ('val', 'test')
        )
        tests = further_tests(prepared, settings.also_evaluate)
        at = test.get('threshold')
        shifts = {further.name: further.metrics(prepared.variables, at) for further in tests}
        return finished_fields(numbers_of(val), test, shifts, **fingerprints(data))


BASELINES: dict[str, type[Baseline]] = {
    'pixels': Pixels,
    'probe': Probe,
    'head2toe': Head2Toe,
    'pretrained': Pretrained,
}


def baseline_of(settings: AblationSettings, arm: str) -> Baseline | None:
    """The baseline that an arm is; None for an arm with a rate to search for.

    Raises:
      UserError: an unknown name or option.
    """
    given = settings.changes(arm).get('baseline')
    if given is None:
        return None
    options = dict(given) if isinstance(given, Mapping) else {'name': given}
    name = options.pop('name', '')
    kind = BASELINES[check_name(name, BASELINES, 'baseline')]
    for key in options:
        known = [field.name for field in dataclasses.fields(kind)]
        check_name(key, known, f'option of baseline {name!r}:')
    try:
        return kind(**options)
    except TypeError as error:
        raise UserError(f'baseline {name!r}: {error}') from None


def fingerprints(data: Splits) -> dict[str, str]:
    """The fields of a row that say which data it is of."""
    return {'data_fingerprint': data.fingerprint, 'test_fingerprint': data.test.fingerprint}


def _needs_classes(name: str, data: Splits) -> None:
    if not data.label_kind.one_class:
        raise UserError(
            f'baseline {name!r} is a logistic regression and needs '
            f'one class an example, not data.task={data.task}'
        )
