"""Targets that are managed services: files and job definitions go there by their SDKs, and nothing of ours listens.

`bootstrap` is sent to all of them as the one file that it is; `service_files` and `service_runner` are what the clients
of the services share, and each has a type of target and a client of its own.
"""
