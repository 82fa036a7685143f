"""A reader of a page: a small policy as PDF, a terminal, and the commands and outputs that a page shows.

python -m tests.reader policies/policy.pdf     write the policy of the tutorial
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ingest.pdf_pages import PITCH, Pages

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/tutorial-own-policy.md"
PORT = "8787"
"""Port of the simulator on the page. The test replaces it by a free one."""
PRODUCT = "도란 든든 상해보험"
POLICY = (
    "보통약관",
    "제1관 목적 및 용어의 정의",
    "제1조(목적)|이 보험계약은 계약자와 회사 사이에 피보험자의 상해에 대한 위험을 보장하기 위하여 체결됩니다.",
    "제2조(용어의 정의)|상해란 보험기간 중에 발생한 급격하고도 우연한 외래의 사고로 신체에 입은 손해를 말합니다.",
    "제2관 보험금의 지급",
    "제3조(보험금의 지급사유)|회사는 피보험자가 장해상태가 되었을 때에는 장해보험금으로 1,000만원을 지급합니다.",
    "제4조(보험금을 지급하지 않는 사유)|회사는 피보험자가 고의로 자신을 해친 경우에는 보험금을 지급하지 않습니다.",
    "제5조(보험금의 청구)|수익자는 보험금을 청구할 때 청구서와 사고증명서를 회사에 제출하여야 합니다.",
    "제6조(보험금의 지급절차)|회사는 서류를 접수한 날부터 3영업일 이내에 보험금을 지급합니다.",
    "제3관 계약의 성립과 유지",
    "제7조(보험계약의 성립)|회사는 청약을 받은 날부터 30일 이내에 승낙 또는 거절하여야 합니다.",
    "제8조(청약의 철회)|계약자는 보험증권을 받은 날부터 15일 이내에 그 청약을 철회할 수 있습니다.",
    "제9조(보험료의 납입연체)|회사는 보험료가 연체된 때에는 14일 이상의 기간을 납입최고기간으로 정합니다.",
    "제10조(계약의 해지)|계약자는 언제든지 계약을 해지할 수 있으며, 회사는 해약환급금을 90일 이내에 지급합니다.",
    "골절진단 특별약관",
    "제1조(보험금의 지급사유)|회사는 피보험자가 골절로 진단이 확정된 때에는 골절진단보험금으로 50만원을 지급합니다.",
    "제2조(골절의 정의)|골절이란 의사가 방사선 검사로 진단한 뼈의 부러짐을 말하며, 치아의 파절은 제외합니다.",
    "제3조(특별약관의 보험기간)|이 특별약관의 보험기간은 3년으로 하며, 보통약관의 보험기간을 넘을 수 없습니다.",
    "입원일당 특별약관",
    "제1조(보험금의 지급사유)|회사는 피보험자가 4일 이상 입원한 때에는 입원 1일당 3만원을 지급합니다.",
    "제2조(지급한도)|입원일당은 같은 상해에 대하여 180일을 한도로 지급합니다.",
    "제3조(특별약관의 해지)|계약자는 이 특별약관만을 해지할 수 있으며, 회사는 해약환급금을 10일 이내에 지급합니다.",
)
"""Lines of a policy. An article's title and text are separated by `|`."""


@dataclass
class Step:
    """A shell block of the page, and the lines that the page shows as its output."""

    commands: str
    shown: list[str]


def read_steps(page: Path = PAGE) -> list[Step]:
    """Return the `sh` blocks of a page. A `text` block after one shows its output."""
    blocks = re.findall(r"^```(sh|text)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    steps: list[Step] = []
    for language, body in blocks:
        if language == "sh":
            steps.append(Step(body, []))
        else:
            steps[-1].shown += body.splitlines()
    return steps


def write_policy(path: Path) -> None:
    """Write the policy as PDF, with a header and a number on each page."""
    pages = Pages(path)
    lines = [PRODUCT, *POLICY]
    number, y = 1, 110.0
    for line in lines:
        title, _, text = line.partition("|")
        if y > 700:
            _end_page(pages, number)
            number, y = number + 1, 110.0
        if text:
            pages.text(80, y, title)
            y = pages.flow(80, y + PITCH, 430, text) + PITCH / 2
        else:
            pages.centered(y, title, size=14)
            y += 2 * PITCH
    _end_page(pages, number)
    pages.save()


def _end_page(pages: Pages, number: int) -> None:
    pages.text(80, 50, f"{PRODUCT} 약관")
    pages.centered(800, f"- {number} -")
    pages.end_page()


class Shell:
    """A bash process in which the commands of the page run one after the other, as in a terminal."""

    END = "=== exit code"

    def __init__(self, folder: Path) -> None:
        settings = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env={**os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[list[str], int]:
        """Run a command, and return the lines that it prints and its exit code."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{command}\necho '{self.END}' $?\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line.startswith(self.END):
                return lines, int(line.removeprefix(self.END))
            lines.append(line.rstrip("\n"))
        raise AssertionError(f"bash ended during {command!r}: {lines}")

    def close(self) -> None:
        """End bash and what it started in the background."""
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


def review_like_a_person(path: Path) -> None:
    """Approve all questions in the exported file but the third, as in a spreadsheet."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(row for row in rows if row["status"] == "kept"):
        row["action"], row["reason"] = ("reject", "unclear") if i == 2 else ("approve", "")
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def missing_lines(shown: list[str], printed: list[str]) -> list[str]:
    """Return the lines of the page that were not printed. `...` matches anything."""
    patterns = {line: ".*".join(map(re.escape, line.split("..."))) for line in shown}
    return [line for line, pattern in patterns.items() if not any(re.fullmatch(pattern, text) for text in printed)]


def run_step(shell: Shell, step: Step, folder: Path, port: str) -> Iterator[tuple[str, float]]:
    """Run the commands of a block in the reader's folder. Yield each with its duration in seconds.

    Raises AssertionError if a command ends with another exit code than the page says, or prints something else.
    """
    if "--import" in step.commands:
        review_like_a_person(folder / "review.csv")
    printed: list[str] = []
    for command in step.commands.replace(PORT, port).replace("\\\n", "").splitlines():
        started = time.monotonic()
        lines, exit_code = shell.run(command)
        yield " ".join(command.split()), time.monotonic() - started
        expected = 4 if command.startswith("insurance-rag promote") else 0
        assert exit_code == expected, "\n".join([command, *lines])
        printed += lines
    missing = missing_lines(step.shown, printed)
    assert not missing, "\n".join(["the page shows lines that were not printed:", *missing, "", *printed])


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    write_policy(target)
