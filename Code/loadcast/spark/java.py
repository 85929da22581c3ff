"""Finding a Java that can start Spark: version 17 or newer, with the module jdk.incubator.vector.

`python -m loadcast.spark.java` prints its home, or says in one sentence what is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loadcast.errors import EnvironmentNotReadyError

OLDEST_VERSION = 17
VECTOR_MODULE = "jdk.incubator.vector"
_JVM_FOLDER = Path("/usr/lib/jvm")
_PROBE_TIMEOUT_S = 30


@dataclass(frozen=True)
class JavaRuntime:
    """One Java on this machine: its home folder, its feature version (8, 17, …) and whether it has VECTOR_MODULE."""

    home: Path
    version: int
    has_vector: bool

    @property
    def fault(self) -> str | None:
        """Why Spark cannot start with it; None where it can."""
        if self.version < OLDEST_VERSION:
            return f"{self.home} is Java {self.version}"
        if not self.has_vector:
            return f"{self.home} lacks the module {VECTOR_MODULE}"
        return None


def find_java() -> Path:
    """Home folder of a Java that can start Spark, fit for JAVA_HOME; sets nothing itself.

    Looks at JAVA_HOME, then PATH, then /usr/lib/jvm from the oldest version on. Raises EnvironmentNotReadyError.
    """
    runtimes = (probe(java) for java in candidates(os.environ, _JVM_FOLDER))
    return choose(runtime for runtime in runtimes if runtime is not None).home


def choose(runtimes: Iterable[JavaRuntime]) -> JavaRuntime:
    """First of `runtimes` that can start Spark; later ones are not looked at. Raises EnvironmentNotReadyError."""
    faults = []
    for runtime in runtimes:
        if runtime.fault is None:
            return runtime
        faults.append(runtime.fault)
    described = "; ".join(faults) or "none"
    raise EnvironmentNotReadyError(
        f"Java: found {described}; wanted Java {OLDEST_VERSION} or newer with the module {VECTOR_MODULE}: "
        "install one (Debian or Ubuntu: apt-get install openjdk-17-jre-headless) or point JAVA_HOME at one."
    )


def candidates(environment: Mapping[str, str], jvm_folder: Path) -> Iterator[Path]:
    """Paths of the `java` programs to try, best first, each program once; links are followed."""
    paths = []
    if environment.get("JAVA_HOME"):
        paths.append(Path(environment["JAVA_HOME"]) / "bin" / "java")
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    if on_path:
        paths.append(Path(on_path))
    paths.extend(home / "bin" / "java" for home in sorted(jvm_folder.glob("*"), key=_version_in_name))
    seen = set()
    for path in paths:
        java = path.resolve()
        if java not in seen and java.is_file() and os.access(java, os.X_OK):
            seen.add(java)
            yield java


def _version_in_name(home: Path) -> tuple[int, str]:
    # java-1.8.0-… is 8; java-17-…, temurin-25-jdk and the like carry their version as it is.
    number = re.search(r"(?:1\.)?(\d+)", home.name)
    return (int(number.group(1)) if number else sys.maxsize, home.name)


def probe(java: Path) -> JavaRuntime | None:
    """Ask the program `java` what it is; None where it does not answer as a Java does."""
    settings = _output([str(java), "-XshowSettings:properties", "-version"])
    properties = parse_properties(settings)
    version = parse_version(properties.get("java.specification.version", ""))
    if version is None or "java.home" not in properties:
        return None
    has_vector = version >= OLDEST_VERSION and VECTOR_MODULE in _output([str(java), "--list-modules"])
    return JavaRuntime(Path(properties["java.home"]), version, has_vector)


def parse_properties(text: str) -> dict[str, str]:
    """The `name = value` lines that `java -XshowSettings:properties` prints."""
    return dict(re.findall(r"^\s*([\w.]+) = (.*?)\s*$", text, re.MULTILINE))


def parse_version(text: str) -> int | None:
    """Feature version in java.specification.version: `1.8` is 8, `17` is 17; None where it is neither."""
    match = re.fullmatch(r"(?:1\.)?(\d{1,4})", text)
    return int(match.group(1)) if match else None


def _output(argv: list[str]) -> str:
    """All that a program prints, or nothing where it cannot be run or takes too long."""
    try:
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PROBE_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode(errors="replace")


def main() -> int:
    """Print the home of the Java that Spark will use; the exit code says whether there is one."""
    try:
        print(find_java())
    except EnvironmentNotReadyError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
