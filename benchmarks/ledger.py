"""Measured rows in a CSV file, written one by one, so that a measurement that was interrupted goes on where it stopped."""

import csv
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "docs" / "results"


class Ledger:
    """Rows of text in a CSV file, each found again by some of its columns.

    Parameters
    ----------
    path
        The file; it need not exist.
    key
        Columns that together name a row.
    """

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        self.path, self.key = path, key
        self.rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                self.rows = list(csv.DictReader(file))

    def __contains__(self, named: tuple[object, ...]) -> bool:
        """Whether there is a row of that key."""
        return tuple(map(str, named)) in {tuple(row[column] for column in self.key) for row in self.rows}

    def add(self, row: dict[str, object]) -> None:
        """Append a row to the file and print it."""
        text = {column: str(value) for column, value in row.items()}
        print(", ".join(f"{column}={value}" for column, value in text.items()), flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(text), lineterminator="\n")
            if not self.rows:
                writer.writeheader()
            writer.writerow(text)
        self.rows.append(text)

    def means(self, by: tuple[str, ...], column: str) -> dict[tuple[str, ...], tuple[float, int]]:
        """Return mean and number of a column's values for each combination of the columns ``by``, in order of appearance."""
        values: dict[tuple[str, ...], list[float]] = {}
        for row in self.rows:
            values.setdefault(tuple(row[name] for name in by), []).append(float(row[column]))
        return {group: (sum(some) / len(some), len(some)) for group, some in values.items()}
