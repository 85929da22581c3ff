"""Features of a forecast that is made at an origin for hours after it: all they know lies at the origin or before.

They are made of loads relative to the bounds of their classes, so they mean the same for every server.
What is not known is NaN, told apart from a load of zero.
"""
