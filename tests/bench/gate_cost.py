"""What a gate costs `/forecast` of one server, in process, with and without in turns; and what reading the file costs.

python -m bench.gate_cost OUTPUT GATE [SERVER]     in tests/, the gate as loadcast monitor --gate wrote it
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from loadcast.artefacts.gate import GateFile, read_gate
from loadcast.serving.app import create_app
from loadcast.serving.gate_file import LiveGate
from loadcast.serving.predictor import Predictor

_ROUNDS = 300
_FLEETS = (100, 1_000, 10_000)
_READINGS = 5


def main() -> None:
    """Measure, and print a line each."""
    output, gate = map(Path, sys.argv[1:3])
    content = read_gate(gate)
    server = sys.argv[3] if len(sys.argv) > 3 else next(iter(content.usual))
    predictor, live = Predictor.load(output), LiveGate(gate)
    clients = {
        name: create_app(predictor, keys=None, name="x", statistics=output, forecast_gate=used).test_client()
        for name, used in (("without a gate", None), ("with it", live))
    }
    took_ms: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(_ROUNDS):
        for name, client in clients.items():
            begin_s = time.perf_counter()
            hours = client.get("/forecast", query_string={"server": server}).json["hours"]
            took_ms[name].append(1e3 * (time.perf_counter() - begin_s))
            assert ("answeredBy" in hours[0]) == (name == "with it"), "the gate is stale: make it anew"
    for name, items in took_ms.items():
        print(f"/forecast {name}: {median(items):.2f} ms")
    begin_s = time.perf_counter()
    for _ in range(10_000):
        live.state(predictor.info)
    print(f"which gate counts: {100 * (time.perf_counter() - begin_s):.2f} µs")
    for number in _FLEETS:
        print(f"reading one of {number} servers: {_reading_ms(content, number)}")


def _reading_ms(content: GateFile, servers: int) -> str:
    usual = {f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}": "1" * 168 for at in range(servers)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gate.json"
        path.write_bytes(content.model_copy(update={"usual": usual}).encoded())
        took_ms = []
        for _ in range(_READINGS):
            begin_s = time.perf_counter()
            LiveGate(path)
            took_ms.append(1e3 * (time.perf_counter() - begin_s))
        return f"{median(took_ms):.1f} ms, {path.stat().st_size / 1e6:.2f} MB"


if __name__ == "__main__":
    main()
