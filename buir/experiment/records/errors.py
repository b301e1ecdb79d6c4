"""What a user can mend: the command line shows these as one line, everything else as a traceback."""


class ExperimentError(RuntimeError):
    """Something outside the program stands in the way; the message says what, and what to do."""


class DataError(ExperimentError):
    """Data that cannot be read or split as asked; the message names the data set."""


class JournalBusyError(ExperimentError):
    """Another process writes to the folder of results."""


class WorkerDiedError(ExperimentError):
    """A process that ran cells was killed from outside."""


class NothingToShowError(ExperimentError):
    """A folder holds no benchmark, or a damaged one."""


class ViewerError(ExperimentError):
    """The server of the user interface did not come up."""
