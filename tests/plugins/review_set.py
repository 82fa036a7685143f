"""A dataset of more than 1,000 kept rows and some dropped ones, which validation made from sample chunks."""

from __future__ import annotations

from pathlib import Path

from insurance_rag.chunks import read_chunks
from insurance_rag.chunks.headings import product_name
from insurance_rag.config import DatasetConfig, ValidationConfig
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.records import Chunk, Question
from insurance_rag.core.records.questions import QuestionCandidate, QuestionFinding
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.korean import sentences
from insurance_rag.validation.validate import validate_parts

MADE = 1100
"""Number of generated rows. More than 1,000 of them are kept."""
SHARDS = 4
ATTACK = "<script>document.title='hacked'</script><img src=x onerror=alert(1)>"
"""Text in one row that must not become part of the page."""
RULES = ("malformed", "required_fields", "too_short", "cut_off", "unsupported_number")


def write_review_run(root: Path, reviews: Path | None = None) -> RunFolder:
    """Write a run with a dataset and a question set."""
    run = RunFolder(root).create()
    chunks = read_chunks("sample")
    write_jsonl(run.chunks, (chunk.model_dump() for chunk in chunks))
    rows = [row for chunk in chunks for row in _rows(chunk)][:MADE]
    for n, reason in ((3, "짧다."), (40, "중간에 끊긴 답변이고 이 문장은"), (90, "보험금은 9,999,999만원입니다.")):
        for row in rows[n : n + 4]:
            row["output"] = reason
    rows[1]["instruction"] = f"{rows[1]['instruction']} {ATTACK}"
    for shard in range(1, SHARDS + 1):
        part = run.part(shard)
        own = [row | {"meta": {"model": "gemini-3.5-flash", "shard": shard}} for row in rows[shard - 1 :: SHARDS]]
        write_json(part, own)
        write_json(manifest_path(part), {"label": f"shard {shard}/{SHARDS} · gemini_k{shard}"})
    validate_run_parts(run, chunks, reviews)
    write_questions(run, chunks)
    return run


def validate_run_parts(run: RunFolder, chunks: list[Chunk], reviews: Path | None = None) -> None:
    """Make the dataset of the run from its parts."""
    dataset = DatasetConfig(parquet=False, preferences=False, chat=False, unanswerable_share=0, distractor_share=0)
    config = ValidationConfig(rules=RULES, retriever_check=False, dataset=dataset)
    validate_parts([run.parts], chunks, run.dataset, config, reviews=reviews)


def write_questions(run: RunFolder, chunks: list[Chunk]) -> None:
    """Write the candidates of a question set, as `questions make` does."""
    candidates = []
    for n, chunk in enumerate(chunks[:30]):
        text = f"{product_name(chunk)}에서 {n + 1}번째로 확인할 내용은 무엇인가요?"
        evidence = _statements(chunk)[0]
        question = Question(
            question_id=f"q{n}", question=text, type="fact", answerable=True, gold_chunk_ids=[chunk.chunk_id],
            reference_answer=evidence, required_numbers=["30일"] if n % 3 == 0 else [],
        )  # fmt: skip
        findings = (
            [QuestionFinding(check="ambiguous", detail="another chunk answers it", drops=True)] if n >= 24 else []
        )
        candidates.append(
            QuestionCandidate(
                question=question, kind="fact", evidence=evidence, rank=1, findings=findings, kept=n < 24,
                reason="ambiguous" if n >= 24 else None,
            )
        )  # fmt: skip
    folder = run.root / "questions"
    write_jsonl(folder / "questions.candidates.jsonl", (candidate.model_dump() for candidate in candidates))


def _rows(chunk: Chunk) -> list[dict[str, object]]:
    types = ("fact", "scenario", "easy")
    return [
        {
            "chunk_id": chunk.chunk_id,
            "type": types[n % 3],
            "instruction": f"{product_name(chunk)}의 {chunk.text.splitlines()[0]}에서 정한 {n + 1}번째 내용은 {ending}",
            "input": chunk.text,
            "output": f"약관에 따르면 다음과 같습니다. {statement}",
            "evidence": statement,
            "answerable": True,
        }
        for n, statement in enumerate(_statements(chunk)[:9])
        for ending in ("무엇인가요?", "어떻게 되나요?")
    ]


def _statements(chunk: Chunk) -> list[str]:
    lines = [span.text.strip() for span in sentences(chunk.text)]
    found = [line for line in lines if line.endswith("다.")]
    return found or [chunk.text]
