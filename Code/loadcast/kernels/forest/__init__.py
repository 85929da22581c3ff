"""Growing a random forest on one machine, as Spark ML grows it: the same bits, several times sooner."""
