"""Publish an adapter as a folder that vLLM's `lora_filesystem_resolver` loads by name, without a restart of the server.

The resolver looks for `$VLLM_LORA_RESOLVER_CACHE_DIR/NAME/adapter_config.json` when it is asked for the model NAME. It
takes the adapter if its type is LORA and its base model is, letter by letter, the model that `vllm serve` was started
with. vLLM keeps the weights that it has loaded under a name, so a name is never used for other weights.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Literal

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import new_folder, read_json, write_json
from insurance_rag.core.hashing import sha256_tree
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record
from insurance_rag.training.peft_config import PeftLoraSettings, read_lora_settings

PUBLICATION = "publication.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
MAX_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM accepts for --max-lora-rank."""


class Publication(Record):
    """`publication.json` in the folder of a published adapter: what it was made from."""

    adapter: str
    """Path or URI of the adapter folder."""
    adapter_sha256: str
    base_model: str
    """Model that the server must be started with."""
    prompt_format: str
    """Prompt format in which the adapter must be asked."""
    max_lora_rank: int


class PublishedLora(Artifact):
    """Folder of a published adapter, and how to serve and ask it."""

    format: Literal["vllm"] = "vllm"
    name: str
    """Model name for requests."""
    prompt_format: str
    serve: str
    """Command that starts the server."""


def publish_lora(
    adapter: Path, base_model: str, out: Path, prompt_format: str, name: str | None = None
) -> PublishedLora:
    """Copy the adapter to `out`/NAME, where `out` is the resolver's folder. The folder appears complete or not at all.

    `base_model` is the argument of `vllm serve`. NAME is by default the adapter's version and the beginning of its
    hash. Publishing the same adapter again changes nothing. Raises InvalidInputError if vLLM cannot attach the adapter,
    or if NAME belongs to other weights.
    """
    config = read_lora_settings(adapter)
    digest = sha256_tree(adapter)
    manifest = AdapterFolder(adapter).read_manifest()
    name = name or f"{manifest.version if manifest else adapter.name}-{digest[:8]}"
    if problems := _problems(adapter, config, name):
        raise InvalidInputError(problems)
    publication = Publication(
        adapter=public_uri(adapter),
        adapter_sha256=digest,
        base_model=base_model,
        prompt_format=prompt_format,
        max_lora_rank=next(rank for rank in MAX_RANKS if rank >= config.r),
    )
    target = out / name
    if not _is_published(target, publication):
        _write(adapter, target, publication)
    return describe(
        target, PublishedLora, name=name, prompt_format=prompt_format, serve=_serve_command(out, publication)
    )


def _problems(adapter: Path, config: PeftLoraSettings, name: str) -> list[str]:
    problems = [f"{adapter}: vLLM cannot attach an adapter with {what}; use --format merged" for what in config.extras]
    if config.r > MAX_RANKS[-1]:
        problems.append(f"{adapter}: rank {config.r} is above {MAX_RANKS[-1]}, vLLM's maximum; use --format merged")
    if not _NAME.fullmatch(name):
        problems.append(f"--name {name!r}: not a model name; use letters, digits and . _ - only")
    return problems


def _is_published(target: Path, publication: Publication) -> bool:
    """Return whether the folder has this adapter. Raises InvalidInputError if it has something else."""
    if not target.exists():
        return False
    if not (target / PUBLICATION).is_file():
        raise InvalidInputError(f"{target}: exists and was not published by this command; choose another --name")
    found = read_record(target / PUBLICATION, Publication, "a publication", "remove the folder, or choose a --name")
    if found.model_copy(update={"adapter": publication.adapter}) != publication:
        raise InvalidInputError(
            f"{target}: has another adapter, base model or prompt format, and a server that loaded it keeps its "
            "weights under this name; choose another --name"
        )
    return True


def _write(adapter: Path, target: Path, publication: Publication) -> None:
    folder = AdapterFolder(adapter)
    with new_folder(target) as staging:
        for file in (folder.weights, folder.manifest, folder.model_card):
            if file.is_file():
                shutil.copyfile(file, staging / file.name)
        config = {**read_json(folder.peft_config), "base_model_name_or_path": publication.base_model}
        write_json(staging / folder.peft_config.name, config)
        write_json(staging / PUBLICATION, publication.model_dump(mode="json"))


def _serve_command(out: Path, publication: Publication) -> str:
    variables = (
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING=true VLLM_PLUGINS=lora_filesystem_resolver "
        f"VLLM_LORA_RESOLVER_CACHE_DIR={out.resolve()}"
    )
    options = f"--enable-lora --max-lora-rank {publication.max_lora_rank}"
    return f"{variables} vllm serve {publication.base_model} {options}"
