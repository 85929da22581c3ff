"""Problem details by RFC 9457, without a web framework. Together 0.1 s."""

from __future__ import annotations

import json
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.serving.problems import BY_STATUS, KINDS, PREFIX, problem

ROOT = Path(__file__).parents[2]
problems = st.lists(st.fixed_dictionaries({"record": st.integers(0, 9) | st.none(), "found": st.text()}), max_size=3)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_kind_has_its_members(kind: object) -> None:
    body = json.loads(problem(kind.status, None, "Why.", kind=kind.name, instance="id-1"))
    assert body == {
        "type": PREFIX + kind.name,
        "title": kind.title,
        "status": kind.status,
        "detail": "Why.",
        "error": {"message": "Why."},
        "instance": "id-1",
    }


@given(st.text(st.characters()), problems)
def test_whatever_the_texts_hold_the_body_is_json_and_the_old_member_says_the_same(
    detail: str, listed: list[dict[str, object]]
) -> None:
    body = json.loads(problem(400, "Title", detail, problems=listed, problem_count=len(listed)).decode("utf-8"))
    assert body["error"] == {key: body[key] for key in ("problems", "problem_count")} | {"message": body["detail"]}
    assert len(body["problems"]) == len(listed)


def test_a_status_without_a_kind_is_a_problem_too() -> None:
    body = json.loads(problem(HTTPStatus.IM_A_TEAPOT, None, "Tea."))
    assert (body["type"], body["status"]) == ("about:blank", 418)
    assert 418 not in BY_STATUS


def test_the_front_needs_no_web_framework_for_its_refusals() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'Code')!r}); import loadcast.serving.problems; " + (
        "sys.exit(bool({'flask', 'werkzeug', 'pyarrow'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
