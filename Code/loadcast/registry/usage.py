"""How a service is called: words for people, with the key where no list of processes shows it."""

from __future__ import annotations

from loadcast.registry.service import Service
from loadcast.serving.keys import KEY_VARIABLE

_TEXT = """Scoring URL: {url}/score
{reach}
With loadcast's client, which makes the records of a server's next 48 hours:
  export {variable}=…
  loadcast score CONFIG --url {url}

From the shell; the key stands in no command line:
  printf 'Authorization: Bearer %s' "${variable}" |
    curl -H @- -H 'Content-Type: application/json' -d '[]' {url}/score

From Python:
  import os, requests
  headers = {{"Authorization": f"Bearer {{os.environ['{variable}']}}"}}
  answer = requests.post("{url}/score", json=[], headers=headers, timeout=10)
  print(answer.status_code, answer.json())
"""
_CLUSTER = """That is its address inside the cluster. To reach it from here:
  kubectl --namespace {namespace} port-forward service/{name} 5001:{port}    # then http://127.0.0.1:5001
"""


def usage_text(service: Service) -> str:
    """The URL, and calls by loadcast's client, by curl and from Python."""
    reach = ""
    if service.target == "k8s":
        reach = _CLUSTER.format(namespace=service.namespace, name=service.name, port=service.port)
    return _TEXT.format(url=service.url, variable=KEY_VARIABLE, reach=reach).rstrip()
