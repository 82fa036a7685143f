"""A small set of questions about the sample policies, made once with the simulator's recorded teacher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig, QuestionsConfig
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.questions import QuestionsArtifact
from insurance_rag.questions import make_questions
from insurance_rag.questions.corpus import Corpus, make_corpus

KEYS = [ApiKey.model_validate({"id": f"k{i}", "key": f"secret-{i}"}) for i in (1, 2)]
CONFIG = QuestionsConfig(n=40, asked_share=0.2)


@dataclass(frozen=True)
class MadeSet:
    """A set and what is needed to make it again."""

    path: Path
    artifact: QuestionsArtifact
    generation: GenerationConfig


@pytest.fixture(scope="session")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return make_corpus(read_chunks("sample"))


@pytest.fixture(scope="session")
def made(simulator: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> MadeSet:
    path = tmp_path_factory.mktemp("questions") / "q.jsonl"
    generation = GenerationConfig(base_url=simulator.url)
    return MadeSet(path, make_questions("sample", path, None, KEYS, CONFIG, generation=generation), generation)
