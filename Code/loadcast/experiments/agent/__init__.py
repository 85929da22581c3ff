"""What is sent to a target and keeps runs there: Python's standard library alone, Python 3.8 or newer, any Linux.

    python3 agent.pyz BASE COMMAND [ARGUMENTS]

    BASE/blobs/ab/abcdef…     contents of files, by their sha-256
    BASE/environments/HASH/   environments of Python, each made once
    BASE/needed/HASH.PROJECT  somebody has asked for an environment, last when the file was touched
    BASE/runs/ID/
      request.json            what is run; no secret is in it
      lock                    held as long as the run's keeper lives, which no other process can seem to do
      state.json              starting, running, completed, failed or cancelled; replaced as a whole
      cancel                  somebody wants the run to end
      log                     what the script writes, both streams in one
      logged.jsonl            what it logs by run_logger()
      work/                   its working directory: the snapshot's files, then outputs/ and logs/

A keeper is a process of its own, in a session of its own: it goes on when the connection that has started it is gone.
Requests and secrets come on standard input, answers leave as JSON on standard output. An error is one line, and code 1.
This package imports nothing of loadcast, and its modules each other relatively: it travels as a zip of its own.
"""
