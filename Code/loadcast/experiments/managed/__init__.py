"""Managed services as targets: jobs of Azure that run a script which reads and writes a container."""
