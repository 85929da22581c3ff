"""Java libraries that the integration tests need, fetched once by Spark's own Ivy into the environment's `var/ivy`.

Ivy asks Maven Central, or what the machine has been told to ask instead. Run as a program, this fetches what is not
there.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyspark

SPARK_HOME = Path(pyspark.__file__).parent
SPARK_JARS = SPARK_HOME / "jars"
#: What is said of a part that is not installed, where the tests that need it skip.
MISSING = "is not here: scripts/setup-integration.sh fetches it, given a network"
_FOLDER = Path(sys.prefix, "var", "ivy")
#: Spark brings these two itself.
_SPARK_S_OWN = "org.apache.hadoop:hadoop-client-api,org.apache.hadoop:hadoop-client-runtime"


def hadoop_version() -> str:
    """The version of PySpark's Hadoop, such as `3.5.0`."""
    return next(SPARK_JARS.glob("hadoop-client-api-*.jar")).stem.removeprefix("hadoop-client-api-")


@dataclass(frozen=True)
class Artefacts:
    """Some libraries by their Maven coordinates, with all that they need; in a folder of their own."""

    name: str
    packages: tuple[str, ...]

    @property
    def settings(self) -> dict[str, str]:
        """Spark settings with which a session has the libraries."""
        return {
            "spark.jars.packages": ",".join(self.packages),
            "spark.jars.excludes": _SPARK_S_OWN,
            "spark.jars.ivy": str(_FOLDER / self.name),
        }

    @property
    def jars(self) -> list[Path]:
        """The libraries' files; none unless all have been fetched."""
        complete = self._stamp.is_file() and self._stamp.read_text() == self._wanted
        return sorted((_FOLDER / self.name / "jars").glob("*.jar")) if complete else []

    def fetch(self) -> None:
        """Fetch them, by starting a Spark with them."""
        settings = {"spark.master": "local[1]", "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
        builder = pyspark.sql.SparkSession.builder
        for key, value in (settings | self.settings).items():
            builder = builder.config(key, value)
        builder.getOrCreate().stop()
        self._stamp.write_text(self._wanted)

    @property
    def _stamp(self) -> Path:
        return _FOLDER / self.name / ".stamp"

    @property
    def _wanted(self) -> str:
        return ",".join(self.packages)


#: HDFS and YARN for tests. The other two are used by it, but not named among its dependencies.
MINICLUSTER = Artefacts(
    "minicluster",
    (
        f"org.apache.hadoop:hadoop-client-minicluster:{hadoop_version()}",
        "org.junit.jupiter:junit-jupiter-api:5.13.4",
        "org.bouncycastle:bcpkix-jdk18on:1.82",
    ),
)
#: ABFS for our Spark, and WASB for PySpark 3.5 with its Hadoop.
ABFS = Artefacts("abfs", (f"org.apache.hadoop:hadoop-azure:{hadoop_version()}",))
WASB = Artefacts("wasb", ("org.apache.hadoop:hadoop-azure:3.3.4",))
ALL = (MINICLUSTER, ABFS, WASB)


def main() -> None:
    """Fetch what is missing; with a name, only that, in this process: a Java process has one set of packages."""
    named = next((artefact for artefact in ALL if artefact.name in sys.argv[1:]), None)
    if named:
        named.fetch()
        return
    failed = []
    for artefact in ALL:
        if not artefact.jars:
            print(f"Fetching {', '.join(artefact.packages)}", flush=True)
            done = subprocess.run([sys.executable, __file__, artefact.name], capture_output=True, text=True)
            if done.returncode != 0 or not artefact.jars:
                failed.append(f"{artefact.name}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
