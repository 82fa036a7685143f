"""Makes docs/command-line.md: every command with its arguments and their help, as `--help` shows them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from tools.doc_pages.markdown import GENERATED, table

from insurance_rag.cli.main import COMMANDS, build_parser
from insurance_rag.core import errors

HEAD = """\
`insurance-rag COMMAND` and `python -m insurance_rag COMMAND` are the same. Every command has `--help` with an example,
and `--json`, which prints the result as JSON on the last line. The same command again resumes what was interrupted.

Where an argument names a file or a folder, it may also be the URI of an object (`s3://`, `gs://`): see
[artifacts](deploy.md#artifacts). Variables that replace options: [environment variables](environment.md). Settings for
`--set`: [reference](reference.md)."""


def command_line_page() -> str:
    """Return the page."""
    codes: dict[int, list[str]] = {}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.PipelineError):
            codes.setdefault(value.exit_code, []).append(f"`{value.__name__}`")
    meanings = {
        0: "done",
        1: "any other error",
        2: "invalid input; all problems are listed",
        3: "incomplete; run it again",
        4: "rejected by a gate",
    }
    lines = ["# Command line", "", GENERATED, "", HEAD]
    lines += table(
        ("exit code", "meaning", "errors"),
        ((str(code), text, ", ".join(codes.get(code, []))) for code, text in meanings.items()),
    )
    parser = build_parser()
    lines += table(("command", "what it does"), ((f"[`{name}`](#{name})", text) for name, text in COMMANDS.items()))
    for name, command in subcommands(parser).items():
        lines += ["", f"## {name}", *command_lines(command, level=3)]
    return "\n".join(lines) + "\n"


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands below a parser; empty if it has none."""
    actions = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {name: command for action in actions for name, command in action.choices.items()}


def command_lines(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    """Yield the lines about one command: description, examples, arguments, and the commands below it."""
    for paragraph in (parser.description or "").strip().split("\n\n"):
        aligned = re.search(r"\S {2,}\S", paragraph)
        yield from ("", "```text", paragraph, "```") if aligned else ("", sentence(paragraph))
    examples = re.sub(r"^examples?:", "", parser.epilog or "").splitlines()
    if examples:
        yield from ("", "```sh", *(line.removeprefix("  ") for line in examples if line.strip()), "```")
    rows = [row for action in parser._actions if (row := argument_row(parser, action))]
    if rows:
        yield from table(("argument", "meaning"), rows)
    for name, command in subcommands(parser).items():
        yield from ("", f"{'#' * level} {parser.prog.split()[-1]} {name}")
        yield from command_lines(command, level + 1)


def argument_row(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str] | None:
    """Return the row about an argument; None for `--help`, `--json` and commands, which are described elsewhere."""
    if isinstance(action, argparse._HelpAction | argparse._SubParsersAction) or action.dest == "json":
        return None
    formatter = parser._get_formatter()
    value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
    shown = ", ".join(action.option_strings) or formatter._format_args(action, action.dest)
    syntax = f"`{shown} {value}`" if action.option_strings and value else f"`{shown}`"
    required = " **Required.**" if action.required and action.option_strings else ""
    text = formatter._expand_help(action) if action.help else ""
    return syntax, f"{sentence(text)}{required}"


def sentence(text: str) -> str:
    """Return help text as a sentence: with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'.' if text and text[-1] not in '.:' else ''}"
