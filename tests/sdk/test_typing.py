"""What type checkers know of the SDK: `typed.py` under pyright (under mypy it is part of `make check`)."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

from openai.resources.chat.completions import Completions

import techstoneai

ROOT = Path(__file__).parents[2]


def test_pyright_knows_the_types() -> None:
    """Strictly for `typed.py`; the SDK itself for Python 3.10, the oldest that it supports."""
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--warnings"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_parameters_are_openais() -> None:
    """Our dictionaries of parameters have the names and types that openai's `create` has, all of them."""
    stub = ast.parse((Path(techstoneai.__file__).parent / "_chat.pyi").read_text())
    classes = {node.name: node.body for node in stub.body if isinstance(node, ast.ClassDef)}
    fields = [node for name in ("_Request", "_Formatted", "ChatRequest") for node in classes[name]]
    ours = {
        node.target.id: _parts(node.annotation)
        for node in fields
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    signature = inspect.signature(Completions.create).parameters.values()
    openais = {
        one.name: _parts(ast.parse(str(one.annotation), mode="eval").body) for one in signature if one.name != "self"
    }
    ours.pop("stream")  # each overload has its own
    openais.pop("stream")
    assert ours == openais


def _parts(annotation: ast.expr) -> set[str]:
    """Return the members of a union, however it is written."""
    match annotation:
        case ast.Subscript(value=ast.Name(id="Required"), slice=inner):
            return _parts(inner)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return _parts(inner) | {"None"}
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=members)):
            return set().union(*map(_parts, members))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _parts(left) | _parts(right)
    text = ast.unparse(annotation).replace("Dict[", "dict[").replace("List[", "list[").replace('"', "'")
    return {text.replace("httpx2.Timeout", "Timeout")}
