"""Settings for validation (which rows are good enough to train on) and for the content of the training files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.records.dataset import PreferenceKind
from insurance_rag.core.registry import Choice


class PreferenceConfig(Config):
    """Settings for the preference pairs, which train a model to prefer right answers to wrong ones."""

    shares: dict[PreferenceKind, Annotated[float, Field(ge=0)]] = {
        "false_refusal": 0.2,
        "hedge": 0.15,
        "missed_refusal": 0.15,
        "number": 0.15,
        "negation": 0.1,
        "roles": 0.05,
        "comparator": 0.05,
        "article": 0.05,
        "prompt_echo": 0.05,
        "repair": 0.05,
    }
    """Fractions of the pairs by what is wrong with the worse answer. They are divided by their sum. Kinds that few
    answers can have get fewer pairs. A kind that is not listed gets none."""
    second_share: float = Field(default=0.5, ge=0, le=1)
    """Fraction of the rows from which two pairs are made, of different kinds. All other rows give one pair."""
    max_rows: int = Field(default=20_000, ge=1)
    """Approximate maximum number of training rows from which pairs are made."""

    @field_validator("shares")
    @classmethod
    def _reject_zeros(cls, shares: dict[PreferenceKind, float]) -> dict[PreferenceKind, float]:
        if not any(shares.values()):
            raise ValueError("no kind has a share above 0; give one, or set dataset.preferences=false")
        return shares


class DatasetConfig(Config):
    """Content of the training files.

    "Retrieval-style rows" are rows in a prompt format with retrieved contexts, such as `rag`.
    """

    unanswerable_share: float = Field(default=0.25, ge=0, lt=0.5)
    """Fraction of retrieval-style rows whose context does not contain the answer, so that the correct answer is a
    refusal. Near misses, which the teacher wrote as unanswerable, count. The others are answerable questions without
    the right chunk. 0 adds no such rows."""
    near_miss_share: float = Field(default=0.15, ge=0, le=1)
    """Maximum fraction of retrieval-style rows that are near misses. If there are more, they get fewer contexts than
    `contexts_per_row`, but at least one each. If near misses were the only refusals, a model could tell from the
    question alone whether to refuse."""
    distractor_share: float = Field(default=0.6, ge=0, le=1)
    """Fraction of retrieval-style rows whose context also contains distractors. These are chunks that a search for the
    question finds but that do not contain the answer."""
    distractors: tuple[int, int] = (2, 4)
    """Minimum and maximum number of chunks to add to a context with distractors."""
    contexts_per_row: int = Field(default=1, ge=1, le=8)
    """Number of retrieval-style rows that are made from each row, with different distractors. Several contexts teach a
    model to read the chunks instead of remembering the few that it was trained on."""
    vary_numbers: bool = True
    """From the second context of a row on, replace the amounts and periods in the right chunk and in the answer, where
    this cannot make the answer wrong."""
    context_characters: int = Field(default=1600, ge=200)
    """Maximum length of a context with distractors, in characters."""
    caps: dict[Literal["type", "company", "product"], Annotated[float, Field(gt=0, le=1)]] = {}
    """Maximum fraction of the training rows that any one type, company or product may have, e.g. `{"product": 0.3}`.
    Rows above a cap are left out and counted as `balance`."""
    parquet: bool = True
    """Also write every data file as Parquet, in the folder `parquet`."""
    chat: bool = True
    """Also write the files of prompt formats with chat messages, for base models with a chat template."""
    preferences: bool = True
    """Also write preference pairs: a retrieval-style prompt, a right answer and a wrong one."""
    preference_pairs: PreferenceConfig = PreferenceConfig()
    """Which preference pairs are made."""
    verifier_rows: bool = False
    """Also write rows for training a verifier, which reads an answer and says whether the policy supports it."""
    other_context_share: float = Field(default=0.1, ge=0, le=1)
    """Fraction of the rows for a verifier that show a right answer with chunks that do not support it, among the rows
    whose answer is not supported."""
    license: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]*$")
    """Licence of the dataset for its card, as an identifier of the Hugging Face Hub, e.g. `cc-by-4.0`. None: the one
    that all chunks name in `metadata.license`, otherwise `other`. A value that contradicts the chunks is an error."""
    push_to_hub: str | None = None
    """Hugging Face dataset (owner/name) to which the finished folder is uploaded; requires HF_TOKEN."""
    seed: int = 0
    """Seed for every random choice: contexts, refusals, and the rows that a cap leaves out."""


REFERENCE_RULES = ("required_fields", "duplicate", "too_short", "cut_off", "evasive")
"""The rules of the reference design (docs/origin.md), in the order in which it applies them."""


class ValidationConfig(Config):
    """Settings that decide which rows are good enough to train on."""

    rules: tuple[Annotated[str, Choice("rule")], ...] = (
        "malformed",
        "rejected_by_reviewer",
        *REFERENCE_RULES,
        "missed_refusal",
        "no_content",
        "unknown_chunk",
        "stale_chunk",
        "prompt_echo",
        "injection",
        "foreign_tail",
        "repetition",
        "not_korean",
        "open_ended",
        "preamble",
        "not_standalone",
        "no_product",
        "unsupported_article",
        "unsupported_number",
        "no_evidence",
        "evidence",
        "unrelated",
        "leak",
        "near_duplicate",
        "not_retrieved",
    )
    """Names of all rules that run, in the order in which they are applied. A row's reason is the first rule that drops
    it."""
    min_output: int = Field(default=10, ge=1)
    """Minimum length of an answer in characters. The reference design also uses 10."""
    max_characters: int = Field(default=20_000, ge=100)
    """Maximum length of each text field in characters. A row with a longer field is dropped as `malformed`."""
    min_evidence: int = Field(default=10, ge=1)
    """Minimum number of letters and digits in the evidence of an answer. A whole list item or row of a table may have
    fewer."""
    keep_partial_evasions: bool = False
    """Keep answers that answer the question but add that some detail is not stated."""
    min_korean: float = Field(default=0.6, ge=0, le=1)
    """Minimum fraction of Hangul among the letters of a question or an answer."""
    near_duplicate: float = Field(default=0.76, gt=0, le=1)
    """Minimum Jaccard similarity (3-grams of question and answer) at which two rows are near duplicates. The later row
    is dropped."""
    near_duplicate_question: float = Field(default=0.6, gt=0, le=1)
    """Minimum similarity that the questions alone must also have for two rows to be near duplicates. Otherwise,
    different questions about one chunk would be near duplicates if they had the same long answer."""
    holdout: Literal["auto", "document", "section", "chunk"] = "auto"
    """What to keep out of training because evaluation questions are about it. document: whole documents; section: the
    riders (특별약관), and the parts (관) of the general conditions, that contain gold chunks; chunk: only the gold
    chunks, which is the weakest split; auto: documents if at least two others are left for training, otherwise
    sections."""
    leak_similarity: float = Field(default=0.85, gt=0, le=1)
    """A chunk is excluded from training if its Jaccard similarity (5-grams) to a gold chunk of the evaluation is at
    least this high. A training question that is this similar to an evaluation question is dropped as `leak`."""
    questions_sha256: str | None = None
    """Expected hash of the evaluation questions. A file with different questions is rejected; None accepts any file."""
    retriever_check: bool = True
    """Search for every question with BM25 and record the rank of the question's own chunk."""
    max_rank: int | None = Field(default=None, ge=1)
    """Worst rank that a row's chunk may have in the BM25 search. Rows with a worse rank are dropped as `not_retrieved`;
    None drops no rows."""
    workers: int | None = Field(default=None, ge=1)
    """Number of processes. None uses one per CPU core, or a single process for a small dataset."""
    dataset: DatasetConfig = DatasetConfig()
    """Content of the training files."""

    @field_validator("rules")
    @classmethod
    def _reject_duplicates(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        if duplicates := sorted({name for name in rules if rules.count(name) > 1}):
            raise ValueError(", ".join(f"duplicate rule {name!r}" for name in duplicates) + "; name each rule once")
        return rules
