"""A new edition of a policy: only what changed gets new chunks, and the changes are reported."""

from __future__ import annotations

import json
from pathlib import Path

from insurance_rag.chunks import read_chunks
from insurance_rag.cli.main import main
from insurance_rag.config import GenerationConfig
from insurance_rag.core.records.ingest import EditionChanges
from insurance_rag.planning.prompt_spec import PromptSpec

DETAIL = "회사는 보험증권에 적힌 금액의 {n}배를 {n}0영업일 이내에 보험수익자에게 현금으로 지급하고 그 사실을 알립니다."


def policy(articles: dict[str, str], special: str = "이 특별약관에 정하지 않은 사항은 보통약관을 따릅니다.") -> str:
    main_part = "\n".join(f"{heading}\n{body}" for heading, body in articles.items())
    return f"가온 건강보험 보통약관\n제1관 총칙\n{main_part}\n수술 특별약관\n제1조(준용규정)\n{special}\n"


OLD = {f"제{n}조(제목{n})": f"① {DETAIL.format(n=n)}\n② 제{n}항을 따릅니다." for n in range(1, 13)}


def changes(tmp_path: Path, old: str, new: str) -> tuple[EditionChanges, list[str], list[str]]:
    """Ingest both editions. Return the changes, the ids with new generation keys, and the ids whose keys are gone."""
    keys = []
    for name, text, options in (("old", old, []), ("new", new, ["--previous", str(tmp_path / "old.jsonl")])):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
        out = tmp_path / f"{name}.jsonl"
        assert main(["ingest", str(tmp_path / f"{name}.txt"), "--out", str(out), *options]) == 0
        spec = PromptSpec.from_config(GenerationConfig())
        keys.append({spec.cache_key(chunk): chunk.chunk_id for chunk in read_chunks(out)})
    found = EditionChanges.model_validate(json.loads((tmp_path / "new.changes.json").read_text(encoding="utf-8")))
    before, after = keys
    return found, [after[k] for k in after if k not in before], [before[k] for k in before if k not in after]


def test_three_changed_one_inserted_and_one_removed_article(tmp_path: Path) -> None:
    new = {
        heading: body.replace("현금", "수표") if n in (2, 5, 9) else body
        for n, (heading, body) in enumerate(OLD.items(), 1)
    }
    entries = [*new.items()]
    entries.insert(7, ("제7조의2(신설)", "새로 생긴 조항입니다."))
    del entries[3]
    found, new_keys, gone = changes(tmp_path, policy(OLD), policy(dict(entries)))
    prefix = "가온-건강보험/보통약관/"
    assert [change.new for change in found.changed] == [prefix + name for name in ("제2조", "제5조", "제9조")]
    assert all(change.old == change.new and change.similarity > 0.8 for change in found.changed)
    assert (found.added, found.removed, found.moved) == ([prefix + "제7조의2"], [prefix + "제4조"], [])
    assert sorted(new_keys) == sorted(prefix + name for name in ("제2조", "제5조", "제7조의2", "제9조"))
    assert sorted(gone) == sorted(prefix + name for name in ("제2조", "제4조", "제5조", "제9조"))
    assert len(found.unchanged) == 9


def test_articles_that_got_another_number_are_moved(tmp_path: Path) -> None:
    bodies = [*OLD.values()]
    bodies.insert(4, "완전히 새로운 내용이 여기에 들어갑니다.")
    renumbered = {f"제{n}조(제목{n - (n > 5)})": body for n, body in enumerate(bodies, 1)}
    found, _, _ = changes(tmp_path, policy(OLD), policy(renumbered))
    assert [(move.old[-3:], move.new[-3:]) for move in found.moved][:2] == [("제5조", "제6조"), ("제6조", "제7조")]
    assert all(not move.same_heading for move in found.moved)
    assert len(found.moved) == 8 and len(found.added) == 1 and not (found.removed or found.changed)


def test_the_same_edition_again(tmp_path: Path) -> None:
    found, new_keys, gone = changes(tmp_path, policy(OLD), policy(OLD))
    assert len(found.unchanged) == 13 and new_keys == gone == []
    assert not (found.added or found.changed or found.moved or found.removed)


def test_a_removed_part(tmp_path: Path) -> None:
    found, _, _ = changes(tmp_path, policy(OLD) + "입원 특별약관\n제1조(지급)\n입원하면 지급합니다.\n", policy(OLD))
    assert found.removed == ["가온-건강보험/입원-특별약관/제1조"]
    assert len(found.unchanged) == 13
