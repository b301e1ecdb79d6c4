"""The report of a benchmark: one HTML file, one Markdown page with its figures, CSV files with every number."""

import base64
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from buir.data import replace_atomically
from buir.errors import one_line
from buir.experiment.config import PanelsConfig, recipe
from buir.experiment.records import Record, frame, mixture
from buir.experiment.report.blocks import Image, Section, markdown
from buir.experiment.report.content import make_content
from buir.experiment.statistics import PLACE, Findings, Panel, ReadUsers, default_panel, findings, judge


@dataclass(frozen=True)
class Report:
    """What a report found, and where it lies."""

    files: list[Path]
    """The page in HTML and in Markdown; means, differences and groups as CSV; the configuration, if it is known."""
    findings: list[Findings]
    warning: str | None
    """What a reader has to know before anything else."""

    def places(self) -> list[dict[str, Any]]:
        """Tell of each data set and level, in plain values, who leads and every mean with its interval."""
        return [
            {
                "dataset": found.dataset,
                "protocol": found.protocol,
                "level": found.level,
                "leaders": {metric: list(leaders.names) for metric, leaders in found.leaders.items()},
                "means": [
                    {"model": model, "metric": metric, "mean": mean.value, "low": mean.low, "high": mean.high}
                    for (model, metric), mean in found.intervals.items()
                ],
            }
            for found in self.findings
        ]


def write_report(
    plan: Mapping[str, Any],
    records: Sequence[Record],
    read_users: ReadUsers,
    folder: str | Path,
    *,
    command: str | None = None,
    rerun: str | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> Report:
    """Write ``<name>.html``, ``<name>.md`` with ``<name>-figures/``, the numbers as CSV, and the configuration.

    The numbers are in ``<name>.csv`` (means), ``<name>-differences.csv`` and ``<name>-groups.csv``; the configuration
    is in ``<name>.yaml``.

    Parameters
    ----------
    plan
        The journal's: ``name``; ``keys`` of all runs, the unfinished too; ``headline``, the metrics that are tested, of
        which the first decides the advice; ``planned``, the runs of each model at every place of a data set, if
        known; ``config`` or None; ``command`` and ``jobs`` of their start, if known.
    records
        Cell records of the plan, refused ones included.
    read_users
        From a cell's key to its per-user frame.
    folder
        Where the files go.
    command, rerun
        The commands that make the report and the runs, to be printed.
    progress
        Told which part begins.

    Raises
    ------
    ValueError
        If no cell is finished, or values cannot be compared (see `buir.experiment.statistics.panel.make_panel`).
    """
    name, config = plan["name"], plan["config"]
    if not any(record.ok for record in records):
        msg = f"no finished run among {len(records)} records of {name}: run the benchmark first, then report"
        raise ValueError(msg)
    records = _ordered(records)
    panels = panels_of(config, records)
    planned = plan.get("planned")
    found = findings.find(
        records, read_users, headlines=plan["headline"], planned=planned, panels=panels, progress=progress
    )
    made_by = []
    if rerun:
        made_by.append(
            f"Runs: `{rerun}` (with another folder after --out, everything runs again). Their whole configuration lies "
            "beside this page."
        )
    if command:
        made_by.append(f"Made by `{command}`.")
    content = make_content(plan, records, found, judge(found, panels), made_by)
    progress("writing")
    images = _images(content)
    pages = {f"{name}.{form}": render(form, content, images, f"{name}-figures") for form in ("html", "md")}
    csv = {"lineterminator": "\n", "float_format": "%.6f", "index": False}
    pages |= {f"{name}{end}.csv": shown.to_csv(**csv) for end, shown in content["csv"].items()}
    pages |= {f"{name}.yaml": recipe(config)} if config is not None else {}
    folder = Path(folder)
    figures = {f"{name}-figures/{image}.png": drawn for image, drawn in images.items()}
    for file, data in (figures | {page: text.encode() for page, text in pages.items()}).items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(folder / file, data)
    return Report([folder / page for page in pages], found, mixture(records))


def panels_of(config: Mapping[str, Any] | None, records: Sequence[Record]) -> list[Panel]:
    """Return the panels that a plan's configuration asks for; by default all models are one."""
    asked = (config or {}).get("panels")
    if not asked:
        return [default_panel(records)]
    asked = PanelsConfig.model_validate(asked)
    headline = asked.headline or next(iter(asked.models))
    return [Panel(name, (asked.reference,), asked.members(name), name == headline) for name in asked.models]


def render(form: str, content: Mapping[str, Any], images: Mapping[str, bytes], figures: str) -> str:
    """Fill the template of a form: "html" holds the images, "md" links to them in the folder ``figures``."""
    loader = FileSystemLoader(Path(__file__).with_name("templates"))
    jinja = Environment(
        loader=loader,
        autoescape=select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters |= {"inline": _inline, "markdown": markdown, "one_line": one_line}
    data = {image: base64.b64encode(drawn).decode() for image, drawn in images.items()}
    return jinja.get_template(f"report.{form}.j2").render(content, images=data, figures=figures)


def _ordered(records: Sequence[Record]) -> list[Record]:
    """Order data sets and models as they came, levels and seeds ascending, whatever run was finished first."""
    runs = frame(records)
    runs = runs.assign(**{name: pd.factorize(runs[name])[0] for name in ("dataset", "model")})
    return runs.sort_values([*PLACE, "model", "split_seed", "seed"], kind="stable")["record"].tolist()


def _images(content: Mapping[str, Any]) -> dict[str, bytes]:
    """Draw the figures of all sections, the same bytes for the same figure."""
    blocks = [block for section in content["sections"] for block in section.blocks]
    blocks += [inner for block in blocks if isinstance(block, Section) for inner in block.blocks]
    drawn = {}
    for image in blocks:
        if isinstance(image, Image):
            image.figure.savefig(png := io.BytesIO(), format="png", dpi=130, metadata={"Software": None})
            drawn[image.name] = png.getvalue()
    return drawn


def _inline(text: object) -> Markup:
    """Escape a sentence for HTML; ``**bold**`` and `` `code` `` become tags."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(str(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", marked))
