"""Uploads a finished folder to the Hugging Face Hub, and marks the uploaded state with a tag."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from insurance_rag.core.errors import InvalidInputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class Upload:
    """A folder and the repository that it becomes."""

    repository: str
    """OWNER/NAME. Created as a private repository if it does not exist."""
    kind: Literal["dataset", "model"]
    folder: Path
    left_out: Sequence[str] = ()
    """Patterns of paths that are not uploaded; `logs/*` leaves out everything below `logs`."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """File -> content to upload in place of the folder's own file."""
    tag: str | None = None
    message: str = "Upload"


def upload(wanted: Upload) -> str:
    """Upload a folder as one commit, tag the commit, and return the address of the repository.

    A tag that exists already moves to the new commit. Raises InvalidInputError if the Hub refuses. The repository then
    has all files of the commit or none of them.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled  # type: ignore[attr-defined]

    api = HfApi()
    name, kind = wanted.repository, wanted.kind
    try:
        api.create_repo(name, repo_type=kind, private=True, exist_ok=True)
        operations = [CommitOperationAdd(path, source) for path, source in _contents(wanted).items()]
        commit = api.create_commit(name, operations, commit_message=wanted.message, repo_type=kind)
        if wanted.tag:
            _set_tag(api, wanted, wanted.tag, commit.oid)
    # A ValueError is a name or a card that the Hub does not accept.
    except (LocalTokenNotFoundError, OfflineModeIsEnabled, HTTPError, ValueError) as e:
        raise InvalidInputError(
            f"{kind} {name}: the upload failed ({e}); check the name and the network, and set HF_TOKEN to a token with "
            "write access"
        ) from e
    return str(commit.repo_url)


def _contents(wanted: Upload) -> dict[str, Path | bytes]:
    """Return the files of the commit by their path in the repository."""
    files: dict[str, Path | bytes] = {}
    for path in sorted(wanted.folder.rglob("*")):
        name = path.relative_to(wanted.folder).as_posix()
        if path.is_file() and not any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted.left_out):
            files[name] = path
    return {**files, **{name: text.encode() for name, text in wanted.texts.items()}}


def _set_tag(api: HfApi, wanted: Upload, tag: str, commit: str) -> None:
    """Put the tag on a commit. A tag of the same name on another commit is removed first."""
    from huggingface_hub.errors import RevisionNotFoundError

    with contextlib.suppress(RevisionNotFoundError):
        api.delete_tag(wanted.repository, tag=tag, repo_type=wanted.kind)
    api.create_tag(wanted.repository, tag=tag, tag_message=wanted.message, revision=commit, repo_type=wanted.kind)
