"""Requirements are locked with hashes, and what pip-audit says of them is told as what it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from supply.audit import Answer, Unreachable, Unreadable, read

ROOT = Path(__file__).parents[2]
LOCKED = sorted(ROOT.glob("requirements/*.txt"))
DOCKERFILES = [ROOT / name / "Dockerfile" for name in ("master", "worker", "dashboard", "examples/mail")]
CLEAN = {"name": "rich", "version": "15.0.0", "vulns": []}
KNOWN = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1", "2.0"], "description": "..."}
FOUND = {"name": "six", "version": "1.0", "vulns": [KNOWN]}
ABSENT = {"name": "ours", "skip_reason": "Dependency not found"}
TIP = "ERROR:pip_audit._cli:Could not connect\nERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another"


@pytest.mark.parametrize("file", LOCKED, ids=lambda file: file.name)
def test_every_requirement_is_locked_to_one_version_with_hashes_and_says_nothing_of_an_index(file: Path) -> None:
    lines = file.read_text().replace(" \\\n", "").splitlines()
    one = re.compile(r"[a-z0-9._-]+(\[[a-z0-9,._-]+\])?==[^\s;]+( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+")
    assert [line for line in lines if not one.fullmatch(line) and line.strip() and not line.lstrip().startswith("#")] == []
    assert any(one.fullmatch(line) for line in lines)
    assert "://" not in file.read_text()


def test_everything_that_is_required_is_locked_by_make_lock() -> None:
    (names,) = re.findall(r"for name in ([a-z ]+);", (ROOT / "requirements/lock.sh").read_text())
    assert (
        sorted(names.split()) == [file.stem for file in sorted(ROOT.glob("requirements/*.in"))] == [file.stem for file in LOCKED]
    )


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_an_image_installs_only_what_is_locked_and_takes_no_rights_over_from_the_clone(file: Path) -> None:
    installed = re.findall(r"pip .*\binstall\b.*", file.read_text())
    assert len(installed) == 1
    assert "--require-hashes --no-deps -r /tmp/requirements.txt" in installed[0]
    copied = re.findall(r"^COPY (.*)", file.read_text().split("\nFROM ")[-1], re.MULTILINE)
    assert copied
    assert [words for words in copied if not words.startswith(("--from=build ", "--chmod=755 "))] == []


def report(*packages: object) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_vulnerability_is_told_with_its_names_and_the_versions_that_have_it_no_more() -> None:
    answer = read(1, report(CLEAN, FOUND), "Found 1 known vulnerability in 1 package")
    assert answer.found == {"six 1.0: PYSEC-1 CVE-1 (fixed in 1.1, 2.0)"}
    assert answer.checked == {"rich 15.0.0", "six 1.0"}


def test_a_package_that_the_list_does_not_know_is_not_taken_for_a_checked_one() -> None:
    assert read(0, report(CLEAN, ABSENT), "") == Answer(checked={"rich 15.0.0"}, unknown={"ours"}, found=set())


@pytest.mark.parametrize(
    ("complaint", "why"),
    [
        (TIP, "no connection"),
        ("Traceback ...\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(host='x'): no", "ConnectionError"),
        ("requests.exceptions.HTTPError: 503 ...\n\nTraceback ...\npip_audit._service.interface.ServiceError", "HTTPError"),
        ("Traceback ...\nrequests.exceptions.ReadTimeout: x", "ReadTimeout"),
        ("Traceback ...\nrequests.exceptions.JSONDecodeError: a log-in page", "JSONDecodeError"),
    ],
)
def test_a_list_that_does_not_answer_is_unreachable(complaint: str, why: str) -> None:
    with pytest.raises(Unreachable, match=f"^{why}$"):
        read(1, "", complaint)


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        (1, "ERROR:pip_audit._cli:package six has duplicate requirements"),
        (1, "Traceback ...\nKeyError: 'vulns'"),
        (2, "pip-audit: error: unrecognized arguments"),
        (-9, ""),
    ],
)
def test_any_other_trouble_is_neither_unreachable_nor_clean(code: int, complaint: str) -> None:
    with pytest.raises(Unreadable):
        read(code, "", complaint)
