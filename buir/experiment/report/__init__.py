"""Tables, figures and the one page that says which model is best where."""

from buir.experiment.report.advice import winners
from buir.experiment.report.blocks import aligned
from buir.experiment.report.figures import sparsity_figure, verdict_figure
from buir.experiment.report.tables import markdown_report, searches_table, text_report
from buir.experiment.report.write import Report, panels_of, write_report

__all__ = [
    "Report",
    "aligned",
    "markdown_report",
    "panels_of",
    "searches_table",
    "sparsity_figure",
    "text_report",
    "verdict_figure",
    "winners",
    "write_report",
]
