from .api import fuse as fuse
from .api import score as score
from .errors import IrfuseError as IrfuseError
from .methods import METHODS as METHODS
from .methods import list_methods as list_methods
from .metrics import METRICS as METRICS
from .metrics import list_metrics as list_metrics
