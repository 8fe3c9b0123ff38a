from .finding import Discovery as Discovery
from .finding import find_pairs as find_pairs
from .patterns import find_by_patterns as find_by_patterns
from .registry import LAYOUTS as LAYOUTS
from .registry import Layout as Layout
from .unmatched import Pair as Pair
