"""Exported folders as repositories of the Hugging Face hub, through its own client."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

from ftjax.errors import UserError, shown

_ADDRESS = re.compile(r'[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}')
TOKEN_REMEDY = 'set HF_TOKEN, or log in once with `hf auth login`'


def check_push(address: str) -> None:
    """Refuses what could not be pushed in the end, before anything is exported.

    Args:
      address: ORG/NAME.

    Raises:
      UserError: no such form of address, no token, one that the hub does not know, or no
        connection.
    """
    import huggingface_hub

    if not _ADDRESS.fullmatch(address):
        raise UserError(f'push_to_hub is {shown(address)}; expected ORG/NAME, as in hf://ORG/NAME')
    if huggingface_hub.get_token() is None:
        raise UserError(f'push_to_hub={address}: the hub wants a token; {TOKEN_REMEDY}')
    with _answering(address):
        huggingface_hub.HfApi().whoami()


def push_folder(folder: str | os.PathLike[str], address: str, *, private: bool = True) -> str:
    """Makes the repository if need be and uploads a folder as one commit; returns its URL.

    Args:
      folder: as `export_weights` writes it.
      address: ORG/NAME.
      private: of a repository that is new; one that exists stays as visible as it is.

    Raises:
      UserError: the hub refuses, or cannot be reached. The folder stays.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi()
    with _answering(address):
        api.create_repo(address, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=address,
            folder_path=pathlib.Path(folder),
            commit_message='Weights, plan and model card written by ftjax',
        )
    return str(done.commit_url)


@contextlib.contextmanager
def _answering(address: str) -> Iterator[None]:
    """Turns what the hub's client raises into one line for people."""
    from huggingface_hub import errors

    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise UserError(f'push_to_hub={address}: HF_HUB_OFFLINE is set; unset it') from None
    except errors.LocalTokenNotFoundError:
        raise UserError(f'push_to_hub={address}: there is no token; {TOKEN_REMEDY}') from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status == 401:
            told = f'the hub does not know the token; {TOKEN_REMEDY}'
        elif status == 403:
            told = f'the token may not write to {address}; give one with write access'
        else:
            told = f'the hub did not accept it: {_line(error)}'
        raise UserError(f'push_to_hub={address}: {told}') from None
    except errors.HfHubHTTPError.__bases__ as error:  # OSError, and that of its HTTP library
        told = f'the hub cannot be reached: {_line(error)}'
        raise UserError(f'push_to_hub={address}: {told}') from None
    except ValueError as error:
        raise UserError(f'push_to_hub={address}: it was not accepted: {_line(error)}') from None


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
