"""As much of PromQL as tells which series an expression names."""

import re

_STRING = re.compile(r'"[^"]*"')
_BRACES = re.compile(r"\{[^}]*\}")
_BY = re.compile(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)")
_NAME = re.compile(r"\b[a-z][a-z0-9_]*\b(?!\s*\()", re.ASCII)
_MATCHER = re.compile(r"\b([a-z_]+)\s*(?:=~|!~|!=|=)", re.ASCII)
_WORDS = {"or", "and", "unless", "bool", "offset", "by", "without", "on", "ignoring"}


def names_in(expression: str) -> set[str]:
    """Return the names of the series that `expression` reads."""
    bare = re.sub(r"\[[^\]]*\]", "", _BRACES.sub("", _STRING.sub('""', expression)))
    return set(_NAME.findall(_BY.sub("", bare))) - _WORDS


def matched_labels(expression: str) -> set[str]:
    """Return the labels that `expression` selects by."""
    braces = _BRACES.findall(_STRING.sub('""', expression))
    return {label for one in braces for label in _MATCHER.findall(one)}
