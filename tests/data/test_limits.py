"""What a file may cost and hold: sizes, lines, pipes, values that are no numbers, letters that no text has."""

import datetime
import gzip
import io
import os
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

import baselines
from buir import BUIR, Interactions
from buir.cli.app import app
from buir.data import doctor, read, read_split, read_text
from buir.data.files import text
from buir.data.files.tables import declared
from buir.data.files.text import fields_of
from buir.errors import InputError, ReadError, ShapeError

DIGITS = "1" * 5000
LONG = "a" * 140_000


def labelled(data):
    frame = data.to_frame()
    return list(zip(frame["user"].tolist(), frame["item"].tolist(), strict=True))


# Long fields, long numbers, long paths


@pytest.mark.parametrize(
    ("content", "pairs"),
    [
        (f'{LONG},1\nb,2\nc,"x"\n', [(LONG, "1"), ("b", "2"), ("c", "x")]),
        (f'"{LONG}",1\nb,2\n', [(LONG, 1), ("b", 2)]),
        (f'a,1\n"b""{LONG}","2"\n', [("a", 1), (f'b"{LONG}', 2)]),
        (f"user,item,{LONG}\na,1,2\nb,2,3\n", [("a", 1), ("b", 2)]),
        (f'a,1\n"b""{LONG}","2\n3"\n', [("a", "1"), (f'b"{LONG}', "2\n3")]),
        (f"b,{LONG * 10}\na,1\n", [("b", LONG * 10), ("a", "1")]),
    ],
)
def test_a_field_may_be_long(write, content, pairs):
    assert labelled(read(write(content, "data.csv"))) == pairs


@pytest.mark.parametrize(
    ("content", "pairs"),
    [
        (f"{DIGITS},1\n2,3\n", [(DIGITS, 1), ("2", 3)]),
        (f"1 {DIGITS} 2\n2 3 4\n3 4 5\n", 6),
        (f"1,2,3,{DIGITS}\n1,3,4,5\n", [(1, 2), (1, 3)]),
        (f"1 2:{DIGITS}\n2 2:1\n", 2),
    ],
)
@pytest.mark.filterwarnings("ignore::buir.errors.InputWarning")
def test_a_number_may_have_5000_digits(write, content, pairs):
    found = labelled(read(write(content)))
    assert found == pairs if isinstance(pairs, list) else len(found) == pairs


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (f'{{"user": {DIGITS}, "item": 1}}\n', {}, "holds no JSON object"),
        (f"%%MatrixMarket matrix coordinate real general\n2 2 1\n1 {DIGITS} 1\n", {}, "damaged matrix"),
        (f"user,item,time\na,b,{DIGITS}\n", {}, r"the time '1+\.\.\.1+' \(5,002 characters\) is neither"),
        (f"2 1 2\n{DIGITS} 3\n1 4\n", {}, r"promises 1+\.\.\.1+ \(5,000 characters\) items and lists 1"),
        (f"2 1 2\n-{DIGITS} 3\n1 4\n", {}, "negative count"),
        ("a,1\nb,2\n", {"columns": {"user": DIGITS, "item": 1}}, "has no column '1+"),
        ("a,1\nb,2\n", {"where": {DIGITS: "1"}}, "names the column '1+"),
    ],
)
def test_a_number_of_5000_digits_is_refused_in_one_sentence(write, content, options, words):
    with pytest.raises(ReadError, match=words) as caught:
        read(write(content), **options)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("path", ["x" * 5000, "x/" * 2500, "a\0b", "a\ud800b", "folder/x" * 600])
@pytest.mark.parametrize("reader", [read, read_text, lambda path: read_split(path, path)])
def test_a_path_that_no_file_can_have(path, reader):
    with pytest.raises(
        ReadError, match=r"no such file|cannot be read \(File name too long\)|is no name of a file"
    ) as caught:
        reader(Path(path))
    assert len(str(caught.value)) < 1000


# Columns of types that hold no numbers


def columns(kind, role, folder):
    path = folder / "data.parquet"
    pq.write_table(pa.table({"user": ["a", "b", "a"], "item": [1, 2, 2], role: kind}), path)
    return path


DAYS = [datetime.datetime(2020, 1, day) for day in (1, 2, 3)]
KINDS = {
    "timestamp": pa.array(DAYS, pa.timestamp("us")),
    "timestamp with a zone": pa.array(DAYS, pa.timestamp("ms", tz="Europe/Berlin")),
    "far timestamp": pa.array([2**62] * 3).cast(pa.timestamp("us")),
    "duration": pa.array([datetime.timedelta(1)] * 3),
    "time of day": pa.array([1, 2, 3], pa.time32("s")),
    "struct": pa.array([{"a": 1}] * 3),
    "list": pa.array([[1]] * 3),
    "map": pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
    "binary": pa.array([b"1"] * 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_ratings_are_numbers(kind, tmp_path):
    path = columns(KINDS[kind], "rating", tmp_path)
    with pytest.raises(ReadError, match=r"the rating column holds .* \(first: .*\), expected numbers; cast it"):
        read(path, min_rating=1)
    with pytest.raises(ReadError, match="the rating column holds"):
        read(path)
    assert read(path, columns={"user": "user", "item": "item"}).n_pairs == 3


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "timestamp" not in kind])
def test_times_are_numbers_or_dates(kind, tmp_path):
    with pytest.raises(ReadError, match=r"the time column holds .*expected numbers or dates; cast it"):
        read(columns(KINDS[kind], "time", tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_that_is_no_number_is_none_until_somebody_reads_it(kind, tmp_path):
    data = read(columns(KINDS[kind], "weight", tmp_path), columns={"user": "user", "item": "item", "weight": "weight"})
    assert np.isnan(data.weights).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "time" not in kind and kind not in ("binary", "duration")])
def test_rows_are_kept_by_values_of_text_alone(kind, tmp_path):
    with pytest.raises(ReadError, match=r"where names the column 'event', which holds .*expected text or numbers"):
        read(columns(KINDS[kind], "event", tmp_path), where={"event": "1"})


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        (KINDS["timestamp"], [1577836800, 1577923200, 1578009600]),
        (pa.array(DAYS, pa.timestamp("ns")), [1577836800, 1577923200, 1578009600]),
        (pa.array([1, 2, 3]).cast(pa.timestamp("ns")), [1e-9, 2e-9, 3e-9]),
        (pa.array([1, 2, 3], pa.date32()), [86400, 172800, 259200]),
        (KINDS["far timestamp"], [2**62 / 1e6] * 3),
        (pa.array([2**63 + 2**11] * 3, pa.uint64()), [2.0**63 + 2**11] * 3),
        (pa.array([1e300] * 3), [1e300] * 3),
        (pa.array([Decimal("1.5")] * 3, pa.decimal256(76, 10)), [1.5] * 3),
        (pa.array([Decimal(10) ** 70] * 3, pa.decimal256(76, 0)), [1e70] * 3),
    ],
)
def test_times_of_every_type(kind, times, tmp_path):
    data = read(columns(kind, "time", tmp_path))
    assert data.times[np.argsort(data.positions)].tolist() == times


@pytest.mark.filterwarnings("ignore::buir.errors.ValuesIgnoredWarning")
@pytest.mark.parametrize(
    "kind",
    [
        pa.array([Decimal("1.5")] * 3, pa.decimal256(76, 10)),
        pa.array([Decimal("1.5")] * 3, pa.decimal128(38, 10)),
        pa.array(["1.5"] * 3).dictionary_encode(),
        pa.array([1.5] * 3).dictionary_encode(),
        pa.array([True] * 3),
        pa.array([Decimal(10) ** 70] * 3, pa.decimal256(76, 0)),
    ],
)
def test_ratings_of_every_type_of_number(kind, tmp_path):
    path = columns(kind, "rating", tmp_path)
    assert read(path, min_rating=1).n_pairs == 3
    with pytest.raises(ReadError, match="3 below the rating threshold"):
        read(path, min_rating=1e80)


def test_rows_without_a_value_may_leave_numbers_beyond_64_bits(tmp_path):
    path = columns(pa.array([1e300, None, 2.0]), "rating", tmp_path)
    assert read(path, min_rating=1, drop_missing=True).n_pairs == 2


# Letters that no text has


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (b"a\0b,1\nb,2\n", {}),
        (b"a\0b,1\nb,2\n", {"encoding": "utf-8"}),
        (b"a\0b,1\nb,2\n", {"encoding": "latin-1"}),
        ("a\0b,1\nb,2\n".encode("utf-16"), {}),
        (b'{"user": "a\\u0000", "item": 1}\n{"user": "a", "item": 2}\n', {}),
        (b"a+2AA-,1\nb,2\n", {"encoding": "utf-7"}),
        (b'{"user": "a\\ud800", "item": 1}\n', {}),
        (b"a\x1fb::1\nb::2\n", {}),
    ],
)
def test_letters_that_cannot_be_kept_are_refused(write, content, options):
    with pytest.raises(ReadError, match=r"NUL|a zero at byte|is not utf-7|surrogate|0x1f"):
        read(write(content), **options)


def test_a_nul_in_parquet(tmp_path):
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"user": ["a\0", "a"], "item": [1, 2]}), path)
    with pytest.raises(ReadError, match=r"row 0 .*the user id 'a\\x00' holds a NUL.*write the id without it"):
        read(path)


@pytest.mark.parametrize("label", ["a\0", "a\ud800"])
@pytest.mark.parametrize("side", [0, 1])
def test_an_id_that_cannot_be_saved_is_refused_before_training(label, side):
    pairs = [["a", "b", label], [1, 2, 3]][:: 1 - 2 * side]
    with pytest.raises(InputError, match=r"id in row 2 \(from 0\) .*(NUL|half of a letter)") as caught:
        Interactions.from_pairs(*pairs)
    assert caught.value.rows.tolist() == [2]
    matrix = sp.csr_array(np.ones((3, 3)))
    with pytest.raises(InputError, match=r"NUL|half of a letter"):
        Interactions.from_matrix(matrix, user_ids=["a", "b", label])


# Sizes


def bomb(megabytes: int, line: bytes = b"1,2\n") -> bytes:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=9) as file:
        for _ in range(megabytes):
            file.write(line * ((1 << 20) // len(line)))
    return stream.getvalue()


def test_a_small_file_that_unpacks_to_a_large_one_is_refused_before_it_takes_memory(write):
    path = write(bomb(70), "bomb.csv.gz")
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(ReadError, match=r"unpacks to more than 67,108,864 bytes.*pass a larger max_bytes"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_the_limits_can_be_set(write):
    path = write(
        gzip.compress(b"user,item\n" + b"".join(b"%d,%d\n" % (row, row % 7) for row in range(1000))), "data.csv.gz"
    )
    assert read(path).n_pairs == read(path, max_bytes=10_000).n_pairs == 1000
    with pytest.raises(ReadError, match="unpacks to more than 5,000 bytes"):
        read(path, max_bytes=5000)
    with pytest.raises(ReadError, match="holds more than 5,000 bytes"):
        read(write(gzip.decompress(path.read_bytes())), max_bytes=5000)
    with pytest.raises(InputError, match="max_bytes is 0, expected the bytes"):
        read(path, max_bytes=0)
    result = CliRunner().invoke(app, ["data", "describe", str(path), "--max-bytes", "5000"])
    assert result.exit_code == 1
    assert "pass a larger --max-bytes" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_line_may_not_be_endless(write):
    path = write(b"1,2\n" + b"x" * ((1 << 24) + 1) + b",3\n")
    with pytest.raises(ReadError, match=r"line 2: is longer than 16,777,216 bytes.*pass max_bytes"):
        read(path)
    assert labelled(read(path, max_bytes=1 << 25))[0] == ("1", 2)


def test_a_parquet_file_that_stands_for_many_more_values_than_bytes(tmp_path):
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"user": np.arange(100_000) % 7, "item": np.zeros(100_000, np.int64)}), path)
    assert path.stat().st_size < 100_000
    assert read(path).n_pairs == 7
    for place in (path, tmp_path):
        with pytest.raises(ReadError, match="unpacks to more than 100,000 bytes"):
            read(place, max_bytes=100_000)


@pytest.mark.parametrize(
    "size", ["2 2 1000000000000", "1000000000 1000000000", "9" * 5000 + " 2 2", "2 2 " + "9" * 5000]
)
def test_a_matrix_that_promises_more_than_it_has(write, size):
    kind = "array" if size.count(" ") == 1 else "coordinate"
    path = write(f"%%MatrixMarket matrix {kind} real general\n% words\n{size}\n1 1 1\n", "data.mtx")
    with pytest.raises(ReadError, match=r"promises .* entries|damaged matrix"):
        read(path)


def test_an_archive_that_promises_more_than_it_has(tmp_path):
    path = tmp_path / "data.npz"
    sp.save_npz(path, sp.coo_array(np.eye(3)))
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    parts["data.npy"] = header.getvalue() + b"\0" * 24
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ReadError, match=r"damaged archive of NumPy \(data.npy promises float64 of shape"):
        read(path)


# Pipes and devices


def test_a_pipe_with_a_name_is_read_whoever_comes_first(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = gzip.compress(b"user,item\n" + b"".join(b"%d,%d\n" % (row, row % 7) for row in range(100_000)))
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert read(pipe).n_pairs == 100_000
    writer.join()


def test_process_substitution_is_read(tmp_path):
    (tmp_path / "data.csv").write_text("user,item\nann,1\nbob,2\nann,2\n")
    command = f"{sys.executable} -m buir data describe <(cat {tmp_path / 'data.csv'})"
    told = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
    assert "distinct pairs  3" in told


def test_a_split_reads_each_pipe_once(tmp_path):
    pipes = [tmp_path / name for name in ("train", "test")]
    texts = (b"1 10 20\n2 20 30\n3 10 30\n", b"1 30\n2 10\n3 20\n")  # the second alone could be columns
    for pipe, content in zip(pipes, texts, strict=True):
        os.mkfifo(pipe)
        threading.Thread(target=pipe.write_bytes, args=(content,)).start()
    train, test = read_split(*pipes, format="adjacency")
    assert (train.n_pairs, test.n_pairs) == (6, 3)


def test_a_pipe_that_says_nothing_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "_PATIENCE", 0.2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ReadError, match=r"is a pipe that has said nothing for 0\.2 s; start what writes to it"):
        read(pipe)
    reader, writer = os.pipe()
    os.write(writer, b"1,2\n")
    with pytest.raises(ReadError, match="has said nothing"):
        read(f"/dev/fd/{reader}")
    os.close(writer)
    with pytest.raises(ReadError, match="holds no rows"):
        read(f"/dev/fd/{reader}")
    os.close(reader)


def test_a_pipe_that_never_ends_is_refused(monkeypatch):
    monkeypatch.setattr(text, "_LARGEST_PIPED", 1 << 22)
    with subprocess.Popen(["yes", "1,2"], stdout=subprocess.PIPE) as endless:
        with pytest.raises(ReadError, match="holds more than 4,194,304 bytes"):
            read(f"/dev/fd/{endless.stdout.fileno()}")
        endless.kill()


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/random"])
def test_devices_are_refused(device):
    with pytest.raises(ReadError, match="is a device or a socket, expected a file or a pipe"):
        read(device)


# Shapes


@pytest.mark.parametrize("form", [sp.coo_array, sp.dok_array, sp.dia_array])
@pytest.mark.parametrize("shape", [(2**31, 2**31), (2**31, 3), (3, 2**31), (2**30, 2**30)])
def test_a_shape_that_has_no_room_is_refused_before_memory_is_taken(form, shape, monkeypatch):
    monkeypatch.setattr(doctor, "free_memory", lambda: 24 << 30)
    matrix = sp.coo_array(([1.0], ([1], [2])), shape=shape)
    matrix = matrix if form is sp.coo_array else form(matrix)
    taken = sum(shape) * 32 / 2**30
    tracemalloc.start()
    with pytest.raises(ShapeError, match=rf"matrix has shape \({shape[0]}, {shape[1]}\); .* at least {taken:.1f} GiB"):
        Interactions.from_matrix(matrix)
    with pytest.raises(ShapeError, match="number both from 0 without gaps"):
        BUIR().fit(matrix)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_what_fits_is_allowed(monkeypatch):
    matrix = sp.coo_array(([1.0, 1.0], ([0, 99_999], [2, 1])), shape=(100_000, 3))
    monkeypatch.setattr(doctor, "free_memory", lambda: 100_003 * 32)
    assert Interactions.from_matrix(matrix).n_users == 100_000
    monkeypatch.setattr(doctor, "free_memory", lambda: 100_003 * 32 - 1)
    with pytest.raises(ShapeError, match=r"shape \(100000, 3\)"):
        Interactions.from_matrix(matrix)
    monkeypatch.setattr(doctor, "free_memory", lambda: None)
    assert Interactions.from_matrix(matrix).n_users == 100_000


def test_a_fit_counts_its_vectors(monkeypatch):
    matrix = sp.csr_array(np.eye(1000, 30) + np.eye(1000, 30, -1))
    monkeypatch.setattr(doctor, "free_memory", lambda: 1030 * (32 + 16 * 64) - 1)
    with pytest.raises(ShapeError, match="GiB are free"):
        BUIR(embedding_dim=64).fit(matrix)
    with pytest.raises(ShapeError, match="GiB are free"):
        baselines.Contrastive(embedding_dim=64).fit(matrix)


def test_free_memory_is_less_than_there_is():
    free = doctor.free_memory()
    assert free is None or 1 << 20 < free <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize("command", ["fit", "update", "evaluate", "negatives"])
def test_the_commands_that_read_files_take_the_option_that_the_limit_names(write, tmp_path, command):
    model = tmp_path / "m.safetensors"
    fixed = [
        "--set",
        "embedding_dim=2",
        "--set",
        "epochs=1",
        "--set",
        "batch_size=2",
        "--set",
        "inner_validation=false",
    ]
    few = write("a 1\nb 2\na 2\n", "few.txt")
    assert CliRunner().invoke(app, ["fit", str(few), "--out", str(model), *fixed]).exit_code == 0
    file, out = str(write("a 1\nb 2\n" * 50)), ["--out", str(tmp_path / "out.csv")]
    asked = {
        "fit": [file, *out],
        "update": [str(model), file, *out],
        "evaluate": [str(model), file],
        "negatives": [file],
    }
    result = CliRunner().invoke(app, [command, *asked[command], "--max-bytes", "100"])
    assert result.exit_code == 1
    assert "--max-bytes" in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize("end", [" ", "\t", "\r", "J", " 2", " 1 1"])
@pytest.mark.parametrize("kind", ["coordinate real", "coordinate integer", "coordinate pattern", "array real"])
def test_a_last_line_of_a_matrix_that_does_not_end_crashes_nothing(kind, end, write):
    size, entry = ("1 1", "1") if kind == "array real" else ("2 2 1", "1 1" if kind.endswith("pattern") else "1 1 1")
    data = read(write(f"%%MatrixMarket matrix {kind} general\n{size}\n{entry}{end}", "data.mtx"))
    assert (data.user_ids.tolist(), data.item_ids.tolist()) == ([1], [1])


def test_a_line_of_nothing_before_a_quote_that_never_closes(write):
    rows = "".join(f'"u{row}","b {row % 3}"\n' for row in range(9))
    with pytest.raises(ReadError, match="opens a quote that never closes"):
        read(write(f'"user","item"\n{rows}\r"u6', "data.csv"))


@pytest.mark.parametrize("how", [{}, {"row_group_size": 7}, {"compression": "zstd", "version": "1.0"}])
def test_a_footer_read_by_hand_says_what_arrow_says(how):
    table = pa.table({"user": [f"u{n}" for n in range(40)], "item": [[n, 2] for n in range(40)], "seen": [True] * 40})
    stream = io.BytesIO()
    pq.write_table(table, stream, **how)
    metadata = pq.read_metadata(stream)
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    n_values = sum(group.column(place).num_values for group in groups for place in range(3))
    assert declared(stream.getvalue()) == (n_values, sum(group.total_byte_size for group in groups))
    assert n_values == 40 + 80 + 40


def test_statistics_that_do_not_fit_their_column_end_nothing(write):
    """Each number of a footer is changed; Arrow's accessors end the process at some of them."""
    stream = io.BytesIO()
    pq.write_table(pa.table({"user": ["a", "b", "a"], "item": ["x", "y", "y"]}), stream, compression="none")
    whole = stream.getvalue()
    start, told = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little"), set()
    for place in range(start, len(whole) - 8):
        spoilt = bytearray(whole)
        spoilt[place] ^= 2  # a list of two numbers where there was one, and the like
        try:
            read(write(bytes(spoilt), "data.parquet"))
            told.add("read")
        except ReadError as error:
            told.add("damaged" if "is a damaged Parquet file" in str(error) else "else")
    assert {"read", "damaged"} <= told


def test_a_row_whose_line_is_not_found_is_told_by_its_number(write):
    rows = "".join(f"{row}\t{row % 3}\n" for row in range(9))
    with pytest.raises(ReadError, match="the user id is missing"):
        read(write(f"user_id:token\titem_id:token\n{rows}1\t\r\t2\n"), drop_missing=False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"\x1f", "has 1 column"),  # no blank, though Python's own split takes it for one
        (b"\xc2\xa0\n\xc2\xa0\n", "has 1 column"),
        (b"\x1f\n1 2\n", "line 1: is blank"),
    ],
)
def test_lines_of_nothing_that_is_seen_are_refused(tmp_path, text, told):
    path = tmp_path / "pairs.txt"
    path.write_bytes(text)
    with pytest.raises(ReadError, match=told):
        read(path)


@pytest.mark.parametrize("quote", ["", '"'])
def test_fields_are_cut_at_blanks_alone(tmp_path, quote):
    path = tmp_path / "pairs.txt"
    users = ["1\xa02", "4", "a\x1fb"]
    path.write_bytes("".join(f"{quote}{user}{quote} {n}\n" for user, n in zip(users, (3, 5, 6), strict=True)).encode())
    found = read(path)
    assert list(found.user_ids) == users
    assert fields_of('c\x1fd "e f" g\xa0h'.encode(), b" ", quoted=True) == ["c\x1fd", "e f", "g\xa0h"]
    assert list(found.item_ids) == [3, 5, 6]
