"""The page at /docs in a real browser: it shows the document, and its form gets a real answer. About 6 s."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import browser
from loadcast.kernels.features import CLASSIC
from loadcast.serving.app import create_app
from loadcast.serving.keys import Keys
from published import HourPredictor, served

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not browser.CHROMIUM.exists(), reason="no chromium; scripts/setup-chromium.sh gets it"),
]
KEY = "s3cret-key"
#: What a person does: types the key, lets the routes be shown, and sends the example. All else is the page's own.
PERSON = f"""
document.getElementById("key").value = "{KEY}";
document.getElementById("open").click();
const wait = setInterval(() => {{
  const button = document.querySelector("#score button");
  if (button) {{ clearInterval(wait); button.click(); }}
}}, 20);
"""


def with_a_person(inner: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The service, with a script at the end of the page that does what a person would, which the policy lets run."""
    digest = base64.b64encode(hashlib.sha256(PERSON.encode()).digest()).decode()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/docs":
            return inner(environ, start_response)
        headers: dict[str, str] = {}
        body = b"".join(inner(environ, lambda status, given, *more: headers.update(given)))
        body = body.replace(b"</body>", f"<script>{PERSON}</script></body>".encode())
        policy = headers["Content-Security-Policy"].replace("script-src ", f"script-src 'sha256-{digest}' ")
        headers |= {"Content-Security-Policy": policy, "Content-Length": str(len(body))}
        start_response("200 OK", list(headers.items()))
        return [body]

    return application


def test_the_page_shows_routes_and_fields_and_sends_a_request() -> None:
    app = create_app(HourPredictor(), keys=Keys.parse(KEY.encode(), "key"), name="loadcast")
    with served(with_a_person(app)) as address:
        shown = html.unescape(browser.document(f"{address}/docs"))
    text = re.sub(r"<[^>]+>", " ", shown.partition("</style>")[2].partition("<script>")[0])
    for wanted in ("POST", "/score", "/v2/models/{model}/infer", "/forecast", *CLASSIC.names, "1 … 12", "finite"):
        assert wanted in text
    assert re.search(r'class="good">200 in \d+ ms, request [0-9a-f]{32}<', shown)
    assert '"label": "low"' in shown
    assert KEY not in text
