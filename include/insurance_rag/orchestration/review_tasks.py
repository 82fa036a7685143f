"""The task that makes a dataset again with what people decided on the review pages."""

from __future__ import annotations

import logging
from pathlib import Path

from insurance_rag.core.artifacts import describe
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.records import DatasetArtifact
from insurance_rag.core.records.run import RunArtifact
from insurance_rag.orchestration.run_inputs import open_run
from insurance_rag.orchestration.runs import reviews_folder
from insurance_rag.orchestration.tasks import validate
from insurance_rag.review.store import ReviewStore

log = logging.getLogger(__name__)


def apply_reviews(run: RunArtifact, dataset: DatasetArtifact) -> DatasetArtifact:
    """Make the dataset again with the decisions that people made about its rows after it was validated.

    Rejected rows are dropped, and the rules check edited rows again. Without new decisions, the dataset stays as it is.
    Later runs apply the decisions as well, because they belong to the content of a row.
    """
    _, config = open_run(run)
    folder = DatasetFolder(Path(dataset.uri))
    before = folder.read_report()
    if config.dataset or ReviewStore(reviews_folder(), "row").records == before.reviews.records:
        log.info("no decision was made since the dataset was validated")
        if before.lineage.data_sha256 == dataset.data_sha256:
            return dataset
        facts = {"rows": before.rows, "kept": before.kept, "files": before.files, "complete": dataset.complete}
        return describe(folder.root, DatasetArtifact, **facts, data_sha256=before.lineage.data_sha256)
    rebuilt = validate(run)
    counts = folder.read_report().reviews
    log.info(
        "rows that people approved: %d, edited: %d, rejected: %d; kept rows: %d before, %d now",
        counts.approved,
        counts.edited,
        counts.rejected,
        before.kept,
        rebuilt.kept,
    )
    return rebuilt
