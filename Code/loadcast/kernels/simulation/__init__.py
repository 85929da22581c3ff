"""A past that did not know its future: training rows of simulated cutoffs, and rows to score a test period by.

Bounds of classes, and all that is seen relative to them, would depend on their own future if they were learned from all
training hours. So for some past hours, the cutoffs, they are learned from what lies before, and training rows are of
the days after.
"""
