"""List the documents to read: files, folders, and what `documents.yaml` says about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.config.ingest import DocumentSettings, IngestConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.yaml_text import parse_yaml

SETTINGS_FILE = "documents.yaml"
SUFFIXES = (".pdf", ".docx", ".doc", ".hwpx", ".hwp", ".html", ".htm", ".md", ".markdown", ".txt")
"""Files in folders with other suffixes are not documents. A file that is named directly may have any suffix."""


@dataclass(frozen=True)
class Source:
    """One document that was given, with what is known about it."""

    path: Path
    name: str
    """Value of `metadata.source`: the file name, with the folder in front if the name alone is not unique."""
    sha256: str
    settings: DocumentSettings


@dataclass(frozen=True)
class Sources:
    """The documents to read, and what is wrong with the others."""

    sources: tuple[Source, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def find_sources(documents: Sequence[Path], config: IngestConfig, out: Path) -> Sources:
    """Return the documents to read. Files that `ingest` itself wrote next to `out` are left out.

    A document that was given twice, or whose content is the same as that of an earlier one, is read once, with a
    warning.
    """
    files, problems = _files(documents, out)
    folders = [path.parent for path in files] + [path for path in documents if path.is_dir()]
    settings = _settings_of(folders, problems)
    if config.document_id and len(files) > 1:
        problems.append(
            f"--id {config.document_id}: given for {len(files)} documents; give it for one document only, or write the "
            f"ids into a {SETTINGS_FILE}"
        )
        files = []
    sources: dict[str, Source] = {}
    warnings: list[str] = []
    names = _names(files)
    for path in files:
        try:
            digest = sha256_file(path)
        except OSError as e:
            problems.append(f"{path}: cannot be read ({e.strerror}); check the file and its permissions")
            continue
        if digest in sources:
            warnings.append(f"{path}: has the same content as {sources[digest].path}; it is read once")
            continue
        sources[digest] = Source(path, names[path], digest, settings.get(path.resolve(), DocumentSettings()))
    return Sources(tuple(sources.values()), tuple(problems), tuple(warnings))


def _files(documents: Sequence[Path], out: Path) -> tuple[list[Path], list[str]]:
    """Return the files that were named, and those in the folders that were named, sorted."""
    written = {out.resolve(), out.with_suffix(".report.html").resolve()}
    files: dict[Path, Path] = {}
    problems: list[str] = []
    for document in documents:
        if document.is_dir():
            inside = [path for path in _inside(document) if path.resolve() not in written]
            if not inside:
                problems.append(
                    f"{document}: no documents in this folder; put PDF, HWPX, DOCX, HTML, Markdown or text files there"
                )
            for path in inside:
                files.setdefault(path.resolve(), path)
        elif document.exists():
            files.setdefault(document.resolve(), document)
        else:
            problems.append(f"{document}: no such file or folder; check the path")
    if not documents:
        problems.append("no documents given; name at least one file or folder")
    return [*files.values()], problems


def _inside(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "~$")) for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not hidden:
            yield path


def _names(files: Sequence[Path]) -> Mapping[Path, str]:
    """Return the shortest ends of the paths that differ, at least the file names."""
    names = {path: path.name for path in files}
    for depth in range(2, 20):
        repeated = {name for name in names.values() if [*names.values()].count(name) > 1}
        if not repeated:
            break
        for path, name in names.items():
            if name in repeated:
                names[path] = "/".join(path.resolve().parts[-depth:]).lstrip("/")
    return names


def _settings_of(folders: Iterable[Path], problems: list[str]) -> dict[Path, DocumentSettings]:
    """Return the settings from the files `documents.yaml` in the folders, by resolved path."""
    found: dict[Path, DocumentSettings] = {}
    for file in sorted({folder.resolve() / SETTINGS_FILE for folder in folders}):
        if not file.is_file():
            continue
        try:
            read = read_settings(file)
        except InvalidInputError as e:
            problems += e.problems
            continue
        for name, settings in read.items():
            path = file.parent / name
            if path.is_file():
                found[path.resolve()] = settings
            else:
                problems.append(f"{file}: {name}: no such document; correct the name or remove the entry")
    return found


def read_settings(file: Path) -> dict[str, DocumentSettings]:
    """Read a file that maps file names to company, product, policy_type and id.

    Raises an InvalidInputError that lists every problem.
    """
    import yaml

    try:
        content = parse_yaml(file.read_text(encoding="utf-8-sig"))
    except OSError as e:
        raise InvalidInputError(f"{file}: cannot be read ({e.strerror}); check its permissions") from e
    except UnicodeDecodeError as e:
        raise InvalidInputError(f"{file}: byte {e.start} is not UTF-8; save the file as UTF-8") from e
    except yaml.YAMLError as e:
        line = getattr(getattr(e, "problem_mark", None), "line", 0) + 1
        raise InvalidInputError(f"{file}:{line}: not valid YAML; quote values with special characters") from e
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise InvalidInputError(
            f"{file}: not a mapping of file names; write e.g. `pet.pdf: {{company: 한빛생명, policy_type: 암보험}}`"
        )
    problems: list[str] = []
    read: dict[str, DocumentSettings] = {}
    for name, values in content.items():
        try:
            read[str(name)] = DocumentSettings.parse(values, f"{file}: {name}")
        except InvalidInputError as e:
            problems += e.problems
    if problems:
        raise InvalidInputError(problems)
    return read
