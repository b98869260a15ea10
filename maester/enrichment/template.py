"""Prompt templates: Jinja2, sandboxed, and bounded in what they can make of a row.

A template is written by whoever pays for its prompts, but it may come from somebody else, and it meets
rows that nobody has looked at. Jinja's sandbox keeps it from the process; it does not keep it from
filling the memory (``'a' * 10**8``, a list that is doubled thirty times) or from never ending. So a
template has no multiplication, no globals and no macros, its filters are those that are listed here,
and everything that makes a text or goes round is counted.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from maester.errors import InvalidRequest

from .texts import FILTERS, LONGEST_PROMPT, TooLarge, counted, joined, text_of

LONGEST_TEMPLATE = 1_000_000
"""Characters of a template."""

ROW = "row"
"""The name under which a template finds the whole row, for columns whose names are no identifiers."""

_SHOWN_COLUMNS = 30
_FILE = "<prompt>"

_ALLOWED: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For),
    *(nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Getattr),
    *(nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.Concat, nodes.Add, nodes.Sub),
    *(nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.List, nodes.Tuple, nodes.Dict),
    *(nodes.Pair, nodes.Keyword, nodes.Call, nodes.Assign, nodes.With),
)
"""What a template may be made of; `nodes.Mul` and `nodes.Pow` are what is left out on purpose first."""

_WORDS: Mapping[type[nodes.Node], str] = {
    nodes.Mul: "multiplication (*)",
    nodes.Pow: "powers (**)",
    nodes.Macro: "macros",
    nodes.CallBlock: "call blocks",
    nodes.FilterBlock: "filter blocks",
    nodes.AssignBlock: "set blocks",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Block: "blocks",
}

_METHODS = frozenset(
    {
        *("strip", "lstrip", "rstrip", "lower", "upper", "title", "capitalize", "casefold", "split"),
        *("rsplit", "splitlines", "partition", "rpartition", "startswith", "endswith", "find", "count"),
        *("removeprefix", "removesuffix", "isdigit", "isalpha", "isspace", "isupper", "islower"),
        *("items", "keys", "values", "get", "cycle", "changed"),
    }
)
"""Methods (of texts, objects and ``loop``) that make nothing larger than what they are given."""


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, whose sums are counted and whose ``%`` formats nothing."""

    intercepted_binops = frozenset({"+", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Guard the two operators that could make something large of something small."""
        if operator == "%" and isinstance(left, str):
            raise TooLarge("% works on numbers here, it does not format texts")
        sized = hasattr(left, "__len__") and hasattr(right, "__len__")
        if operator == "+" and sized and len(left) + len(right) > LONGEST_PROMPT:
            raise TooLarge(f"a sum is longer than {LONGEST_PROMPT:,}")
        return super().call_binop(context, operator, left, right)


def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, autoescape=False, finalize=text_of)
    environment.globals.clear()
    public = {name: FILTERS.get(name) or environment.filters[name] for name in _FILTERS}
    environment.filters.clear()
    environment.filters.update(public, _counted=counted, _joined=joined)
    return environment


_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "indent"),
    *("int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject"),
    *("rejectattr", "replace", "reverse", "round", "select", "selectattr", "sort", "string", "striptags"),
    *("sum", "title", "tojson", "trim", "truncate", "unique", "upper", "urlencode", "wordcount"),
)

_ENVIRONMENT = _environment()


class PromptTemplate:
    """A prompt with places for the values of a row: ``Summarise {{ title }}: {{ text }}``.

    ``{{ row["first name"] }}`` reads a column whose name is no identifier. A value that is no text is
    written as JSON, ``null`` as nothing.

    :param source: the template.
    :param name: how errors call it: the name of its file.
    :raises InvalidRequest: when it cannot be read, or does what a template may not; with its line.
    """

    def __init__(self, source: str, name: str = "The prompt") -> None:
        self.name = name
        self.source = source
        if len(source) > LONGEST_TEMPLATE:
            raise InvalidRequest(f"{name} has {len(source):,} characters; at most {LONGEST_TEMPLATE:,} are.")
        try:
            tree = _ENVIRONMENT.parse(source)
            _refuse_what_is_forbidden(tree, name)
            self._columns = _columns(tree)
            self._template = Template.from_code(
                _ENVIRONMENT,
                _ENVIRONMENT.compile(_Guards().visit(tree), name=_FILE, filename=_FILE),
                _ENVIRONMENT.globals,
            )
        except TemplateSyntaxError as exc:
            raise InvalidRequest(f"{name}, line {exc.lineno}: {str(exc.message).rstrip('.')}.") from exc
        except (RecursionError, SyntaxError) as exc:
            raise InvalidRequest(f"{name}: it is nested too deeply to be read.") from exc

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it names."""
        return frozenset(self._columns)

    def check(self, columns: Iterable[str]) -> None:
        """Make sure that there are the columns that it names.

        :raises InvalidRequest: with the first that is missing, its line, and those that there are.
        """
        known = list(columns)
        missing = sorted((line, column) for column, line in self._columns.items() if column not in known)
        if not missing:
            return
        line, column = missing[0]
        raise InvalidRequest(
            f"{self.name}, line {line}: the input has no column {column!r}. It has: {_shown(known)}."
        )

    def render(self, values: Mapping[str, Any]) -> str:
        """The prompt for a row.

        :raises InvalidRequest: when it cannot be made of this row, with the template's line, or comes
            out empty or too large.
        """
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._template.generate({ROW: values, **values}):
                size += len(piece)
                if size > LONGEST_PROMPT:
                    raise TooLarge(f"the prompt is longer than {LONGEST_PROMPT:,} characters")
                pieces.append(piece)
            prompt = "".join(pieces)
            prompt.encode()
        except UnicodeEncodeError as exc:
            raise InvalidRequest(f"{self.name}: the prompt holds half of a surrogate pair.") from exc
        except Exception as exc:
            said = exc.message if isinstance(exc, TemplateError) else f"{type(exc).__name__}: {exc}"
            said = f"{self.name}{_line_of(exc)}: {(said or type(exc).__name__).rstrip('.')}."
            if isinstance(exc, UndefinedError):
                said += f" The row has: {_shown(list(values))}."
            raise InvalidRequest(said) from exc
        if not prompt.strip():
            raise InvalidRequest(f"{self.name}: the prompt is empty.")
        return prompt


def _shown(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _SHOWN_COLUMNS} more" if len(columns) > _SHOWN_COLUMNS else ""
    return ", ".join(columns[:_SHOWN_COLUMNS]) + more


def _line_of(exc: Exception) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(exc.__traceback__) if frame.filename == _FILE]
    return f", line {lines[-1]}" if lines else ""


def _refuse_what_is_forbidden(tree: nodes.Template, name: str) -> None:
    for node in (tree, *tree.find_all(nodes.Node)):
        if not isinstance(node, _ALLOWED):
            what = _WORDS.get(type(node), type(node).__name__)
            raise InvalidRequest(f"{name}, line {node.lineno}: a prompt's template has no {what}.")
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise InvalidRequest(
                f"{name}, line {node.lineno}: there is no filter {node.name!r}; there are:"
                f" {', '.join(_FILTERS)}."
            )
        if isinstance(node, nodes.Name) and node.name == "self":
            raise InvalidRequest(f"{name}, line {node.lineno}: write row['self'] for a column of that name.")
        if isinstance(node, nodes.Call) and not (
            isinstance(node.node, nodes.Getattr) and node.node.attr in _METHODS
        ):
            called = (
                node.node.name if isinstance(node.node, nodes.Name) else getattr(node.node, "attr", "this")
            )
            raise InvalidRequest(f"{name}, line {node.lineno}: a prompt's template cannot call {called!r}.")


def _columns(tree: nodes.Template) -> dict[str, int]:
    """The columns that a template names, each with the line where it first does."""
    undeclared = find_undeclared_variables(tree)
    found: dict[str, int] = {}
    for named in tree.find_all(nodes.Name):
        if named.name in undeclared and named.name != ROW:
            found.setdefault(named.name, named.lineno)
    for item in tree.find_all(nodes.Getitem):
        key = item.arg
        of_row = isinstance(item.node, nodes.Name) and item.node.name == ROW
        if of_row and isinstance(key, nodes.Const) and isinstance(key.value, str):
            found.setdefault(key.value, item.lineno)
    for member in tree.find_all(nodes.Getattr):
        of_row = isinstance(member.node, nodes.Name) and member.node.name == ROW
        if of_row and not hasattr(dict, member.attr):
            found.setdefault(member.attr, member.lineno)
    return found


class _Guards(NodeTransformer):
    """Puts what counts into a template: into its loops, and where it joins texts with ``~``."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - the name is Jinja's
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "_joined")


def _filtered(value: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)
