"""What the README shows is run as it stands there, against a real service."""

import re
import subprocess
import sys
import time
from pathlib import Path

from shared.auth import Role, mint_token
from tests.clock import Clock
from tests.services.events.conftest import running

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_python_example_runs_word_for_word(
    events_database: str, token_keys: tuple[bytes, bytes], tmp_path: Path
) -> None:
    (tmp_path / "public.pem").write_bytes(token_keys[1])
    (tmp_path / ".brain").mkdir()
    token = mint_token(token_keys[0], "reader", [Role.ADMIN], None, 0)
    (tmp_path / ".brain" / "admin.token").write_text(token + "\n")
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    now = Clock(time.time_ns() // 1000)

    with running(events_database, now, token_keys[0], tmp_path / "public.pem") as service:
        script = example.replace("127.0.0.1:50051", f"127.0.0.1:{service.application.server.port}")
        command = [sys.executable, "-c", script]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert run.stdout == "signed_up 1\nactive today: 1\n"


def test_every_make_target_named_exists() -> None:
    targets = set(
        re.findall(r"^([a-z-]+):", (Path(__file__).parents[2] / "Makefile").read_text(), re.MULTILINE)
    )
    named = set(re.findall(r"[`\n]make ([a-z-]+)", README))
    assert named <= targets
    assert {"demo", "test", "up", "help"} <= named


def anchors(document: Path) -> set[str]:
    """What may follow # in a link, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_link_leads_somewhere() -> None:
    root = Path(__file__).parents[2]
    documents = [*root.glob("*.md"), *root.glob("docs/**/*.md")]
    links = [
        (document, *link.partition("#")[::2])
        for document in documents
        for link in re.findall(r"\]\(([^)]+)\)", document.read_text())
        if not link.startswith("https://")
    ]
    assert len(links) > 20
    broken = [
        f"{document.name}: {path}#{anchor}"
        for document, path, anchor in links
        for target in [document.parent / path if path else document]
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]
    assert broken == []
