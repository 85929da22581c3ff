"""The HTTP front: connections that no client can hold, requests read whole before anybody works on them.

gunicorn's arbiter starts and watches the workers; each worker is one event loop (worker.py) that reads and parses
(connection.py, with llhttp), and calls the WSGI application for whole requests only (exchange.py).
"""
