"""Load a drill's YAML; every mistake in it is named with file, line, place, and what would be right."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.spec.base import IN_WORDS
from airflow_dr_provider.spec.gate import KEPT
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.repository import SOURCE_KINDS
from airflow_dr_provider.spec.sandbox import SANDBOX_KINDS, sandbox_kinds
from airflow_dr_provider.spec.yaml_fast import read_value
from airflow_dr_provider.spec.yaml_nodes import LARGEST, Document, Problem, read_document

SUFFIXES = (".yaml", ".yml")
_MOST_PROBLEMS = 100
_LONGEST_MESSAGE = 500


Judge = Callable[[DrillSpec], Iterable[tuple[tuple[str | int, ...], str]]]
"""What a place where specs are loaded has against one: places in the document, and what is wrong there."""


def load_spec(path: Path, judge: Judge | None = None) -> DrillSpec:
    """Load a spec; relative paths in it start from its own folder.

    :param judge: has the last word on a spec that is right in itself.
    :raises SpecError: naming every problem, one a line.
    """
    try:
        mode = path.stat().st_mode
        # A pipe or a device would be waited for, or never end.
        if not stat.S_ISREG(mode):
            what = "folder" if stat.S_ISDIR(mode) else "pipe, socket or device"
            raise _file_error(path, f"is a {what}; name the YAML file of a drill.")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise _file_error(path, f"can't be read: {error.strerror}. Name the YAML file of a drill.") from None
    except ValueError:
        raise _file_error(path, "is no file's name. Name the YAML file of a drill.") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _file_error(path, f"is no text in UTF-8 (byte {error.start}); save it as UTF-8.") from None
    return load_text(text, source=str(path), base=path.absolute().parent, judge=judge)


def load_text(text: str, *, source: str, base: Path, judge: Judge | None = None) -> DrillSpec:
    """Load a spec from its text.

    :param source: what messages call the file.
    :param base: the folder that relative paths start from.
    :param judge: has the last word on a spec that is right in itself.
    :raises SpecError: naming every problem, one a line.
    """
    value = read_value(text)
    if isinstance(value, dict):
        try:
            spec = _absolute(DrillSpec.model_validate(value), base)
            if judge is None or not any(True for _ in judge(spec)):
                return spec
        except ValidationError:
            pass
        # The slow way knows the lines, and says it all again with them.
    document = read_document(text)
    if not document.broken and not isinstance(document.value, dict):
        document.broken = True
        document.problems.append(Problem(document.lines.get((), 1), (), "has to be a mapping; it begins with version: 1"))
    if document.broken:
        raise _error(source, document.problems)
    try:
        spec = DrillSpec.model_validate(document.value)
    except ValidationError as error:
        raise _error(source, [*document.problems, *_problems(error, document)]) from None
    judged = judge(spec) if judge is not None else ()
    problems = [*document.problems, *(Problem(_line_of(place, document), place, message) for place, message in judged)]
    if problems:
        raise _error(source, problems)
    return _absolute(spec, base)


def find_specs(paths: Iterable[Path]) -> list[Path]:
    """The YAML files that paths name, each once; a folder stands for those in it and below, sorted.

    Folders whose name begins with a dot are passed over: a mounted ConfigMap keeps every file a second time in one.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = (entry for entry in path.rglob("*") if entry.suffix in SUFFIXES and entry.is_file())
            visible = (entry for entry in inside if not any(part.startswith(".") for part in entry.relative_to(path).parts))
            found.update(dict.fromkeys(sorted(visible)))
        else:
            found[path] = None
    return list(found)


# -- snapshots ---------------------------------------------------------------------------------------------------------
def spec_snapshot(spec: DrillSpec) -> dict[str, Any]:
    """A spec as JSON that reads back, paths absolute."""
    return spec.model_dump(mode="json", exclude_none=True)


def spec_from_snapshot(snapshot: dict[str, Any]) -> DrillSpec:
    """The spec of a snapshot.

    :raises SpecError: when it was made by a version of this package that is too different.
    """
    try:
        return DrillSpec.model_validate(snapshot, context=KEPT)
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
        # Most parts hold no path: these stay as they are, for a copy of each would cost as much as reading them did.
        if isinstance(value, tuple):
            entries = tuple(fold(entry) for entry in value)
            return value if all(new is old for new, old in zip(entries, value, strict=True)) else entries
        if isinstance(value, BaseModel):
            parts = {name: getattr(value, name) for name in type(value).model_fields}
            changed = {name: new for name, old in parts.items() if (new := fold(old)) is not old}
            return value.model_copy(update=changed) if changed else value
        return value

    folded: DrillSpec = fold(spec)
    return folded


# -- messages ----------------------------------------------------------------------------------------------------------
def _file_error(path: Path, message: str) -> SpecError:
    return SpecError(f"{path}: {message}", facts={"problems": [{"line": 0, "path": "", "message": message}]})


def _error(source: str, problems: Iterable[Problem]) -> SpecError:
    ordered = sorted(problems, key=lambda problem: (problem.line, [str(part) for part in problem.path]))
    rest = len(ordered) - _MOST_PROBLEMS
    ordered = ordered[:_MOST_PROBLEMS]
    lines = [_line(source, problem) for problem in ordered]
    if rest > 0:
        lines.append(f"{source}: and {rest} more")
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
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        key = part if part.isprintable() and len(part) <= 60 else _short(part)
        text += f".{key}" if text else key
    return text


def _problems(error: ValidationError, document: Document) -> list[Problem]:
    found: dict[tuple[tuple[str | int, ...], str], Problem] = {}
    for number, entry in enumerate(error.errors(include_url=False)):
        path = _real(tuple(entry["loc"]), document)
        if entry["type"] in ("union_tag_invalid", "union_tag_not_found"):
            path = (*path, "kind")
        # A list whose entries are wrong seems empty as well.
        if entry["type"] == "too_short" and entry["input"]:
            continue
        # The first ones are spelled out; looking for what was meant by thousands more would take seconds.
        message = _message(entry, path, document)[:_LONGEST_MESSAGE] if number < 2 * _MOST_PROBLEMS else "is wrong"
        found.setdefault((path, message), Problem(_line_of(path, document), path, message))
    return list(found.values())


def _real(path: tuple[str | int, ...], document: Document) -> tuple[str | int, ...]:
    """A place of the document: without the names of a union's branches, which pydantic puts in between."""
    real: tuple[str | int, ...] = ()
    for index, part in enumerate(path):
        last = index == len(path) - 1
        if (*real, part) in document.lines or (last and not (isinstance(part, str) and part in _BRANCHES)):
            real = (*real, part)
    return real


_BRANCHES = ("FileReference", *SOURCE_KINDS, *SANDBOX_KINDS, "custom")
"""What pydantic puts into a place for the branch of a union that it took."""


def _line_of(path: tuple[str | int, ...], document: Document) -> int:
    while path and path not in document.lines:
        path = path[:-1]
    return document.lines.get(path, 0)


def _message(entry: Any, path: tuple[str | int, ...], document: Document) -> str:
    kind, given, context = entry["type"], entry.get("input"), entry.get("ctx", {})
    name = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1], document)
        return f"is no key here{_close(name, known)}; known: {', '.join(known)}" if known else "is no key here"
    if kind == "missing":
        meaning = _meaning(path, document)
        return f"is missing: {meaning[0].lower()}{meaning[1:]}" if meaning else "is missing"
    if given is None:
        return "is empty; write a value, or leave the key out if it may be left out"
    if kind == "union_tag_not_found":
        return f"is missing: the kind of repository; known: {', '.join(SOURCE_KINDS)}"
    if kind == "union_tag_invalid":
        return _unknown_kind(context.get("tag"), "repository", SOURCE_KINDS)
    if kind == "literal_error":
        wanted = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        if path and path[-1] == "kind":
            return _unknown_kind(given, "sandbox", sandbox_kinds())
        return f"{_quoted(given)} isn't possible; it is {' or '.join(wanted)}{_close(str(given), wanted)}"
    if kind == "value_error":
        return str(context.get("error", entry["msg"]))
    if kind == "string_pattern_mismatch":
        return f"{_quoted(given)} can't be used here; write {IN_WORDS.get(str(context.get('pattern')), 'another text')}"
    if kind in ("string_type", "string_sub_type"):
        written = document.plain.get(path)
        return (
            f'{written} is no text; put it in quotes: "{written}"' if written else f"{_short(given)} is no text; write a text"
        )
    if kind == "bool_type":
        meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(str(given).lower())
        return f"{_quoted(given)} is neither true nor false{f'; write {meant}' if meant else ''}"
    if kind in ("int_type", "int_from_float"):
        return f"{_quoted(given)} is no whole number; write one without quotes"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"{context['ge']} or more" if "ge" in context else f"{context['le']} or less"
        return f"{_short(given)} can't be used here; write {bound}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{_short(given)} is no mapping; write keys and values"
    if kind in ("tuple_type", "list_type"):
        return f"{_short(given)} is no list; write [a, b]"
    return f"{_short(given)}: {entry['msg'][0].lower()}{entry['msg'][1:]}"


def _unknown_kind(given: Any, what: str, kinds: Iterable[str]) -> str:
    known = list(kinds)
    return f"{_quoted(given)} is not a {what}; known: {', '.join(known)}{_close(str(given), known)}"


def _meaning(path: tuple[str | int, ...], document: Document) -> str:
    """What a key is for, in the models' own words; "" for no key of a mapping."""
    model = _model_at(path[:-1], document)
    field = _field(model, path[-1]) if model is not None and path else None
    return (field.description or "").rstrip(".") if field is not None else ""


def _quoted(value: Any) -> str:
    """A value as it would be written between double quotes, whatever it holds, if it is a text."""
    return _short(value) if not isinstance(value, str) else json.dumps(value[:60] + "..." * (len(value) > 60))


def _short(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _close(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word[:60], list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _known_keys(path: tuple[str | int, ...], document: Document) -> list[str]:
    """The keys that a mapping at a place may have, read from the models."""
    model = _model_at(path, document)
    return [field.alias or name for name, field in model.model_fields.items()] if model is not None else []


def _model_at(path: tuple[str | int, ...], document: Document) -> Any:
    """The model of the mapping at a place; None where there is none."""
    model: Any = DrillSpec
    value: Any = document.value
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
        if isinstance(part, int):
            continue
        field = _field(model, part) if model is not None else None
        model = _model_in(field.annotation, value) if field is not None else None
    return model


def _field(model: Any, key: Any) -> Any:
    """The field of a key; a key that is a word of Python's has an alias."""
    return model.model_fields.get(key) or next((field for field in model.model_fields.values() if field.alias == key), None)


def _model_in(annotation: Any, value: Any) -> Any:
    """The model that a value is to be of: in a union of several, the one of its kind."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = [model for inner in getattr(annotation, "__args__", ()) if (model := _model_in(inner, value)) is not None]
    kind = value.get("kind") if isinstance(value, dict) else None
    of_kind = (
        [model for model in models if {**SOURCE_KINDS, **SANDBOX_KINDS}.get(kind) is model] if isinstance(kind, str) else []
    )
    return next(iter(of_kind or models), None)
