from __future__ import annotations
import json, os, shutil, subprocess, sys, time
from pathlib import Path
import pytest
from clusters import Cluster
from head_node import make_cluster_commands
from ssh_host import running_ssh_host, require_ssh_host

SCRIPT = """
import os, sys, json
from pyspark.sql import SparkSession
print("words", sys.argv[1:], flush=True)
print("secret", os.environ.get("MY_SECRET") == "sesame-1234", "var", os.environ.get("MY_VAR"))
from loadcast.run_logger import run_logger
run_logger().log("answer", 42)
from loadcast.spark.session import create_session
def probe(_):
    import os
    from loadcast.kernels import scan
    from loadcast.kernels.sweep import compiled_sweep
    scan.load()
    s = compiled_sweep().stats
    yield sum(s.cache_hits.values()), sum(s.cache_misses.values()), os.getcwd()
spark = create_session("x")
print(spark.sparkContext.parallelize(range(2), 2).mapPartitions(probe).collect())
open("outputs/a", "w").write("42")
print("cwd", os.getcwd(), os.path.exists("Config/x.json"))
spark.stop()
sys.exit(int(sys.argv[1]))
"""


def test_it(yarn: Cluster, tmp_path: Path) -> None:
    require_ssh_host()
    programs = make_cluster_commands(tmp_path / "programs", yarn)
    (tmp_path / "host").mkdir()
    with running_ssh_host(tmp_path / "host", programs) as host:
        project = tmp_path / "project"
        shutil.copytree("/work/main/Code", project / "Code", ignore=shutil.ignore_patterns("__pycache__"))
        (project / "Config").mkdir()
        (project / "Config" / "x.json").write_text("{}")
        (project / "Code" / "try.py").write_text(SCRIPT)
        shutil.copy("/work/main/Config/conda_dependencies.yml", project / "Config")
        (project / "Config" / "hdi_spark_dependencies.yml").write_text(json.dumps({"configuration": yarn.settings}))
        env = {**os.environ, "S": "sesame-1234"}

        def loadcast(*words, code=0):
            t = time.time()
            done = subprocess.run(
                [sys.executable, "-m", "loadcast", *words], cwd=project, env=env, capture_output=True, text=True
            )
            print("$", *words, round(time.time() - t, 1))
            print(done.stdout, done.stderr, flush=True)
            assert done.returncode == code
            return done.stdout

        mode = os.environ.get("MODE", "cluster")
        loadcast(
            "computetarget",
            "attach",
            "cluster",
            "--name",
            "myhdi",
            "--address",
            host.address,
            "--username",
            host.user,
            "--private-key-file",
            str(host.key_file),
            "--ssh-port",
            str(host.port),
            "--python-location",
            yarn.environment["PYSPARK_PYTHON"],
        )
        c = project / "aml_config" / "myhdi.compute"
        c.write_text(c.read_text().replace("yarnDeployMode: cluster", f"yarnDeployMode: {mode}"))
        rc = project / "aml_config" / "myhdi.runconfig"
        rc.write_text(
            rc.read_text().replace(
                "EnvironmentVariables: null",
                'EnvironmentVariables:\n  MY_SECRET: env:S\n  MY_VAR: "a $(id) \'b\' \\"c"',
            )
        )
        for i in range(2):
            loadcast(
                "experiment",
                "submit",
                "-c",
                "myhdi",
                "Code/try.py",
                str(i * 3),
                "two words",
                "$(id)",
                "'\"",
                "ü",
                "-x",
                "a\nb",
                code=i * 3,
            )
            for r in sorted((project / ".loadcast" / "runs").iterdir()):
                print(r.name, [str(x.relative_to(r)) for x in r.rglob("*") if x.is_file()])
            print((r / "logged.jsonl").read_text())
