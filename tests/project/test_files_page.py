"""The code on the page about files runs, from a file of each kind to lists."""

import contextlib
import gzip
import io
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from buir.data import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def write_files(folder: Path) -> None:
    rng = np.random.default_rng(0)
    liked = rng.random((40, 25)) < 0.3
    (folder / "gowalla").mkdir()
    kept = rng.random(liked.shape) < 0.8
    for name, part in (("train", liked & kept), ("test", liked & ~kept)):
        lines = [" ".join(map(str, [user, *np.flatnonzero(row)])) for user, row in enumerate(part)]
        (folder / "gowalla" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (folder / "gowalla" / "user_list.txt").write_text("org_id remap_id\n12 0\n")
    rows = [f"u{user}\ti{item}\t{float(liked[user, item])}\n" for user in range(40) for item in range(25)]
    (folder / "clicks.inter").write_text("user_id:token\titem_id:token\tlabel:float\n" + "".join(rows))
    reviews = [
        {"reviewerID": f"A{user}", "asin": f"B{item}", "overall": float(2 + 3 * liked[user, item]), "helpful": [0, 1]}
        for user in range(40)
        for item in range(25)
    ]
    lines = "".join(json.dumps(review | {"unixReviewTime": 1_400_000_000}) + "\n" for review in reviews)
    (folder / "reviews_Beauty_5.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    sp.save_npz(folder / "plays.npz", sp.csr_array(liked * 3.0))


@pytest.mark.parametrize("place", range(len(BLOCKS)))
def test_each_file_goes_to_lists(tmp_path, monkeypatch, place):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the data are small
        exec(BLOCKS[place], {})
    text = said.getvalue()
    assert text.split()[:4] == ["user", "item", "score", "rank"]
    expected = {1: "u0", 2: "A0"}.get(place, "0")
    assert re.search(rf"^0 +{expected} ", text, re.MULTILINE)


def test_the_page_has_every_form():
    assert len(BLOCKS) == 4
    for name in ("LibSVM", "Matrix Market", "JSON lines", "Parquet", "npz", "RecBole", "adjacency", "counted"):
        assert name in PAGE
    assert len(FORMATS) == 13
