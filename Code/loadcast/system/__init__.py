"""The operating system: signals and processes, temporary folders, a disk that is full, small files."""
