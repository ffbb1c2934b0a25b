"""A new language needs two new files and one line. Texts choose a Korean particle instead of spelling both."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gifchat_contracts
import gifchat_web
from gifchat_contracts import errors
from gifchat_web.i18n import catalogue

ROOT = Path(__file__).parents[2]
VISIT = """
import asyncio, json, sys
import httpx
from gifchat_web.app import create_app
from gifchat_web.settings import Settings

async def visit():
    transport = httpx.ASGITransport(create_app(Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as browser:
        html, japanese = {"accept": "text/html"}, {"accept-language": "ja,en;q=0.5"}
        page = await browser.get("/room", headers=html | japanese)
        problem = await browser.get("/api/v1/nothing", headers=japanese)
        error_page = await browser.get("/nothing", headers=html | japanese)
        texts_url = page.text.partition('"texts_url":"')[2].partition('"')[0]
        scripts = await browser.get(texts_url)
        chosen = await browser.get("/room?lang=ja", headers=html)
        korean = await browser.get("/room?lang=ko", headers=html)
    answers = (page, chosen, korean, problem, error_page, scripts)
    json.dump([answer.text for answer in answers], sys.stdout)

asyncio.run(visit())
"""
PAIRS_IN_BRACKETS = re.compile(
    r"[을를이가은는과와아야]\s?[(（](?:을|를|이|가|은|는|과|와|아|야)[)）]|[(（](?:으|이)[)）](?:로|나|랑|라|며)"
)
TEXT_FILES = {".py", ".js", ".mjs", ".json", ".html", ".md", ".toml", ".yml", ".yaml", ".template", ".css", ".sh"}


def test_japanese_is_two_new_files_and_one_line(tmp_path: Path) -> None:
    for package in (gifchat_contracts, gifchat_web):
        [source] = package.__path__
        shutil.copytree(source, tmp_path / Path(source).name, ignore=shutil.ignore_patterns("__pycache__"))

    languages = tmp_path / "gifchat_contracts" / "languages.py"
    line = 'Language = Literal["en", "ko"]'
    assert languages.read_text().count(line) == 1
    languages.write_text(languages.read_text().replace(line, 'Language = Literal["en", "ko", "ja"]'))
    error_texts = {code: f"エラー {code}" for code in errors.TABLE}
    (tmp_path / "gifchat_contracts" / "texts" / "ja.py").write_text(f"TEXTS = {error_texts!r}\n")
    page_texts = {**catalogue("en"), "language_name": "日本語", "new_room": "新しいルーム"}
    (tmp_path / "gifchat_web" / "i18n" / "ja.json").write_text(json.dumps(page_texts))

    result = subprocess.run(
        [sys.executable, "-c", VISIT],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    page, chosen, korean, problem, error_page, scripts = json.loads(result.stdout.splitlines()[-1])

    for japanese in (page, chosen):
        assert '<html lang="ja">' in japanese
        assert "<h1>新しいルーム</h1>" in japanese
        assert 'href="?lang=ko" lang="ko" hreflang="ko">한국어</a>' in japanese
        assert 'lang="ja" hreflang="ja"' not in japanese
    assert 'href="?lang=ja" lang="ja" hreflang="ja">日本語</a>' in korean
    assert 'href="?lang=en" lang="en" hreflang="en">English</a>' in korean
    assert json.loads(problem)["title"] == "エラー not_found"
    assert "<h1>エラー not_found</h1>" in error_page
    assert json.loads(scripts)["texts"]["new_room"] == "新しいルーム"
    assert json.loads(scripts)["errors"]["not_found"] == "エラー not_found"


@pytest.mark.parametrize("pair", ["".join(parts) for parts in [("을", "(를)"), ("이", "(가)"), ("(으)", "로")]])
def test_the_lint_finds_a_pair_in_brackets(pair: str) -> None:
    assert PAIRS_IN_BRACKETS.search(f"방{pair}")


def test_no_text_spells_a_particle_in_pairs() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = [
        f"{name}: {match[0]}"
        for name in listed.stdout.splitlines()
        if (path := ROOT / name).suffix in TEXT_FILES and path.is_file()
        for match in PAIRS_IN_BRACKETS.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "choose the particle by the word before it: {을/를} in a text, particle() in code"
