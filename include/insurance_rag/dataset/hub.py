"""Upload a finished dataset folder to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from insurance_rag.core.errors import InvalidInputError


def push_to_hub(folder: Path, name: str) -> str:
    """Create the private data set `name` where it does not exist, upload the folder, return its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    api = HfApi()
    try:
        api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name, repo_type="dataset", folder_path=folder, ignore_patterns=["rejects.jsonl"]
        )
    except (HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled) as e:
        raise InvalidInputError(f"push_to_hub {name}: {e}; set HF_TOKEN to a token that may write there") from e
    return str(commit.repo_url)
