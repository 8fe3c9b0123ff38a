from .code import CodeOrigin as CodeOrigin
from .code import Extension as Extension
from .defining import method as method
from .entry_points import list_entry_points as list_entry_points
from .finding import FoundMethod as FoundMethod
from .finding import find_method as find_method
from .finding import load_method as load_method
