"""Makes docs/environment.md from `insurance_rag.core.environment` and the code that reads the variables."""

from __future__ import annotations

from pathlib import Path

from tools.doc_pages.markdown import GENERATED, table
from tools.doc_pages.product_code import ROOT
from tools.doc_pages.source_reads import SourceReads, find_reads

from insurance_rag.core.environment import GROUPS, EnvironmentVariable
from insurance_rag.orchestration.pod_config import PREFIX, PodConfig

FOLDERS = ("include", "dags", "plugins")
HEAD = """\
All environment variables that the project reads. An empty variable counts as not set. Secrets are never printed, and no
file of a run contains them. docker compose reads further variables from `.env`, which `.env.example` explains; those of
Airflow itself begin with `AIRFLOW__`."""


def code_reads() -> SourceReads:
    """Return the environment variables that the product's code reads."""
    files = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    return find_reads({path.relative_to(ROOT).as_posix(): path for path in files})


def environment_page() -> str:
    """Return the page."""
    reads = code_reads()
    head = ("variable", "default", "meaning", "read by")
    lines = ["# Environment variables", "", GENERATED, "", HEAD]
    for group in GROUPS:
        lines += ["", f"## {group.title}", "", group.text]
        lines += table(head, (_row(variable, reads) for variable in group.variables))
    lines += [
        "",
        "## Pods of GPU jobs",
        "",
        "Used with `GPU_BACKEND=kubernetes`: [GPU jobs as pods](deploy.md#gpu-jobs-as-pods).",
    ]
    lines += table(
        head[:3],
        (
            (
                f"`{PREFIX}{name.upper()}`",
                _default(field.get_default(call_default_factory=True)),
                field.description or "",
            )
            for name, field in PodConfig.model_fields.items()
        ),
    )
    return "\n".join(lines) + "\n"


def _row(variable: EnvironmentVariable, reads: SourceReads) -> tuple[str, ...]:
    files = sorted(path.removeprefix("include/") for path in reads.names.get(variable.name, ()))
    read_by = ", ".join(f"`{path}`" for path in files) or "libraries"
    return f"`{variable.name}`{' (secret)' if variable.secret else ''}", variable.default, variable.meaning, read_by


def _default(value: object) -> str:
    if isinstance(value, Path):
        return f"`{value.name}`"
    return f"`{value}`" if value not in (None, (), {}) else "none"
