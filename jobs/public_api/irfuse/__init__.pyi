from fusion_core.api import fuse as fuse
from fusion_core.api import score as score
from fusion_core.errors import IrfuseError as IrfuseError
from fusion_core.methods import list_methods as list_methods
from fusion_core.metrics import list_metrics as list_metrics
from jobs.execution import RunResult as RunResult
from jobs.options import PairsOptions as PairsOptions
from jobs.options import ReconstructOptions as ReconstructOptions
from jobs.options import RunOptions as RunOptions
from jobs.options import ScoreOptions as ScoreOptions
from jobs.options import StatusOptions as StatusOptions
from jobs.options import SummarizeOptions as SummarizeOptions
from jobs.options import TrainOptions as TrainOptions
from jobs.pairs import PairsResult as PairsResult
from jobs.pairs import pairs as pairs
from jobs.reconstruct import ReconstructionReport as ReconstructionReport
from jobs.reconstruct import reconstruct as reconstruct
from jobs.run import run as run
from jobs.score import score_collection as score_collection
from jobs.status import Status as Status
from jobs.status import status as status
from jobs.summarize import summarize as summarize
from jobs.summary import Summary as Summary
from jobs.train import TrainResult as TrainResult
from jobs.train import train as train

def main() -> None: ...
