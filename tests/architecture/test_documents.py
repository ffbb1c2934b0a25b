"""Links, heading anchors and paths in the documents exist, and both READMEs have the same structure and code."""

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
OURS = "abuse|benchmarks|chassis|cli|contracts|deploy|docs|faults|requirements|services|testkit|tests"
CITED = re.compile(rf"`((?:{OURS})/[\w./-]*\w)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def without_code(document: Path) -> str:
    return re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(without_code(document)))
    return {heading.strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(document: Path) -> None:
    broken = []
    for link in LINK.findall(without_code(document)):
        parts = urlsplit(link)
        target = document.parent / unquote(parts.path) if parts.path else document
        if parts.scheme:
            continue
        if not target.exists() or (parts.fragment and parts.fragment not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_cited_paths_exist(document: Path) -> None:
    cited = CITED.findall(without_code(document))
    assert [path for path in cited if not (ROOT / path).exists()] == []


README, KOREAN_README = ROOT / "README.md", ROOT / "README.ko.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"/\*.*?\*/|(?:^| )# .*$", re.MULTILINE)


def code_blocks(document: Path) -> list[tuple[str, str]]:
    """Return the language and the code of each code block, without comments."""
    blocks = BLOCK.findall(document.read_text(encoding="utf-8"))
    return [
        (language, "\n".join(line.rstrip() for line in COMMENT.sub("", code).splitlines())) for language, code in blocks
    ]


def outline(document: Path) -> list[str]:
    return re.findall(r"^(#+) ", without_code(document), re.MULTILINE)


def test_the_korean_readme_has_the_headings_of_the_english_one() -> None:
    assert outline(KOREAN_README) == outline(README)


def test_the_korean_readme_has_the_code_of_the_english_one() -> None:
    assert code_blocks(KOREAN_README) == code_blocks(README)


def test_the_korean_readme_has_the_links_of_the_english_one() -> None:
    def files(document: Path) -> list[str]:
        links = LINK.findall(without_code(document))
        return sorted(link for link in links if not link.startswith(("#", "README")))

    assert files(KOREAN_README) == files(README)


def test_the_readme_starts_with_the_two_commands_that_do_everything() -> None:
    commands = [code.strip() for language, code in code_blocks(README) if language == "sh"]
    assert commands[0] == "make up"
    assert commands[-1] == "make test"
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)


def test_contributing_answers_where_eight_changes_begin() -> None:
    section = (
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where do I…?")[2].partition("\n## ")[0]
    )
    answers = re.findall(r"^\| (.+?) \| (.+) \|$", section, re.MULTILINE)[2:]
    assert len(answers) == 8
    assert [task for task, answer in answers if not LINK.search(answer)] == []
