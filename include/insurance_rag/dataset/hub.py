"""Uploads a finished dataset folder to the Hugging Face Hub."""

from __future__ import annotations

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError


def push_to_hub(folder: DatasetFolder, name: str) -> str:
    """Upload the folder, except the rejected rows, to the Hugging Face dataset `name` and return the dataset's URL.

    Creates a private dataset if it does not exist. Raises InvalidInputError if the upload fails.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    api = HfApi()
    try:
        api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name, repo_type="dataset", folder_path=folder.root, ignore_patterns=[folder.rejects.name]
        )
    except (HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled) as e:
        raise InvalidInputError(f"push_to_hub {name}: {e}; set HF_TOKEN to a token with write access") from e
    return str(commit.repo_url)
