"""Serve a trained bundle over HTTP: see --help. `init` and `run` score without HTTP, as in the public sample."""

if __name__ == "__main__":
    from loadcast.cli.program import run as run_command

    run_command("serve", "serve")
else:
    from loadcast.serving.api import init, run

    __all__ = ["init", "run"]
