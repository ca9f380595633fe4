from haltung.api.model import ArticleResult as ArticleResult
from haltung.api.model import LoadedModel as LoadedModel
from haltung.api.model import TextResult as TextResult
from haltung.api.model import load as load
from haltung.api.runs import ComparedRuns as ComparedRuns
from haltung.api.runs import EvaluatedRun as EvaluatedRun
from haltung.api.runs import TrainedRun as TrainedRun
from haltung.api.runs import compare as compare
from haltung.api.runs import evaluate as evaluate
from haltung.api.runs import train as train
from haltung.errors import UserError as UserError

__version__: str
