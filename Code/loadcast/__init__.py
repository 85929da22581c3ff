"""loadcast: the load class of every server for each of the next 48 hours.

Importing this package imports neither pyspark nor any other heavy library; the rooms below it do so when they are
entered.
"""

__version__ = "0.1.0"
