"""What py4j says of a JVM that is gone stays off the screen; what others log does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: A JVM that is killed while an answer is awaited: its socket is reset. The answer then is py4j's word for an error.
_RESET = """
import logging, os, socket, struct, sys, threading
from py4j.clientserver import ClientServer, JavaParameters
from loadcast.spark.quiet import quiet_gateway

quiet_gateway(sys.argv[1] == "quiet")
server = socket.create_server(("127.0.0.1", 0))

def reset():
    connection, _ = server.accept()
    connection.recv(100)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

threading.Thread(target=reset, daemon=True).start()
client = ClientServer(JavaParameters(port=server.getsockname()[1]))._gateway_client
print(client.send_command("c\\no\\ngetActiveStageIds\\ne\\n"))
logging.warning("said by others")
sys.stdout.flush()
os._exit(0)  # py4j would wait for its threads
"""


@pytest.mark.parametrize("said", ["quiet", "aloud"])
def test_a_connection_that_is_reset_says_nothing(said: str) -> None:
    pytest.importorskip("pyspark")
    done = subprocess.run([sys.executable, "-c", _RESET, said], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "x\n"), done.stderr
    assert "said by others" in done.stderr
    assert ("Exception while sending command" in done.stderr) == (said == "aloud")
    assert done.stderr.count("\n") == 1 or said == "aloud", done.stderr
