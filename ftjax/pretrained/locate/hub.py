"""Checkpoints of the Hugging Face hub, through its own client: cached, resumable, offline."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from ftjax.errors import UserError, shown
from ftjax.io.json.json_reader import LENIENT, read_object

# What is asked for. No pickles, no code; `model*` leaves out optimizer states, and adapters beside
# a whole network.
SMALL = (
    'config.json',
    'preprocessor_config.json',
    'processor_config.json',
    'tokenizer.json',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'chat_template.jinja',
    'generation_config.json',
    'vocab.txt',
    'vocab.json',
    'merges.txt',
    'modules.json',
    '1_Pooling/config.json',
    'adapter_config.json',
)
WEIGHTS = ('model.safetensors', 'model-*.safetensors', 'model.safetensors.index.json')
FALLBACK = ('flax_model.msgpack', '*.npz', 'adapter_model.safetensors')


class Address(NamedTuple):
    """What hf://ORG/NAME[/SUBFOLDER][@REVISION] says."""

    repository: str
    revision: str | None
    subfolder: str = ''
    """Where config.json and weights are in the repository; '' for at its top."""


def parse(address: str) -> Address:
    """The parts of an address; UserError for what is none.

    >>> parse('hf://google/vit-base-patch16-224@main').repository
    'google/vit-base-patch16-224'
    """
    path, at, revision = address.removeprefix('hf://').partition('@')
    if at and not revision.strip():
        raise UserError(
            f'{shown(address)}: nothing stands after @; expected a branch, a tag or a commit, or '
            'leave out the @ for the newest'
        )
    parts = path.split('/')
    if not all(parts) or {'.', '..'} & set(parts) or len(address) > 500:
        raise UserError(
            f'{shown(address)}: expected hf://ORG/NAME, hf://ORG/NAME/SUBFOLDER or either with '
            '@REVISION'
        )
    return Address('/'.join(parts[:2]), revision or None, '/'.join(parts[2:]))


def fetch(address: str, *, weights: bool = True) -> tuple[pathlib.Path, str]:
    """Brings a repository's files into the cache; returns (folder, commit).

    Of a repository with several networks the folder is the SUBFOLDER of the address.

    HF_HUB_OFFLINE, HF_HOME and HF_TOKEN are respected, being huggingface_hub's own.

    Args:
      address: hf://ORG/NAME[/SUBFOLDER][@REVISION].
      weights: False for config and tokenizer only.

    Raises:
      UserError: no such repository or revision, no network, offline and not cached, or no
        weights in a format that can be read.
    """
    from ftjax.pretrained.readers.open_source import weights_in

    folder, commit = _snapshot(address, SMALL + (WEIGHTS if weights else ()))
    if weights and not any(folder.glob('model*.safetensors')):
        folder, commit = _snapshot(address, SMALL + FALLBACK)
        try:
            weights_in(folder)
        except UserError:
            raise UserError(
                f'{address} has no safetensors, msgpack or npz weights (a pickle is never '
                'loaded); many repositories have a branch or a pull request with safetensors: '
                'give it as @REVISION'
            ) from None
    return folder, commit


def cached(address: str) -> tuple[pathlib.Path, str] | None:
    """(folder, commit) of a repository whose weights are in the cache already; else None."""
    import huggingface_hub
    from huggingface_hub import errors

    repository, revision, subfolder = parse(address)
    try:
        found = huggingface_hub.snapshot_download(
            repository, revision=revision, local_files_only=True
        )
    except (errors.LocalEntryNotFoundError, errors.HFValidationError):
        return None
    folder = pathlib.Path(found, subfolder)
    return (folder, pathlib.Path(found).name) if has_weights(folder) else None


def has_weights(folder: pathlib.Path) -> bool:
    """Whether all safetensors of a network are in a folder.

    Configuration alone leaves a snapshot too; a download that was interrupted leaves a broken link
    or some of the files that an index lists.
    """
    index = folder / WEIGHTS[-1]
    if (folder / WEIGHTS[0]).exists() or not index.exists():
        adapter = (folder / 'adapter_config.json').exists() and (folder / FALLBACK[-1]).exists()
        return (folder / WEIGHTS[0]).exists() or adapter
    listed = read_object(index, LENIENT).get('weight_map')
    files = set(map(str, listed.values())) if isinstance(listed, dict) else set()
    return all((folder / name).exists() for name in files)


def with_card(address: str) -> pathlib.Path | None:
    """The folder of a repository with its model card, if it has one; None out of reach."""
    names = ('config.json', 'adapter_config.json', 'README.md', 'LICENSE*')
    try:
        return _snapshot(address, names)[0]
    except UserError:
        return None


def _snapshot(address: str, patterns: tuple[str, ...]) -> tuple[pathlib.Path, str]:
    """(folder, commit) with the files of these patterns, below the address's subfolder."""
    import huggingface_hub

    repository, revision, subfolder = parse(address)
    below = f'{subfolder}/' if subfolder else ''
    with asking(address, revision):
        root = pathlib.Path(
            huggingface_hub.snapshot_download(
                repository, revision=revision, allow_patterns=[below + name for name in patterns]
            )
        )
    if not (root / subfolder).is_dir():
        raise UserError(f'{address}: the repository {repository} has no files in {subfolder}')
    return root / subfolder, root.name


@contextlib.contextmanager
def asking(address: str, revision: str | None) -> Iterator[None]:
    """Turns what the hub's client raises into one line for people."""
    from huggingface_hub import errors

    try:
        yield
    except errors.RevisionNotFoundError:
        raise UserError(f'{address}: the repository has no revision {revision!r}') from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise UserError(
            f'{address}: no such repository on the hub, or it needs a token (HF_TOKEN)'
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise UserError(
            f'{address} is not in the local cache and the hub cannot be reached (offline, or '
            'HF_HUB_OFFLINE is set); fetch it once with a connection, or give a local folder'
        ) from None
    except UserError:
        raise
    except (errors.HfHubHTTPError, OSError) as error:
        line = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f'{address}: the hub did not answer as expected: {line[0]}') from None
