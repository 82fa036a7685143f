"""Champion and challengers in a plain folder: a copy of each adapter under its hash, and a log of every decision.

registry/champion.json     {model, adapter, sha256, base_model, evaluation, since}; `adapter` is what to serve
registry/adapters/SHA/     the adapter as it was judged
registry/decisions.jsonl   one line a decision
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.hashing import sha256_tree


class Registry:
    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def champion(self) -> dict[str, Any] | None:
        path = self.root / "champion.json"
        return read_json(path) if path.exists() else None

    def adapter(self, sha256: str) -> Path:
        return self.root / "adapters" / sha256[:16]

    def beside(self, adapters: dict[str, str]) -> dict[str, str]:
        """The adapters (name -> folder) and, unless it is one of them, the champion they have to beat."""
        champion = self.champion
        if champion is None or champion["sha256"] in (sha256_tree(Path(folder)) for folder in adapters.values()):
            return adapters
        return {"champion": str(self.adapter(champion["sha256"])), **adapters}

    def champion_in(self, summary: dict[str, Any]) -> str | None:
        """The name under which the champion was evaluated, None where there is no champion yet.

        Raises InvalidInputError where it was not: a challenger is only ever compared in one evaluation with the champion.
        """
        champion = self.champion
        if champion is None:
            return None
        for name, adapter in summary["adapters"].items():
            if adapter["sha256"] == champion["sha256"]:
                return str(name)
        folder = self.adapter(champion["sha256"])
        raise InvalidInputError(f"the champion {champion['model']} was not evaluated; add --adapter champion={folder}")

    def record(self, decision: dict[str, Any], summary: dict[str, Any]) -> None:
        """Keep the judged adapters and the decision; a promoted one becomes the champion, last and atomically."""
        self.root.mkdir(parents=True, exist_ok=True)
        for adapter in summary["adapters"].values():
            self._keep(Path(adapter["uri"]), adapter["sha256"])
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"at": now, **{key: decision[key] for key in ("decision", "model", "champion", "reason", "evaluation")}}
        with (self.root / "decisions.jsonl").open("ab") as f:
            f.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            f.flush()
            os.fsync(f.fileno())
        if decision["decision"] == "promote":
            sha256 = summary["adapters"][decision["model"]]["sha256"]
            champion = {
                "model": decision["model"],
                "adapter": self.adapter(sha256).relative_to(self.root).as_posix(),
                "sha256": sha256,
                "base_model": summary["base_model"],
                "evaluation": decision["evaluation"],
                "since": now,
            }
            write_json(self.root / "champion.json", champion)

    def _keep(self, folder: Path, sha256: str) -> None:
        target = self.adapter(sha256)
        if target.is_dir():
            return
        if sha256_tree(folder) != sha256:
            raise InvalidInputError(f"{folder}: changed since it was evaluated; evaluate it again")
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".copy."))
        shutil.copytree(folder, beside, dirs_exist_ok=True)
        beside.rename(target)
