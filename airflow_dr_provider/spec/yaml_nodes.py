"""YAML as a tree of plain values beside a map of lines: what a spec may use of YAML, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, DocumentStartEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

LARGEST = 256 * 1024
DEEPEST = 20
MOST = 10_000
"""Keys and values of one spec; with it, reading takes a second at worst."""

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """Something wrong, and where.

    :param line: from 1; 0 when it is about the file as a whole.
    :param path: the place in the document.
    """

    line: int
    path: Path
    message: str


@dataclass
class Document:
    """A parsed document.

    :param lines: the line of each value by its path; of a mapping's key under ``(*path, key)`` too.
    :param plain: how numbers and the like were written, by path: ``0123`` is the number 123.
    :param broken: whether there is no value worth a closer look.
    """

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    plain: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: bool = False


def read_document(text: str) -> Document:
    """Parse one YAML 1.2 document of mappings, lists and scalars.

    Duplicate keys, tags, aliases, several documents, and what is too large or too deep are problems, not surprises. Times stay
    text: YAML's own timestamps would lose their offset.
    """
    document = Document(broken=True)
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        document.problems.append(Problem(0, (), f"is larger than {LARGEST // 1024} KiB; a spec is a page of text"))
        return document
    try:
        if not _bounded(text, document):
            return document
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(str(part) for part in (error.context, error.problem) if part)
        document.problems.append(Problem(mark.line + 1 if mark else 0, (), f"is no YAML: {message}"))
        return document
    except (YAMLError, ValueError, OverflowError) as error:  # the last from escapes like \UFFFFFFFF
        document.problems.append(Problem(0, (), f"is no YAML: {str(error).splitlines()[0] if str(error) else 'unreadable'}"))
        return document
    if node is None:
        document.problems.append(Problem(0, (), "is empty; `airflow-dr schema` describes what belongs in it"))
        return document
    document.broken = False
    document.value = _value(node, (), document)
    return document


def _bounded(text: str, document: Document) -> bool:
    """Look at the events alone, which cost nothing however deep the text nests; whether a tree may be made of them."""
    depth = documents = nodes = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        line = event.start_mark.line + 1
        message, fatal = "", True
        if isinstance(event, DocumentStartEvent):
            documents += 1
            message = "a spec is one document; there is a second one" if documents > 1 else ""
        elif isinstance(event, AliasEvent):
            message = "aliases (*name) aren't part of a spec; write the value out"
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent, ScalarEvent)):
            nodes += 1
            fatal = False
            tag = getattr(event, "tag", None)
            if nodes > MOST:
                message, fatal = f"there are more than {MOST} keys and values; a spec is a page of text", True
            elif tag is not None and str(tag) not in ("", "None"):
                message = f"the tag {tag} isn't part of a spec; write a plain value"
            elif getattr(event, "anchor", None):
                message, fatal = "anchors (&name) aren't part of a spec; write the value out", True
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            depth += 1
            if depth > DEEPEST:
                message, fatal = f"nests deeper than {DEEPEST} levels; a spec needs five", True
        elif type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent"):
            depth -= 1
        if message:
            document.problems.append(Problem(line, (), message))
            if fatal:
                return False
    return True


def _value(node: Node, path: Path, document: Document) -> Any:
    document.lines[path] = node.start_mark.line + 1
    if isinstance(node, MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, SequenceNode):
        return [_value(child, (*path, index), document) for index, child in enumerate(node.value)]
    value = _scalar(node)
    if value is not None and not isinstance(value, str):
        document.plain[path] = str(node.value)
    return value


def _mapping(node: MappingNode, path: Path, document: Document) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, child in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            document.problems.append(Problem(line, path, "a key has to be a plain word"))
            continue
        key = str(key_node.value)
        if key in found:
            document.problems.append(Problem(line, (*path, key), f"the key {key} is there twice"))
            continue
        found[key] = _value(child, (*path, key), document)
        document.lines[(*path, key)] = line
    return found


def _scalar(node: Node) -> Any:
    text = str(node.value)
    return text if getattr(node, "style", None) in ("'", '"', "|", ">") else plain_value(str(node.tag), text)


def plain_value(tag: str, text: str) -> Any:
    """The value of a scalar that was written without quotes.

    :param tag: the one that YAML 1.2 gives it.
    """
    tag = tag.rpartition(":")[2]
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag == "int":
        digits = text.replace("_", "")
        try:
            # YAML 1.2: a leading zero means nothing; octal is 0o17.
            return int(digits, 0 if digits.lstrip("+-")[1:2].isalpha() else 10)
        except ValueError:
            return text
    if tag == "float":
        try:
            return float(text.replace("_", ""))
        except ValueError:
            return text
    return text
