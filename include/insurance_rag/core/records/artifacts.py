"""What tasks pass to each other through XCom: the path of a file or folder and facts about it, never its content."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Artifact(BaseModel):
    """A finished file or folder. Stages define subclasses with additional facts, such as rows, shard or version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    """Absolute path, or URI in an object store."""
    sha256: str
    """Hash of the file, or of the relative paths and contents of all files in the folder."""
