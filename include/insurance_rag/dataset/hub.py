"""Uploads a finished dataset folder to the Hugging Face Hub."""

from __future__ import annotations

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.hub import Upload, upload


def push_to_hub(folder: DatasetFolder, name: str, tag: str | None = None, message: str = "Upload the dataset") -> str:
    """Upload the folder, except the rejected rows, to the Hugging Face dataset `name` and return the dataset's URL.

    Creates a private dataset if it does not exist. Raises InvalidInputError if the upload fails.
    """
    return upload(Upload(name, "dataset", folder.root, [folder.rejects.name], tag=tag, message=message))
