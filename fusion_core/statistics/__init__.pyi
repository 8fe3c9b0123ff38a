from .bootstrap import bootstrap_intervals as bootstrap_intervals
from .description import Statistics as Statistics
from .description import describe as describe
