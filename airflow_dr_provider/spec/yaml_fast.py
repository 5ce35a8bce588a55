"""The quick way through a sound YAML document: its value alone, by libyaml.

Reading a folder of specs is most of what parsing its DAGs costs, and nearly all specs are sound. What is found here is what
:mod:`airflow_dr_provider.spec.yaml_nodes` finds; a document that has anything out of the ordinary, an error to explain
included, is left to that one. Tests hold the two against each other.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode

from airflow_dr_provider.spec.yaml_nodes import DEEPEST, LARGEST, MOST, plain_value

try:
    import yaml
    from yaml.cyaml import CParser
except ImportError:  # PyYAML was built without libyaml
    CParser = None

NOTHING: Final = object()
"""For a document that is not for this way."""

# YAML 1.1, which libyaml reads, and 1.2 differ about other line breaks, byte order marks and control characters; so do
# tabs.
_ORDINARY = re.compile("[\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")
# Where the two were seen to differ, and what has rules of its own in each: directives, question marks that may begin a key, a
# comment right behind the head of a block scalar, and lines of blanks, which may or may not say how far one is indented.
_DOUBTFUL = re.compile(r"^%|^ +$|(?:^|[\s\[{,:-])\?|[|>][-+0-9]*#", re.MULTILINE)


def read_value(text: str) -> Any:
    """The value of a document, or :data:`NOTHING`."""
    if CParser is None or len(text) > LARGEST // 4 or not _ORDINARY.fullmatch(text) or _DOUBTFUL.search(text):
        return NOTHING
    try:
        return _read(CParser(text))
    except (yaml.YAMLError, ValueError, OverflowError):
        return NOTHING


def _read(parser: Any) -> Any:
    """Walk the events with a stack of one's own, so that no depth of nesting can matter."""
    value: Any = NOTHING
    # Of each open collection the collection itself and, of a mapping, the key that waits for its value.
    stack: list[Any] = []
    keys: list[Any] = []
    nodes = documents = 0
    while (event := parser.get_event()) is not None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            nodes += 1
            if nodes > MOST or event.anchor is not None or event.tag is not None:
                return NOTHING
            if stack and type(stack[-1]) is dict and keys[-1] is NOTHING:
                # A key is the text as it is written.
                if event.value in stack[-1]:
                    return NOTHING
                keys[-1] = event.value
                continue
            found = event.value if event.style else _plain(event.value)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            nodes += 1
            if nodes > MOST or len(stack) >= DEEPEST or event.anchor is not None or event.tag is not None:
                return NOTHING
            if stack and type(stack[-1]) is dict and keys[-1] is NOTHING:
                return NOTHING
            stack.append({} if kind is yaml.MappingStartEvent else [])
            keys.append(NOTHING)
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            found = stack.pop()
            keys.pop()
        elif kind is yaml.DocumentStartEvent:
            documents += 1
            if documents > 1:
                return NOTHING
            continue
        elif kind is yaml.AliasEvent:
            return NOTHING
        else:
            continue
        if not stack:
            value = found
        elif type(stack[-1]) is dict:
            stack[-1][keys[-1]] = found
            keys[-1] = NOTHING
        else:
            stack[-1].append(found)
    return value


@lru_cache(maxsize=8192)
def _plain(text: str) -> Any:
    """What a scalar without quotes means, by the same rules as the slow way's."""
    return plain_value(str(_resolver().resolve(ScalarNode, text, (True, False))), text)


@lru_cache(maxsize=1)
def _resolver() -> Any:
    return YAML(typ="safe", pure=True).resolver
