"""README and Docs/: one sentence a line, short lines and cells, and links that lead somewhere."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "Code" / "loadcast"
PAGES = [ROOT / "README.md", *sorted((ROOT / "Docs").glob("*.md"))]
LONGEST_LINE, LONGEST_CELL = 120, 200

LINK = re.compile(r"(!?\[[^\]]*\])\(([^()\s]*)\)")
CODE = re.compile(r"`[^`]*`")
#: A file of the repository, or of the package, in code; not what is only there once something was set up.
FILE = re.compile(r"`((?:(?:Code|Config|Docs|Model|scripts|tests)/(?!node_modules)[\w./-]*|\w+/[\w/]+\.py))`")
#: Where a sentence ends and another one begins on the same line.
SENTENCE_END = re.compile(r"[.!?][\"”’)*_]* +[\"“(*\[]*[A-Z]")
#: A full stop of these ends no sentence.
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|No|approx)\.")
#: What may stand before a sentence on its line: the mark of a heading or list, a bold lead-in.
LEAD = re.compile(r"^\s*(?:#+ +)?(?:(?:[-*+]|\d+\.) +)?(?:\*\*[^*]+\*\* +)?")


def prose(page: Path) -> list[tuple[int, str]]:
    """The lines outside code blocks, each with its number."""
    lines, code = [], False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code:
            lines.append((number, line))
    assert not code, f"{page.name}: a code block has no end"
    return lines


def shown(line: str) -> str:
    """A line without the targets of its links."""
    return LINK.sub(r"\1", line)


def is_row(line: str) -> bool:
    return line.lstrip().startswith("|")


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)]


def sentences(line: str) -> int:
    """How many sentences a line of prose has; code and what stands in parentheses count as one word."""
    text = ABBREVIATION.sub("", CODE.sub("X", LEAD.sub("", shown(line))))
    text = re.sub(r"\([^()]*\)", "", text)
    return 1 + len(SENTENCE_END.findall(text))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page: those of its headings, as GitHub names them, and explicit ones."""
    text = "\n".join(line for _, line in prose(page))
    names: list[str] = re.findall(r'<a id="([^"]+)">', text)
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", shown(heading).lower()).strip().replace(" ", "-")
        same = sum(name == plain or re.fullmatch(rf"{re.escape(plain)}-\d+", name) is not None for name in names)
        names.append(f"{plain}-{same}" if same else plain)
    return frozenset(names)


def where(page: Path, number: int) -> str:
    return f"{page.relative_to(ROOT)}:{number}"


def ids(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_lines_and_cells_are_short(page: Path) -> None:
    lines = [(number, shown(line)) for number, line in prose(page)]
    assert [where(page, number) for number, line in lines if not is_row(line) and len(line) > LONGEST_LINE] == []
    rows = [(number, cell) for number, line in lines if is_row(line) for cell in cells(line)]
    assert [where(page, number) for number, cell in rows if len(cell) > LONGEST_CELL] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_each_sentence_has_its_line(page: Path) -> None:
    assert [where(page, number) for number, line in prose(page) if not is_row(line) and sentences(line) > 1] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_code_within_a_line_ends_there(page: Path) -> None:
    assert [where(page, number) for number, line in prose(page) if line.count("`") % 2] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    text = CODE.sub("X", "\n".join(line for _, line in prose(page)))
    for _, target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = FILE.findall("\n".join(line for _, line in prose(page)))
    assert [file for file in named if not any((folder / file).exists() for folder in (ROOT, PACKAGE))] == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_each_room_is_introduced(page: str) -> None:
    text = (ROOT / "Docs" / page).read_text(encoding="utf-8")
    rooms = [init.parent.name for init in PACKAGE.glob("*/__init__.py")]
    assert [room for room in rooms if not re.search(rf"`{room}/?`", text)] == []


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("One sentence, e.g. this one.", 1),
        ("- **Fast.** It takes a moment.", 1),
        ("2. Write it (see. There).", 1),
        ("## 1. Sessions", 1),
        ("One. Two.", 2),
        ("It is [here](x.md). `make` does it. And more.", 3),
    ],
)
def test_sentences_are_counted(line: str, number: int) -> None:
    assert sentences(line) == number


def test_anchors_are_githubs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b`: c × d\n## Same\n## Same\n```\n# no\n```\n<a id='x'></a>\n<a id=\"y\"></a>\n")
    assert anchors(page) == {"a-b-c--d", "same", "same-1", "y"}
