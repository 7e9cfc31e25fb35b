"""Every number that the service tells about itself.

catalog    Metrics, SupervisorMetrics: all names, labels and meanings, in one list
cells      Tally, Histogram, Gauge: what the entries of that list are made of
families   the numbers of one process as plain data, those of several added up, the text of both
exposition what /metrics shows: these numbers, or in a worker those of all
__main__   the list as the table of docs/metrics.md

Never prometheus-client's multiprocess mode: workers tell their supervisor their numbers
(``cli/gathering.py``), and any of them shows the sum.
"""

from verifier.metrics.catalog import Metrics, SupervisorMetrics
from verifier.metrics.cells import Cell, Gauge, Histogram, Tally

__all__ = ["Cell", "Gauge", "Histogram", "Metrics", "SupervisorMetrics", "Tally"]
