"""Targets that are managed services: files and job definitions go there by their SDKs, and nothing of ours listens.

Where the service mounts the target's files as a folder (Databricks), `folder_bootstrap`, `folder_files` and
`folder_runner` do the work; where they are in a container beside it (Azure Synapse, Azure Machine Learning),
`blob_bootstrap`, `blob_store` and `blob_runner`. A bootstrap is sent as the one file that it is.
"""
