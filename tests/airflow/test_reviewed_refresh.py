"""A refresh whose rows people review while the approval waits: what they decide is published, and stays decided."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue
from tests.airflow.conftest import Airflow, write_sample_files
from tests.validation.helpers import read_rows

from gemini_simulator import running_simulator
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.files import read_json
from insurance_rag.review.edits import new_decision
from insurance_rag.review.records import ReviewAction
from insurance_rag.review.store import ReviewStore
from insurance_rag.validation.review_items import read_row_items

pytestmark = [pytest.mark.airflow, pytest.mark.long, pytest.mark.timeout(700)]

DAG = "refresh_dataset"


def test_approval_publishes_what_reviewers_decided(airflow: Airflow, tmp_path: Path) -> None:
    airflow.pause("finetune_pipeline")
    with running_simulator(quota={"rpm": 600}, speed=20) as simulator:
        airflow.put_key("review_k1", simulator.url, "review-key-1")
        files = write_sample_files(tmp_path, every=6, ending="\n이 조항은 2027년 1월 1일부터 적용합니다.")
        generation: dict[str, JsonValue] = {"repair": False}
        conf: dict[str, JsonValue] = {**files, "keys": ["review_k1"], "generation": generation}
        first = airflow.run(DAG, conf, wait=False)
        airflow.wait_for(DAG, first, "approve", {"awaiting_input"})

        run = airflow.folder(DAG, first)
        dataset = DatasetFolder(run.dataset)
        kept = [item for item in read_row_items(dataset, run.chunks) if not item.dropped and item.answerable]
        rejected, edited = kept[0], kept[1]
        store = ReviewStore(airflow.services.artifacts / "reviews", "row")

        def decide(n: int, action: ReviewAction, **texts: str) -> None:
            item = kept[n]
            store.decide(new_decision(item, None, action, reviewer="kim", reason="틀림", texts=texts), 0)

        decide(0, "reject")
        decide(1, "edit", question=f"문의드립니다. {edited.fields['question']}")
        before = read_json(dataset.report)["lineage"]["data_sha256"]
        airflow.decide(DAG, first, "Approve")
        assert airflow.wait(DAG, first) == "success", airflow.explain(DAG, first)

        report = dataset.read_report()
        assert (report.reviews.rejected, report.reviews.edited) == (1, 1)
        assert report.drops["rejected_by_reviewer"] == 1 and report.lineage.data_sha256 != before
        rows = [*read_rows(dataset.training("merged")), *read_rows(dataset.heldout("merged"))]
        questions = {row["instruction"] for row in rows}
        assert rejected.fields["question"] not in questions
        assert f"문의드립니다. {edited.fields['question']}" in questions
        published = read_json(airflow.services.artifacts / "published" / "qa_dataset.json")
        assert published["data_sha256"] == report.lineage.data_sha256, "the published rows are the reviewed ones"

        again = airflow.run(DAG, conf)
        assert airflow.states(DAG, again)["publish"] == "skipped", (
            "the decisions belong to the content: nothing changed"
        )
        later = DatasetFolder(airflow.folder(DAG, again).dataset).read_report()
        assert (later.reviews.rejected, later.reviews.edited) == (1, 1)
