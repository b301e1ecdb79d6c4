"""The rivals of a comparison with the settings that its searches found, beside BUIR as it is today.

    python -m benchmarks.again sweep --missing [--splits 2 [--on filmtrust ...]] [--jobs 2]
    buir report --out results/sweep-again --to docs/results/sweep-again

The searches of the sweep take hours. Here every rival is fitted with the settings that docs/results/sweep/sweep.md lists for it, data set by
data set and level by level, on the same splits, for as long as there; BUIR decides everything anew. So a change of BUIR is judged against all
rivals, user by user, in less than an hour. With --missing the data sets and levels of configs/sweep.yaml that the page lacks are run as well, with
its searches, which takes half an hour each. With --splits further splits are run (of the data --on), on which every rival has the settings that
docs/results/sweep-again lists for it on the first. Finished fits are not run again. The same of the other comparisons in docs/results.
"""

import argparse
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.ledger import RESULTS
from buir.experiment.config import load
from buir.experiment.records import Cell, Journal
from buir.experiment.run import Forecast, Progress, Sources
from buir.experiment.run import plan as benchmark

DESCRIPTION = (
    "the levels, splits and models of {name}, and for each rival the settings that its search found there, on the same validation parts: it is fitted "
    "again, as long as there (30 seconds, if it trains in epochs), and its rows show no search; BUIR decides everything anew, and no model is trained on "
    "validation pairs{searched}"
)
SEARCHED = ". Rivals are searched here on {places}"
OTHERS = (
    ". On split seed {others} ({data}) rivals have the settings that were found on split seed {firsts}, whose validation parts chose them and not those of "
    "{others}; their epochs and the strengths of their terms are chosen anew"
)
TRIED = 3.0
"""Seconds of the single trial by which a model without anything to search gets its fit."""


def settings_found(page: Path) -> dict[tuple[str, float, str], dict[str, Any]]:
    """Read the settings of each data set, level and model from a report's table of all settings."""
    found: dict[tuple[str, float, str], dict[str, Any]] = {}
    _, _, table = page.read_text(encoding="utf-8").partition("| data set | level | model | seeds | settings |\n")
    for line in table.splitlines()[1:]:
        if not line.startswith("|"):
            break
        data, level, model, _, told = (part.strip() for part in line.strip("|").split(" | "))
        pairs = re.findall(r"(\w+)=(\{[^}]*\}|\[[^]]*\]|[^,]+)", told.strip("` "))
        settings = {name: yaml.safe_load(value) for name, value in pairs if value != "None"}
        found[data, float(level.removesuffix(" %")) / 100, model] = settings
    return found


def cells_of(planned: list[Cell], found: dict[tuple[str, float, str], dict[str, Any]]) -> list[Cell]:
    """Give each rival the settings that were found, for it or else for the model whose search it shares.

    Places without BUIR are left out, and rivals without settings.
    """
    cells = []
    for cell in planned:
        settings = found.get((cell.dataset, cell.level, cell.model))
        if settings is None and cell.searched_as is not None:
            lent = found.get((cell.dataset, cell.level, cell.searched_as.model))
            settings = None if lent is None else lent | dict(cell.params)
        assert cell.tuning is not None
        if (cell.dataset, cell.level, "BUIR") not in found:
            continue
        if cell.kind == "buir":
            cells.append(cell)
        elif settings is not None:
            tuning = dict(cell.tuning) | {"space": {}}
            cells.append(replace(cell, params=settings, tuning=tuning, searched_as=None))
    return cells


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of a folder in docs/results")
    parser.add_argument(
        "--missing", action="store_true", help="search the places of configs/NAME.yaml that the page lacks"
    )
    parser.add_argument(
        "--splits", type=int, nargs="+", default=[], help="further split seeds, with the settings found on the first"
    )
    parser.add_argument("--on", nargs="+", metavar="DATA", help="data sets of the further splits; all by default")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="results/NAME-again by default")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder, name = RESULTS / args.name, f"{args.name}-again"
    out = args.out or Path("results") / name
    page = load(folder / f"{args.name}.yaml", [f"name={name}"])
    config = load(Path("configs") / f"{args.name}.yaml", [f"name={name}"]) if args.missing else page
    firsts = page.protocol.split_seeds
    seeds = (*firsts, *(seed for seed in args.splits if seed not in firsts))
    protocol = config.protocol.model_copy(update={"split_seeds": seeds})
    config = config.model_copy(update={"protocol": protocol, "seeds": page.seeds})
    assert config.tuning is not None
    single = config.tuning.model_copy(update={"trials": 1, "max_seconds": TRIED})
    found = settings_found(folder / f"{args.name}.md")
    sources, journal = Sources(config), Journal(out)
    planned = benchmark.plan(config.model_copy(update={"tuning": single}), sources)
    again = cells_of([cell for cell in planned if cell.split_seed in firsts], found)
    searched = benchmark.plan(config, sources) if args.missing else []
    searched = [
        cell for cell in searched if cell.split_seed in firsts and (cell.dataset, cell.level, "BUIR") not in found
    ]
    names = [data.label for data in config.data]
    further = args.on or names
    if strangers := sorted(set(further) - set(names)):
        parser.error(f"--on names {', '.join(strangers)}; expected of {', '.join(names)}")
    others = [cell for cell in planned if cell.split_seed not in firsts and cell.dataset in further]
    if others and (RESULTS / name).exists():
        found |= settings_found(RESULTS / name / f"{name}.md")
    cells = again + searched + cells_of(others, found)
    places = ", ".join(dict.fromkeys(f"{cell.dataset} at {cell.train_pct} %" for cell in searched))
    told_of = SEARCHED.format(places=places) if searched else ""
    if others:
        told_of += OTHERS.format(
            data=", ".join(further),
            others=" and ".join(map(str, seeds[len(firsts) :])),
            firsts=" and ".join(map(str, firsts)),
        )
    config = config.model_copy(update={"description": DESCRIPTION.format(name=args.name, searched=told_of)})
    forecast, missing = Forecast(sources.sizes(), journal.records()), benchmark.unfinished(cells, journal)
    print(f"{len(missing)} of {len(cells)} fits are to be run", flush=True)
    progress = Progress(missing, forecast, jobs=args.jobs, log=lambda _: None)
    command = f"python -m benchmarks.again {args.name}{' --missing' if args.missing else ''}"
    command += "".join(f" {word}" for word in ("--splits", *args.splits)) if args.splits else ""
    command += "".join(f" {word}" for word in ("--on", *args.on)) if args.on else ""
    with journal.exclusive(), closing(progress):
        benchmark.run(config, out, progress, jobs=args.jobs, sources=sources, cells=cells, command=command)


if __name__ == "__main__":
    main()
