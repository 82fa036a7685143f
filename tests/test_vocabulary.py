"""The vocabulary of the project: one word for one thing, and plain English.

Scans every text file that people read: code, comments, docs, UI texts, error messages. `docs/glossary.md` defines the
terms to use instead.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Suffixes of the files that are scanned; files without a suffix (Makefile, Dockerfile) are scanned too.
SUFFIXES = {".py", ".md", ".txt", ".yaml", ".yml", ".toml", ".sh", ".j2", ".js", ".css", ".json", ""}
#: Data and texts of others.
EXCLUDED = re.compile(
    r"LICENSE|requirements\.lock|tests/test_vocabulary\.py|docs/results/.*\.json|include/insurance_rag/samples/.*"
)

#: Words and phrases (case-insensitive) -> what to write instead.
WORDS: dict[str, str] = {
    r"mend(s|ed|ing|able)?": "fix, repair",
    r"anew": "again",
    r"beside": "next to, in addition to",
    r"(seconds?|tokens?|calls?|requests?|rows?|steps?|words?|lines?|bytes|MB|GB|GiB|times|digits?) an? "
    r"(second|minute|hour|day|token|chunk|key|shard|worker|row|step|gpu|question|model|batch|run|process|call)": "per",
    r"an? (key|shard|worker|minute|second|card|gpu) each": "one per",
    r"told": "configured, reported",
    r"tell failure|is told to|tells? (a|the) (person|user|operator)": "report, show, notify",
    r"(take|takes|took|taken|taking) over": "reuse",
    r"stands? (in|on|at|there|already|twice|behind|above|below)|stood": "is",
    r"lies? (in|on|at|there|under|below|beyond)": "is",
    r"ledgers?": "journal",
    r"(the|its|their|run's|own) pace|pace log|pace\.jsonl": "rate limit state, rate limit log",
    r"the books|books\.(json|py)": "usage",
    r"the news": "what changed",
    r"twins?": "duplicate, counterpart",
    r"crowded": "with distractors",
    r"look-?alikes?": "simulator",
    r"parrots?": "fake model",
    r"spine": "core",
    r"the source('s)? (algorithm|system|figures?|settings?|recipe|way|format|rows?|does|did|had|has|cut|says)": (
        "the reference design"
    ),
    r"source[- ]faithful": "reference",
    r"SPEC (section|§)|the spec('s)?": "docs/origin.md",
    r"trap \d": "describe it",
    r"for good": "permanently",
    r"all the same": "nevertheless",
    r"set(s|ting)? aside": "quarantine",
    r"way(s)? out": "what to do",
    r"hand(s|ed)? (over|in)": "submit, pass",
    r"held against": "compared with",
    r"asked again|asks? again": "repair, send again",
    r"as of now|by then": "now",
    r"goes on|go on|went on|going on": "continue",
    r"half of what|what is open": "unanswered, unfinished",
    r"ailing": "failing",
    r"leftovers?|left over": "redistributed",
    r"heirs?": "reassigned_to",
    r"scouts?": "probe",
}

#: Names of code that were replaced.
NAMES: tuple[str, ...] = (
    "WrongInput", "Ledger", "Pace", "PaceLog", "read_pace", "Answerer", "SourceFaithfulAnswerer", "WideLora", "Trained",
    "take_over", "adopt", "prove", "plan_leftover", "generate_leftover", "second_opinions", "numbers_right",
    "source_faithful", "prompt_room", "teach_stop", "too_long", "leave_together", "tell_failure", "late_after",
    "problems_of", "ASKED_AGAIN", "is_news", "free_card", "mendable", "mends_open", "no_mend", "asked_again",
    "shard_statement", "write_books", "DOUBTS", "SECOND_ROUNDS", "_may_scout", "_at_the_edge", "_suspicion",
    "over_the_caps", "without_answer", "spoil_items", "Spoil", "Wish", "source_like",
)  # fmt: skip


def text_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in listed.stdout.splitlines() if not EXCLUDED.fullmatch(name)]
    return [ROOT / name for name in names if Path(name).suffix in SUFFIXES and (ROOT / name).is_file()]


def offences(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, what was found, what to write instead)."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, instead in WORDS.items():
            for match in re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", line, re.IGNORECASE):
                yield number, match.group(), instead
        for name in NAMES:
            if re.search(rf"(?<!\w){name}(?!\w)", line):
                yield number, name, "the name that replaced it"


def test_no_forbidden_word_or_name() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what!r}: write {instead}"
        for path in text_files()
        for line, what, instead in offences(path.read_text(encoding="utf-8"))
    ]
    assert found == [], f"{len(found)} forbidden words:\n" + "\n".join(found[:60])


@pytest.mark.parametrize(
    "line",
    [
        "# Mend the pairs and write them anew.",
        "10 requests a minute, 3 rows a chunk",
        "raise WrongInput(problems)",
        "the ledger of the shard",
        "what the source does",
        "A refresh takes over what it knows.",
        "| told | seconds |",
    ],
)
def test_a_word_that_is_put_back_is_found(line: str) -> None:
    assert list(offences(line))


@pytest.mark.parametrize("line", ["amended", "The beside-the-point", "a folder of source files", "retold", "Pacemaker"])
def test_other_words_are_not(line: str) -> None:
    assert not list(offences(line))
