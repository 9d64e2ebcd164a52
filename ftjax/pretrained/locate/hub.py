"""Checkpoints of the Hugging Face hub, through its own client: cached, resumable, offline."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

from ftjax.errors import UserError, shown

# What is asked for. No pickles, no code; `model*` leaves out adapters and optimizer states.
SMALL = (
    'config.json',
    'preprocessor_config.json',
    'tokenizer.json',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'vocab.txt',
    'vocab.json',
    'merges.txt',
)
WEIGHTS = ('model.safetensors', 'model-*.safetensors', 'model.safetensors.index.json')
FALLBACK = ('flax_model.msgpack', '*.npz')


def parse(address: str) -> tuple[str, str | None]:
    """(repository, revision or None) of hf://ORG/NAME[@REVISION].

    >>> parse('hf://google/vit-base-patch16-224@main')
    ('google/vit-base-patch16-224', 'main')
    """
    repository, _, revision = address.removeprefix('hf://').partition('@')
    parts = repository.split('/')
    if not 1 <= len(parts) <= 2 or not all(parts) or len(address) > 500:
        raise UserError(f'{shown(address)}: expected hf://ORG/NAME or hf://ORG/NAME@REVISION')
    return repository, revision or None


def fetch(address: str, *, weights: bool = True) -> tuple[pathlib.Path, str]:
    """Brings a repository's files into the cache; returns (folder, commit).

    HF_HUB_OFFLINE, HF_HOME and HF_TOKEN are respected, being huggingface_hub's own.

    Args:
      address: hf://ORG/NAME[@REVISION].
      weights: False for config and tokenizer only.

    Raises:
      UserError: no such repository or revision, no network, offline and not cached, or no
        weights in a format that can be read.
    """
    from ftjax.pretrained.readers.open_source import weights_in

    repository, revision = parse(address)
    folder = _snapshot(address, repository, revision, SMALL + (WEIGHTS if weights else ()))
    if weights and not any(folder.glob('model*.safetensors')):
        folder = _snapshot(address, repository, revision, SMALL + FALLBACK)
        try:
            weights_in(folder)
        except UserError:
            raise UserError(
                f'{address} has no safetensors, msgpack or npz weights (a pickle is never '
                'loaded); many repositories have a branch or a pull request with safetensors: '
                'give it as @REVISION'
            ) from None
    return folder, folder.name


def cached(address: str) -> tuple[pathlib.Path, str] | None:
    """(folder, commit) of a repository whose weights are in the cache already; else None."""
    import huggingface_hub
    from huggingface_hub import errors

    repository, revision = parse(address)
    try:
        found = huggingface_hub.snapshot_download(
            repository, revision=revision, local_files_only=True
        )
    except (errors.LocalEntryNotFoundError, errors.HFValidationError):
        return None
    folder = pathlib.Path(found)
    # Configuration alone leaves a snapshot too; a broken link is a download not finished.
    whole = any(file.exists() for file in folder.glob('model*.safetensors'))
    return (folder, folder.name) if whole else None


def with_card(address: str) -> pathlib.Path | None:
    """The folder of a repository with its model card, if it has one; None out of reach."""
    repository, revision = parse(address)
    try:
        return _snapshot(address, repository, revision, ('config.json', 'README.md', 'LICENSE*'))
    except UserError:
        return None


def _snapshot(
    address: str, repository: str, revision: str | None, patterns: tuple[str, ...]
) -> pathlib.Path:
    import huggingface_hub

    with asking(address, revision):
        return pathlib.Path(
            huggingface_hub.snapshot_download(
                repository, revision=revision, allow_patterns=list(patterns)
            )
        )


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
