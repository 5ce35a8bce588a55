"""Load a drill's YAML; every mistake in it is named with file, line, place, and what would be right."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.repository import REPOSITORY_KINDS
from airflow_dr_provider.spec.sandbox import SANDBOX_KINDS
from airflow_dr_provider.spec.yaml_nodes import LARGEST, Document, Problem, read_document

SUFFIXES = (".yaml", ".yml")


def load_spec(path: Path) -> DrillSpec:
    """Load a spec; relative paths in it start from its own folder.

    :raises SpecError: naming every problem, one a line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except IsADirectoryError:
        raise SpecError(f"{path}: is a folder; name the YAML file of a drill.") from None
    except OSError as error:
        raise SpecError(f"{path}: can't be read: {error.strerror}.") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: is no text in UTF-8 (byte {error.start}).") from None
    return load_text(text, source=str(path), base=path.absolute().parent)


def load_text(text: str, *, source: str, base: Path) -> DrillSpec:
    """Load a spec from its text.

    :param source: what messages call the file.
    :param base: the folder that relative paths start from.
    :raises SpecError: naming every problem, one a line.
    """
    document = read_document(text)
    if not document.problems and not isinstance(document.value, dict):
        document.problems.append(Problem(document.lines.get((), 1), (), "has to be a mapping; it begins with version: 1"))
    if document.problems:
        raise _error(source, document.problems)
    try:
        spec = DrillSpec.model_validate(document.value)
    except ValidationError as error:
        raise _error(source, _problems(error, document)) from None
    return _absolute(spec, base)


def find_specs(paths: Iterable[Path]) -> list[Path]:
    """The YAML files that paths name; a folder stands for those in it and below, sorted."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found.extend(sorted(entry for entry in path.rglob("*") if entry.suffix in SUFFIXES and entry.is_file()))
        else:
            found.append(path)
    return found


# -- snapshots ---------------------------------------------------------------------------------------------------------
def spec_snapshot(spec: DrillSpec) -> dict[str, Any]:
    """A spec as JSON that reads back, paths absolute."""
    return spec.model_dump(mode="json", exclude_none=True)


def spec_from_snapshot(snapshot: dict[str, Any]) -> DrillSpec:
    """The spec of a snapshot.

    :raises SpecError: when it was made by a version of this package that is too different.
    """
    try:
        return DrillSpec.model_validate(snapshot)
    except ValidationError as error:
        raise SpecError(f"The kept spec of this run can't be read by this version: {error.errors()[0]['msg']}.") from None


def spec_digest(spec: DrillSpec) -> str:
    """SHA-256 of a spec's canonical snapshot: the same in every process, another after any change."""
    text = json.dumps(spec_snapshot(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _absolute(spec: DrillSpec, base: Path) -> DrillSpec:
    """The same spec with every path absolute, ``..`` folded."""

    def fold(value: Any) -> Any:
        if isinstance(value, Path):
            return Path(os.path.normpath(base / value))
        if isinstance(value, tuple):
            return tuple(fold(entry) for entry in value)
        if isinstance(value, BaseModel):
            return value.model_copy(update={name: fold(getattr(value, name)) for name in type(value).model_fields})
        return value

    folded: DrillSpec = fold(spec)
    return folded


# -- messages ----------------------------------------------------------------------------------------------------------
def _error(source: str, problems: Iterable[Problem]) -> SpecError:
    ordered = sorted(problems, key=lambda problem: (problem.line, [str(part) for part in problem.path]))
    lines = [_line(source, problem) for problem in ordered]
    facts = [{"line": p.line, "path": dotted(p.path), "message": p.message} for p in ordered]
    return SpecError("\n".join(lines), facts={"problems": facts})


def _line(source: str, problem: Problem) -> str:
    place = f"{source}:{problem.line}" if problem.line else source
    path = f"{dotted(problem.path)}: " if problem.path else ""
    return f"{place}: {path}{problem.message}"


def dotted(path: tuple[str | int, ...]) -> str:
    """A place in a document: ``tiers[1].sandbox.kind``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _problems(error: ValidationError, document: Document) -> list[Problem]:
    found: dict[tuple[tuple[str | int, ...], str], Problem] = {}
    entries = error.errors(include_url=False)
    wrong_words = {_real(tuple(entry["loc"]), document) for entry in entries if entry["type"] == "literal_error"}
    for entry in entries:
        path = _real(tuple(entry["loc"]), document)
        # A choice between a word and a mapping complains twice, and a list whose entries are wrong seems empty as well.
        if (entry["type"] == "model_type" and path in wrong_words) or (entry["type"] == "too_short" and entry["input"]):
            continue
        message = _message(entry, path, document)
        if message is not None:
            found.setdefault((path, message), Problem(_line_of(path, document), path, message))
    return list(found.values())


def _real(path: tuple[str | int, ...], document: Document) -> tuple[str | int, ...]:
    """A place of the document: without the names of a union's branches, which pydantic puts in between."""
    real: tuple[str | int, ...] = ()
    for index, part in enumerate(path):
        last = index == len(path) - 1
        if (*real, part) in document.lines or (last and not _is_branch(part)):
            real = (*real, part)
    return real


def _is_branch(part: str | int) -> bool:
    return isinstance(part, str) and (
        part in ("FileReference", "int", "str") or part.startswith(("literal[", "function-", "constrained"))
    )


def _line_of(path: tuple[str | int, ...], document: Document) -> int:
    while path and path not in document.lines:
        path = path[:-1]
    return document.lines.get(path, 0)


def _message(entry: Any, path: tuple[str | int, ...], document: Document) -> str | None:
    kind, given, context = entry["type"], entry.get("input"), entry.get("ctx", {})
    name = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        return f"is no key here{_close(name, known)}; known: {', '.join(known)}" if known else "is no key here"
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        wanted = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        if path and path[-1] == "kind":
            wanted = list(REPOSITORY_KINDS if "repository" in path else SANDBOX_KINDS)
            what = "repository" if "repository" in path else "sandbox"
            return f"{given!r} is not a {what}; known: {', '.join(wanted)}{_close(str(given), wanted)}"
        return f"{given!r} isn't possible; it is {' or '.join(wanted)}{_close(str(given), wanted)}"
    if kind == "value_error":
        return str(context.get("error", entry["msg"]))
    if kind == "string_pattern_mismatch":
        return f"{given!r} is no name that can be used here; it has to match {context.get('pattern')}"
    if kind in ("string_type", "string_sub_type"):
        return f'{given!r} is no text; put it in quotes: "{given}"'
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{_short(given)} is no mapping; write keys and values"
    if kind in ("tuple_type", "list_type"):
        return f"{_short(given)} is no list; write [a, b]"
    return f"{_short(given)}: {entry['msg'][0].lower()}{entry['msg'][1:]}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _close(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _known_keys(path: tuple[str | int, ...]) -> list[str]:
    """The keys that a mapping at a place may have, read from the models."""
    model: Any = DrillSpec
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) if model is not None else None
        model = _model_in(field.annotation) if field is not None else None
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
