"""Write the result of many campaigns as a table: how often each fault fired, and which invariants were broken."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from chaos.checker import ENDS, INVARIANTS
from chaos.menu import KINDS
from chaos.outcome import Outcome, read_outcomes, write_outcomes
from insurance_rag.core.files import atomic_write


def failure_text(outcome: Outcome, folder: Path, command: str) -> str:
    """Return what a person needs to reproduce a failed campaign."""
    fired = [f"  {fault.started_s:8.1f} s {fault.stage}: {fault.kind}: {fault.what}" for fault in outcome.faults]
    broken = [f"  {violation.invariant}: {violation.evidence}" for violation in outcome.violations]
    return "\n".join(
        [
            f"FAILED {outcome.scenario}",
            "faults that fired (seconds on the server's clock):",
            *fired,
            "broken invariants:",
            *broken,
            f"files: {folder}",
            f"again: {command}",
        ]
    )


def success_line(outcome: Outcome) -> str:
    """Return one line about a campaign without violations."""
    fired = ", ".join(fault.kind for fault in outcome.faults) or "no fault fired"
    tries = sum(outcome.tries.values())
    return f"ok     seed {outcome.seed}: {outcome.chunks} chunks, {fired}; {tries} tries, {outcome.seconds:.1f} s"


def report(outcomes: Sequence[Outcome], options: str) -> str:
    """Return the report on all campaigns as Markdown. `options` are those of the command, besides seed and runs."""
    failed = [outcome for outcome in outcomes if outcome.violations]
    codes = sum((Counter(dict(outcome.exit_codes)) for outcome in outcomes), Counter[int]())
    seeds = [outcome.seed for outcome in outcomes]
    return "\n".join(
        [
            f"`python -m chaos --seed {min(seeds)} --runs {max(seeds) - min(seeds) + 1}{options}` on "
            f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores: "
            f"{len(outcomes)} campaigns, {sum(outcome.chunks for outcome in outcomes):,} chunks, "
            f"{sum(len(outcome.faults) for outcome in outcomes)} faults, "
            f"{sum(outcome.seconds for outcome in outcomes) / 60:.1f} minutes. "
            f"**{len(failed)} campaigns broke an invariant"
            f"{'' if not failed else ': seeds ' + ', '.join(str(outcome.seed) for outcome in failed)}.**",
            "",
            "| fault | fired | with calls in flight | campaigns | what it does |",
            "|---|---:|---:|---:|---|",
            *_fault_rows(outcomes),
            "",
            "| invariant | campaigns that broke it |",
            "|---|---:|",
            *(f"| {name} | {_broken(outcomes, name)} |" for name in (*INVARIANTS, ENDS)),
            "",
            f"Answers that were delivered twice, because a fault interrupted the first delivery: "
            f"{sum(outcome.repeated for outcome in outcomes)}. Records that were damaged on purpose: "
            f"{sum(outcome.damaged for outcome in outcomes)}. Processes by exit code (negative: ended by this signal): "
            f"{', '.join(f'{code}: {n}' for code, n in sorted(codes.items()))}.",
            "",
        ]
    )


def write_results(outcomes: Sequence[Outcome], folder: Path, name: str, options: str, page: Path | None) -> None:
    """Add the outcomes to those in FOLDER/NAME.json, and write the report on all of them to NAME.md and the page.

    A campaign that was repeated replaces its earlier outcome. In the page, the report replaces what is between the
    lines `<!-- NAME -->` and `<!-- end of NAME -->`.
    """
    by_seed = {outcome.seed: outcome for outcome in [*read_outcomes(folder / f"{name}.json"), *outcomes]}
    every = [by_seed[seed] for seed in sorted(by_seed)]
    write_outcomes(folder / f"{name}.json", every)
    text = report(every, options)
    with atomic_write(folder / f"{name}.md") as f:
        f.write(f"# Chaos campaigns: {name}\n\n{text}")
    if page:
        before, rest = page.read_text(encoding="utf-8").split(f"<!-- {name} -->\n", 1)
        _, after = rest.split(f"<!-- end of {name} -->", 1)
        with atomic_write(page) as f:
            f.write(f"{before}<!-- {name} -->\n\n{text}\n<!-- end of {name} -->{after}")


def _fault_rows(outcomes: Sequence[Outcome]) -> list[str]:
    fired = Counter(fault.kind for outcome in outcomes for fault in outcome.faults)
    campaigns = Counter(kind for outcome in outcomes for kind in {fault.kind for fault in outcome.faults})
    busy = Counter(fault.kind for outcome in outcomes for fault in outcome.faults if fault.in_flight)
    rows = []
    for kind in KINDS:
        obstacle = kind.obstacle()
        count = "skipped" if obstacle and not fired[kind.name] else str(fired[kind.name])
        note = f" ({obstacle})" if obstacle else ""
        rows.append(
            f"| {kind.name} | {count} | {busy[kind.name]} | {campaigns[kind.name]} | {kind.description}{note} |"
        )
    return rows


def _broken(outcomes: Sequence[Outcome], invariant: str) -> int:
    return sum(any(found.invariant == invariant for found in outcome.violations) for outcome in outcomes)
