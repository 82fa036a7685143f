"""Builds the Markdown text of the approval page: what changed, what it cost, what was dropped and why, and samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from insurance_rag.core.artifact_store.locations import local_path, public_uri
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import Chunk, GenerationEstimate, QARow, ValidationReport
from insurance_rag.core.records.planning import Refresh
from insurance_rag.core.records.usage import RunUsage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.dataset.balance import drop_title
from insurance_rag.orchestration.artifact_parts import run_artifacts
from insurance_rag.orchestration.dataset_changes import RowChanges, compare_datasets, product_of
from insurance_rag.orchestration.edition_text import edition_lines
from insurance_rag.orchestration.markdown import escape, quote_block, table
from insurance_rag.orchestration.review_links import rows_page

SAMPLES = 5
MAX_PRODUCTS = 20
"""Maximum number of products in the table of changes. The other products share one line."""


def review_text(dataset: Mapping[str, JsonValue]) -> str:
    """Return the text for `dataset`, a DatasetArtifact as plain JSON.

    The rows are read from the dataset folder, the cost and the changes from the run folder that contains it.
    """
    folder = DatasetFolder(local_path(str(dataset["uri"])))
    run = RunFolder(folder.root.parent)
    with run_artifacts(run):
        return _review_text(folder, run)


def _review_text(folder: DatasetFolder, run: RunFolder) -> str:
    from insurance_rag.orchestration.assets import published_dataset

    report = folder.read_report()
    published = published_dataset()
    before = Path(published.uri) if published else None
    chunks = {chunk.chunk_id: chunk for path in (run.chunks, *_earlier_chunks(before)) for chunk in _read(path)}
    return "\n".join([
        f"**{report.kept:,}** of {report.rows:,} rows kept, in `{public_uri(folder.root)}`. "
        f"[Review the rows one by one]({rows_page(folder.root)}); what you decide there is applied if you approve.",
        "",
        *edition_lines(run),
        "#### What changed since the published dataset",
        "",
        *_changes(folder.root, before, product_of(chunks.values())),
        *(f"- {line}" for line in _run_changes(run, report)),
        "",
        "#### What it cost",
        "",
        *(f"- {line}" for line in _costs(run)),
        "",
        "#### Why rows were dropped",
        "",
        *_drops(report),
        "",
        *_samples(read_json(folder.training("merged")), chunks),
    ])  # fmt: skip


def _earlier_chunks(dataset: Path | None) -> list[Path]:
    return [RunFolder(dataset.parent).chunks] if dataset else []


def _read(path: Path) -> Iterable[Chunk]:
    from insurance_rag.chunks import read_chunks

    try:
        return read_chunks(path) if path.is_file() else []
    except InvalidInputError:  # the chunks only name products here
        return []


def _changes(dataset: Path, published: Path | None, products: Mapping[str, str]) -> Iterator[str]:
    """Yield tables of the rows that differ from the published dataset, by product and by type."""
    if published is None:
        yield "No dataset is published yet, so all rows are new."
        return
    if not published.is_dir():
        yield f"The published dataset {published} no longer exists, so the rows cannot be compared with it."
        return
    changes = compare_datasets(dataset, published, products)
    if not changes.total.any:
        yield "The rows are the same."
        return
    by_product = [*changes.by_product.items()]
    rest = [changed for _, changed in by_product[MAX_PRODUCTS:]]
    lines = [(escape(name), *_counts(changed)) for name, changed in by_product[:MAX_PRODUCTS]]
    lines += [(f"{len(rest)} other products", *_counts(_sum(rest)))] if rest else []
    total = ("**total**", *_counts(changes.total))
    yield from table(("product", "added", "removed", "changed"), [*lines, total])
    yield ""
    types = [(escape(name), *_counts(changed)) for name, changed in changes.by_type.items()]
    yield from table(("type", "added", "removed", "changed"), types)
    yield ""


def _counts(changes: RowChanges) -> tuple[str, str, str]:
    return f"{changes.added:,}", f"{changes.removed:,}", f"{changes.changed:,}"


def _sum(changes: Iterable[RowChanges]) -> RowChanges:
    listed = [*changes]
    return RowChanges(*(sum(getattr(c, name) for c in listed) for name in ("added", "removed", "changed")))


def _run_changes(run: RunFolder, report: ValidationReport) -> Iterator[str]:
    """Yield how rates have changed since the published dataset, and chunks since the newest earlier run."""
    from insurance_rag.planning import read_plan

    if report.drift:
        rows = report.drift.rows
        yield f"Generated rows: {rows.now:,}, {rows.now - rows.before:+,} since the published dataset."
        for name in report.drift.notable:
            share = report.drift.shares[name]
            yield f"{_share_title(report, name)}: {share.now:.0%} instead of {share.before:.0%} of the rows."
    refresh = read_plan(run).refresh if run.plan.is_file() else None
    if refresh:
        yield (
            f"Chunks since the newest earlier run: {refresh.added:,} added, {refresh.changed:,} changed, "
            f"{refresh.removed:,} removed; the answers for {refresh.calls_saved:,} chunks were reused{_kept(refresh)}."
        )


def _share_title(report: ValidationReport, name: str) -> str:
    kind, _, key = name.partition(".")
    titles = {"kept": "Kept", "drops": f"Dropped by “{drop_title(report, key)}”", "types": f"Questions of type {key}"}
    return escape(titles.get(kind, name))


def _kept(refresh: Refresh) -> str:
    models = ", ".join(f"{n:,} of {escape(model)}" for model, n in refresh.kept_from.items())
    return f" (kept from earlier models: {models})" if models else ""


def _costs(run: RunFolder) -> Iterator[str]:
    """Yield the estimated and the actual cost of generating the rows."""
    from insurance_rag.generation.estimate import show_usd

    if run.estimate.is_file():
        estimate = read_record(run.estimate, GenerationEstimate, "an estimate", "run `plan` again")
        cost = "unknown" if estimate.cost_usd is None else show_usd(estimate.cost_usd)
        yield f"Estimated cost: {cost}, for {estimate.chunks:,} chunks in {estimate.calls:,} calls."
    if not run.usage.is_file():
        yield "No answer was requested."
        return
    usage = read_record(run.usage, RunUsage, "the usage of a run", "run `generate` again")
    total, per_pair = usage.total, usage.cost_per_accepted_pair_usd
    each = f", {show_usd(1000 * per_pair)} per 1,000 accepted pairs" if per_pair else ""
    yield (
        f"Actual cost: {show_usd(total.cost_usd)}, for {total.pairs_accepted:,} accepted pairs in "
        f"{total.calls:,} calls{each}."
    )
    yield f"Tokens: {total.tokens_in:,} in, {total.tokens_out:,} out, with {escape(usage.model)}."
    others = ", ".join(f"{escape(name)}: {n:,}" for name, n in usage.models.items() if name != usage.model)
    if total.other_model_answers:
        yield f"Answers by another model than {escape(usage.model)}: {total.other_model_answers:,} ({others})."


def _drops(report: ValidationReport) -> Iterator[str]:
    """Yield a table of the rules that dropped rows, with what each rule looks for."""
    dropped = {name: n for name, n in report.drops.items() if n}
    if not dropped:
        yield "No row was dropped."
        return
    lines = [(escape(drop_title(report, name)), f"{n:,}", _description(report, name)) for name, n in dropped.items()]
    yield from table(("dropped", "rows", "what it means"), lines)


def _description(report: ValidationReport, name: str) -> str:
    if name in report.rules:
        return escape(report.rules[name].description.replace("`", ""))
    return "The type, company or product already has as many rows as its cap allows."


def _samples(rows: list[QARow], chunks: Mapping[str, Chunk]) -> Iterator[str]:
    """Yield a few training rows, evenly spaced."""
    from insurance_rag.chunks.headings import product_name, section_path

    yield f"#### Samples ({min(SAMPLES, len(rows))} of {len(rows):,} training rows)"
    for row in rows[:: max(1, len(rows) // SAMPLES)][:SAMPLES]:
        chunk = chunks.get(row["chunk_id"])
        place = " > ".join(filter(None, (product_name(chunk), section_path(chunk)))) if chunk else row["chunk_id"]
        yield from ("", f"**{escape(row['instruction'])}**", "")
        yield from quote_block(row["output"])
        yield from ("", f"*{escape(row['type'])} · {escape(place)}*")
