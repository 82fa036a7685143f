"""Arguments that are URIs of object stores, e.g. `--run s3://bucket/runs/1`.

Every command takes them wherever it takes a path. It then works on copies in the scratch folder, which are fetched
before it starts and published while it runs and when it ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

_URI = re.compile(r"(?:^|(?<==))(?:s3|gs)://\S+", re.IGNORECASE)
_RUN_LEVELS = 3
"""A run folder is looked for up to this many levels above an argument, e.g. RUN/adapters/v2/seed-42."""
_OF_RUN = ("plan.json", "config.json", "progress/**")


def localize(argv: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Return the arguments with a local path for each URI, and these paths.

    Raises InvalidInputError that lists every URI that is not valid.
    """
    if not any(map(_URI.search, argv)):
        return [*argv], []
    from insurance_rag.core.artifact_store.locations import local_path
    from insurance_rag.core.errors import InvalidInputError

    paths: list[Path] = []
    problems: list[str] = []

    def replace(match: re.Match[str]) -> str:
        try:
            paths.append(local_path(match.group()))
        except InvalidInputError as e:
            problems.extend(e.problems)
            return match.group()
        return str(paths[-1])

    replaced = [_URI.sub(replace, word) for word in argv]
    if problems:
        raise InvalidInputError(problems)
    return replaced, paths


def workspace_of(paths: Sequence[Path]) -> AbstractContextManager[object]:
    """Return the workspace of a command with these arguments. It does nothing if none is in an object store.

    With each file or folder come the files next to it that belong to it, such as its manifest, and those that show
    that it is in a run folder.
    """
    from insurance_rag.core.artifact_store.locations import location_of

    stored = [(path, location) for path in paths if (location := location_of(path))]
    if not stored:
        return nullcontext()
    from insurance_rag.core.artifact_store.mirror import Part
    from insurance_rag.core.artifact_store.workspace import Workspace, parts_with_siblings

    parts: list[Part] = []
    for path, location in stored:
        parts += parts_with_siblings(path)
        levels = len(location.key.split("/")) if location.key else 0
        parts += [Part(folder, only=_OF_RUN, shared=True) for folder in [*path.parents][: min(levels, _RUN_LEVELS)]]
    return Workspace([*dict.fromkeys(parts)])
