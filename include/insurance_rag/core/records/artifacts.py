"""What tasks hand to each other through XCom: where a file or folder is and what it contains, never its content."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Artifact(BaseModel):
    """A finished file or folder. Stages subclass this and add their own facts (rows, shard, version ...)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    """Absolute path."""
    sha256: str
    """Hash of the file, or of the folder's relative names and contents."""
