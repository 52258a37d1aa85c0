"""Every sentence a service refuses with is in its French catalog (texts.py): the guard says it in the reader's words."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import texts

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "importer": "services/import/importer",
    "ledger": "services/ledger/ledger",
    "scenario": "services/scenario/scenario",
    "notification": "services/notification/notification",
    "portal": "services/portal/portal",
    "dispute": "services/dispute/dispute",
    "credit_risk": "services/credit-risk/credit_risk",
    "reporting": "services/reporting/reporting",
    "gateway": "gateway/gateway",
    "kit": "libs/kit/kit",
}
# Where a refusal's sentence is an argument: its place among the arguments of each maker of refusals.
MAKERS = {"Refused": (2, 3), "_wrong": (1,), "_Wrong": (0,), "_unknown": (0,)}
# Names of mappings of wrong fields to what is wrong with them.
WRONG = frozenset({"wrong", "fields"})
# These only pass on what somebody else said, or what the page's own catalog (ui.catalogs) keeps complete.
PASSED_ON = frozenset({"gettext", "_", "failure_text", "str"})
PLACE = re.compile(r"\{\d\}")


def _sentences(node: ast.expr | None, scope: ast.AST) -> Iterator[str]:
    """The sentences an expression may be, places numbered as in the catalogs."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=parts):
            numbers = iter(range(10))
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else f"{{{next(numbers)}}}" for part in parts
            )
        case ast.BinOp(left=ast.Constant(value=str() as text), op=ast.Add()):
            yield text + "{0}"
        case ast.IfExp(body=first, orelse=second):
            yield from _sentences(first, scope)
            yield from _sentences(second, scope)
        case ast.BoolOp(values=values):
            for value in values:
                yield from _sentences(value, scope)
        case ast.Dict(values=values):
            for value in values:
                yield from _sentences(value, scope)
        case ast.DictComp(value=value):
            yield from _sentences(value, scope)
        case ast.Name(id=name):
            for inner in ast.walk(scope):
                if isinstance(inner, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id == name for target in inner.targets
                ):
                    yield from _sentences(inner.value, ast.Module([], []))
        case ast.Call(func=function, args=[_, value]) if ast.unparse(function) == "dict.fromkeys":
            yield from _sentences(value, scope)


def _said_in(tree: ast.AST) -> Iterator[str]:
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for scope in scopes:
        for node in ast.walk(scope):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).rpartition(".")[2]
                places = MAKERS.get(name, ())
                for place in places:
                    if place < len(node.args):
                        yield from _sentences(node.args[place], scope)
                if name == "Refused":
                    for keyword in node.keywords:
                        if keyword.arg in ("message", "fields"):
                            yield from _sentences(keyword.value, scope)
            elif (
                isinstance(node, ast.Assign)
                and any(
                    isinstance(target, ast.Subscript)
                    and isinstance(target.value, ast.Name)
                    and target.value.id in WRONG
                    for target in node.targets
                )
            ) or (isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id in WRONG):
                yield from _sentences(node.value, scope)


def _said(folder: str) -> dict[str, str]:
    """Every sentence of a package's refusals, with the file that says it."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for sentence in _said_in(ast.parse(path.read_text())):
            # A sentence that is all places (a code, a name) is what somebody else said.
            if re.search(r"[a-z]{2}", PLACE.sub("", sentence)):
                found.setdefault(sentence, str(path.relative_to(ROOT)))
    return found


def _french(package: str) -> dict[str, str]:
    own = texts.FRENCH if package == "kit" else importlib.import_module(f"{package}.texts").FRENCH
    return {**texts.FRENCH, **own}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_refusal_is_also_in_french(package):
    said, french = _said(PACKAGES[package]), _french(package)
    assert len(said) >= 2, "the walk over the package finds its refusals"
    missing = {sentence: path for sentence, path in said.items() if sentence not in french}
    assert not missing


@pytest.mark.parametrize("package", PACKAGES)
def test_french_sentences_name_what_the_english_ones_name(package):
    for english, french in _french(package).items():
        assert sorted(PLACE.findall(english)) == sorted(PLACE.findall(french)), english
        assert french.strip() and french != english


@pytest.mark.parametrize("package", [name for name in PACKAGES if name not in ("kit", "gateway")])
def test_every_service_gives_its_catalog_to_the_guard(package):
    module = importlib.import_module(f"{package}.__main__")
    definition = getattr(module, "DEFINITION", None) or module.SERVICE
    assert definition.texts is importlib.import_module(f"{package}.texts").FRENCH


def test_the_walk_finds_a_sentence_that_no_catalog_has():
    tree = ast.parse('def f(x):\n    raise Refused(Code.NOT_FOUND, "X", f"no {x} here", {"x": "is odd"})')
    assert list(_said_in(tree)) == ["no {0} here", "is odd"]
