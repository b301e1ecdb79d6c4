"""Readers: every format, its detection, and one clear error for everything that is wrong with a file."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from buir.data import describe
from buir.data.files.formats import FORMATS, detect_format
from buir.data.files.readers import read, read_split
from buir.data.interactions import Interactions
from buir.errors import AmbiguousFileWarning, ReadError, ValuesIgnoredWarning


def labelled(data):
    """Pairs as (user, item) labels in source order."""
    frame = data.to_frame()
    return list(zip(frame["user"].tolist(), frame["item"].tolist(), strict=True))


PAIRS = [(3, 10), (3, 20), (5, 10), (7, 30)]

FILES = {
    "counted": ("2 10 20\n1 10\n0\n1 30\n", [(0, 10), (0, 20), (1, 10), (3, 30)]),
    "adjacency": ("3 10 20\n5 10\n6\n7 30\n", PAIRS),
    "space": ("3 10\n3 20\n5 10\n7 30\n", PAIRS),
    "tab": ("3\t10\n3\t20\n5\t10\n7\t30\n", PAIRS),
    "comma": ("user,item\n3,10\n3,20\n5,10\n7,30\n", PAIRS),
    "semicolon": ("item;user\n10;3\n20;3\n10;5\n30;7\n", PAIRS),
    "double-colon": ("3::10\n3::20\n5::10\n7::30\n", PAIRS),
    "recbole": ("user_id:token\titem_id:token\n3\t10\n3\t20\n5\t10\n7\t30\n", PAIRS),
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_every_text_format(write, name, packed, end):
    text, pairs = FILES[name]
    content = text.replace("\n", end).encode()
    path = write(gzip.compress(content) if packed else content)
    form = detect_format(path)
    assert (form.name, form.gzipped) == (name, packed)
    data = read(path)
    assert labelled(data) == pairs
    assert data.user_ids.dtype == data.item_ids.dtype == np.int64
    assert data.report.empty_lists == (name in ("counted", "adjacency"))
    assert labelled(read(path, format=name)) == pairs
    last_line_without_end = write(content.removesuffix(end.encode()), "open.txt")
    assert read(last_line_without_end).digest == data.digest


@pytest.mark.parametrize("packed", [False, True])
def test_parquet(tmp_path, packed):
    path = tmp_path / "data.parquet"
    table = pa.table({"userId": [3, 3, 5, 7], "movieId": ["10", "20", "10", "30"], "rating": [1.0, 2.0, 3.0, 4.0]})
    pq.write_table(table.append_column("timestamp", pa.array([9, 8, 7, 6])), path)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert detect_format(path).name == "parquet"
    with pytest.warns(ValuesIgnoredWarning, match=r"'rating' holds ratings: 1 \(1 row\), .*min_rating=3 keeps 2 of 4"):
        data = read(path)
    assert labelled(data) == [(user, str(item)) for user, item in PAIRS]
    assert data.times.tolist() == [9, 8, 7, 6]
    assert labelled(read(path, min_rating=3)) == [(5, "10"), (7, "30")]
    assert data.report.columns == "user=userId, item=movieId, rating=rating, time=timestamp"


def test_parquet_of_every_kind_of_label(tmp_path):
    path = tmp_path / "data.parquet"
    moments = pd.to_datetime(["1970-01-01 00:00:01", "1970-01-02 00:00:00"])
    frame = pd.DataFrame({"user": pd.Categorical(["x", "y"]), "item": np.array([1, 2], np.uint8), "time": moments})
    frame.to_parquet(path)
    data = read(path)
    assert labelled(data) == [("x", 1), ("y", 2)]
    assert data.times.tolist() == [1, 86400]
    pq.write_table(pa.table({"user": [1.0, 2.0], "item": [1, 2]}), path)
    with pytest.raises(
        ReadError,
        match=r"the user column 'user' holds double \(first: 1\.0\), expected integers or strings; cast it to one of them",
    ):
        read(path)
    pq.write_table(pa.table({"user": [1], "item": [1]}).slice(1), path)
    with pytest.raises(ReadError, match="holds columns and no rows"):
        read(path)
    pq.write_table(pa.table({"user": [1, 2], "item": ["a", None]}), path)
    with pytest.raises(ReadError, match=r"data\.parquet, row 1 \(from 0\): the item id is missing \(None\)"):
        read(path)
    pq.write_table(pa.table({"user": [1, 2, 3], "item": [1, 2, 3], "rating": ["1", "2", "good"]}), path)
    with pytest.raises(ReadError, match=r"data\.parquet, row 2 \(from 0\): the rating 'good' is not a number"):
        read(path)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_ids_that_became_floats_because_one_is_missing(tmp_path, missing):
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"user": [1, 2, 3], "item": pa.array([4.0, missing, 5.0], pa.float64())}), path)
    text = (
        rf"data\.parquet, row 1 \(from 0\): the item id is missing \({missing}\), and the item column 'item' holds decimal numbers \(double\) "
        r"for it; write the others as integers \(in pandas \.dropna\(\) and \.astype\('int64'\)\), or pass drop_missing=True to leave"
    )
    with pytest.raises(ReadError, match=text):
        read(path)


@pytest.mark.parametrize(
    ("label", "dtype"),
    [("7", np.int64), ("-7", np.int64), ("0", np.int64), ("9223372036854775807", np.int64)]
    + [(text, object) for text in ("007", "+1", "-0", "00", "9223372036854775808", "1e3", "x", "0x1", "1_0")],
)
@pytest.mark.parametrize("form", ["space", "comma", "adjacency"])
def test_labels_are_integers_only_if_all_are_canonical(write, label, dtype, form):
    text = {"space": f"5 1\n5 {label}\n", "comma": f"user,item\n5,1\n5,{label}\n", "adjacency": f"5 1 {label}\n6 1\n"}
    data = read(write(text[form]), format=form)
    assert data.item_ids.dtype == dtype
    assert data.item_ids.tolist() == ([1, int(label)] if dtype == np.int64 else ["1", label])
    assert data.user_ids.dtype == np.int64


def test_headers_columns_and_ratings(write):
    path = write("movieId,userId,rating,timestamp\n10,3,5,100\n20,3,1,90\n10,5,4.5,80\n")
    data = read(path, min_rating=4)
    assert labelled(data) == [(3, 10), (5, 10)]
    assert data.times.tolist() == [100, 80]
    assert data.report.columns == "user=userId, item=movieId, rating=rating, time=timestamp"
    plain = read(path, columns={"user": "userId", "item": 0})
    assert plain.times is None
    assert plain.n_pairs == 3


def test_columns_by_name_and_position(write):
    path = write("who,what,mark\na,x,1\nb,y,5\n")
    with pytest.raises(ReadError, match=r"no column that is known to hold the user; it has \['who', 'what', 'mark'\]"):
        read(path)
    data = read(path, columns={"user": "who", "item": "what", "rating": "mark"}, min_rating=2)
    assert labelled(data) == [("b", "y")]
    assert labelled(read(path, columns={"user": "1", "item": 0})) == [("x", "a"), ("y", "b")]


def test_what_nameless_columns_are_taken_for(write):
    two, three = write("1 2\n3 4\n", "2"), write("1 2 5\n3 4 1\n1 4 5\n", "3")
    timed, four = write("1 2 900000000\n3 4 900000001\n", "t"), write("1 2 5 900000000\n3 4 1 900000001\n", "4")
    unclear, five = write("1 2 7 5\n3 4 7 1\n3 2 7 1\n", "u"), write("1 2 7 5 3\n3 4 7 1 3\n1 4 7 1 3\n", "5")
    rated = [read(path, min_rating=1).report.columns for path in (three, four)]
    assert rated == ["user=0, item=1, rating=2 (by position)", "user=0, item=1, rating=2, time=3 (by position)"]
    assert [read(path).report.columns for path in (two, timed, unclear, five)] == [
        "user=0, item=1 (by position)",
        "user=0, item=1, time=2 (by position)",
        "user=0, item=1 (by position)",
        "user=0, item=1 (by position)",
    ]
    assert read(timed).times.tolist() == [900000000, 900000001]
    with pytest.raises(
        ReadError, match=r"min_rating is 3.*user=0, item=1.*pass columns={'rating': <name or position>}"
    ):
        read(unclear, min_rating=3)
    assert labelled(read(unclear, columns={"rating": 3}, min_rating=3)) == [(1, 2)]


def test_dates(write):
    path = write("user,item,date\n1,2,1970-01-02\n1,3,1970-01-01T00:00:01Z\n")
    assert read(path).times.tolist() == [86400, 1]
    path = write("user,item,time\n1,2,1.5\n1,3,2\n")
    assert read(path).times.tolist() == [1.5, 2.0]


def test_recbole_types_are_not_part_of_names(write):
    path = write("item_id:token\tuser_id:token\trating:float\ttimestamp:float\nx\ta\t3.5\t7\ny\ta\t1\t6\n")
    data = read(path, min_rating=2)
    assert (labelled(data), data.times.tolist()) == ([("a", "x")], [7])


def test_quotes_blanks_and_a_byte_order_mark(write):
    path = write('\ufeffuser,item\n"Smith, Ann", 12 \n"Smith, Ann",x\n')
    assert labelled(read(path)) == [("Smith, Ann", "12"), ("Smith, Ann", "x")]
    path = write("  1   2 5\n3\t4  1  \r\n")
    assert labelled(read(path, format="space", min_rating=0)) == [(1, 2), (3, 4)]


def test_quotes_are_letters_where_only_a_comma_would_need_them(write):
    assert labelled(read(write('a"\tx\n"b\ty\n'))) == [('a"', "x"), ('"b', "y")]


def test_blank_lines_are_counted(write):
    path = write("\n\nuser,item\n1,2\n\n\n3,4\n\n")
    data = read(path)
    assert labelled(data) == [(1, 2), (3, 4)]
    assert data.report.blank_lines == 5
    adjacency = read(write("1 2 3\n\n2 5\n"))
    assert (labelled(adjacency), adjacency.report.blank_lines) == ([(1, 2), (1, 3), (2, 5)], 1)


def test_filters_and_report(write):
    path = write("1 5 4\n1 5 5\n1 6 1\n2 5 5\n2 7 5\n3 7 5\n")
    data = read(path, min_rating=4, min_user=2)
    assert labelled(data) == [(1, 5), (2, 5), (2, 7)]
    report = data.report
    assert (report.rows_read, report.below_rating, report.below_minimum, report.merged) == (6, 1, 1, 1)
    assert (report.source, report.format) == ("data.txt", "space, no header")


def test_core(write):
    path = write("1 5\n1 6\n2 5\n2 6\n3 6\n")
    data = read(path, core=2)
    assert (labelled(data), data.report.outside_core) == ([(1, 5), (1, 6), (2, 5), (2, 6)], 1)


def test_description_of_a_file(write):
    text = str(describe(read(write("1 5 4\n1 5 5\n1 6 1\n2 5 5\n"), min_rating=2)))
    assert "format          space, no header" in text
    assert "columns         user=0, item=1, rating=2 (by position)" in text
    assert "merged          1 row repeating an earlier pair" in text
    assert "removed         1 row below the rating threshold" in text
    text = str(describe(read(write("1 5\n0\n2 5 6\n"))))
    assert "skipped         1 user with an empty list" in text
    assert "density         75.000%" in text


class TestDetection:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("1 6393\n1 13504\n1 14087\n", "space"),  # user 1, not lists of one
            ("1 5\n1 6\n", "space"),
            ("2 5 6\n2 7 8\n2 1 3\n", "counted"),  # nobody writes a file of one user with ratings
            ("2 5 6\n", "adjacency"),  # one user: two items, or an item and a rating
            ("4 5 6\n4 7 6\n", "space"),
            ("2 5 6\n1 7\n0\n", "counted"),
            ("2 5 6\n3 7\n0\n", "counted"),  # one wrong count in three: an error when read, not a user 3
            ("0 0 1 2 3\n1 32 33\n2 36 37 38 39\n", "adjacency"),
            ("a b c\nd e\nf\n", "adjacency"),
            ("3 2 3\n3 2\n3 4 3\n4 5 5\n", "space"),  # a broken row among columns
            ("a:b\tc:d\n1\t2\n", "tab"),  # not RecBole's types
            ("u1,i1\nu2,i2\n", "comma"),
        ],
    )
    def test_by_hand(self, write, text, name):
        assert detect_format(write(text)).name == name

    @pytest.mark.parametrize(
        ("text", "header"),
        [
            ("user,item\na,b\n", ("user", "item")),
            ("UserID\tartistID\tweight\n2\t51\t13883\n", ("UserID", "artistID", "weight")),
            ("col1,col2\n1,2\n", ("col1", "col2")),
            ("u1,i1\nu2,i2\n", None),
            ("u1,i1,3.5\nu2,i2,4\n", None),
            ("who what\n1 2\n", ("who", "what")),
            ("u1,i1\n", None),
        ],
    )
    def test_header(self, write, text, header):
        assert detect_format(write(text)).header == header

    def test_text(self, write):
        assert str(detect_format(write(gzip.compress(b"user,item\n1,2\n")))) == "comma, with header, gzip"
        assert str(detect_format(write("2 1 2\n1 2\n"))) == "counted"

    def test_a_wrong_name(self, write):
        with pytest.raises(ValueError, match=r"'coma'; .*did you mean 'comma'"):
            detect_format(write("1,2\n"), format="coma")

    def test_only_the_head_is_looked_at_and_only_whole_lines(self, write):
        rows = "123 456 3\n" * 200_000
        assert detect_format(write(rows + "1 2 3 4 5\n")).name == "space"
        assert detect_format(write("7 " + "1 " * 800_000)).name == "adjacency"  # one line longer than the head

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.lists(st.integers(0, 99), max_size=6), min_size=3, max_size=12))
    def test_counted_lists_are_never_taken_for_users(self, write, lists):
        if len({len(items) for items in lists}) == 1:
            return  # lines of one width are columns
        if [len(items) for items in lists] in (list(range(len(lists))), list(range(1, len(lists) + 1))):
            return  # users in their order, or lists as long as their number: it is told, see below
        path = write("".join(f"{len(items)} {' '.join(map(str, items))}\n" for items in lists))
        assert detect_format(path).name == "counted"
        expected = list(dict.fromkeys((user, item) for user, items in enumerate(lists) for item in items))
        data = read(path)
        assert labelled(data) == expected
        assert data.report.merged == sum(map(len, lists)) - len(expected)
        assert data.report.empty_lists == lists.count([])

    @pytest.mark.parametrize("text", ["0 \n1 0\n2 0 0\n", "1 7\n2 8 9\n3 5 6 7\n"])
    def test_users_in_order_who_could_be_lengths_are_told(self, write, text):
        path = write(text)
        with pytest.warns(AmbiguousFileWarning, match="could be lists that begin with their lengths"):
            assert read(path).report.format == "adjacency"
        assert read(path, format="counted").report.format == "counted"


label = st.one_of(st.integers(-5, 5).map(str), st.text("abcäß0 ,\"'", min_size=1, max_size=4))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(label, label), min_size=1, max_size=8))
@example([("0", "'0'")])
@example([("'a'", '"b"'), ("'c'", "d")])
def test_csv_equals_pandas(write, pairs):
    pairs = [(user.strip(), item.strip()) for user, item in pairs]
    if not all(user and item for user, item in pairs):
        return
    frame = pd.DataFrame(pairs, columns=["user", "item"])
    path, named = write(frame.to_csv(index=False)), {}
    quoted = [name for name in frame if frame[name].str.fullmatch(r"'.*'|\".*\"").all()]
    if any(frame[name].str.contains(r"\w").iloc[0] and frame[name].str[0].nunique() == 1 for name in quoted):
        # as some program writes all its texts: not read in silence, but as the ids where the columns are named
        with pytest.raises(ReadError, match="all of it has the mark"):
            read(path)
        named = {"columns": {"user": "user", "item": "item"}}
    data = read(path, **named)
    assert [(str(u), str(i)) for u, i in labelled(data)] == list(dict.fromkeys(pairs))


class TestSplitFiles:
    def test_one_space_of_labels(self, write):
        train, test = write("4 10 20\n5 20\n6 10 20 30\n", "train"), write("5 10 40\n4 10\n9\n", "test")
        a, b = read_split(train, test)
        assert a.user_ids.tolist() == b.user_ids.tolist() == [4, 5, 6]
        assert a.item_ids.tolist() == b.item_ids.tolist() == [10, 20, 30, 40]
        assert a.matrix.toarray().tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0]]
        assert b.matrix.toarray().tolist() == [[1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]]
        assert labelled(b) == [(5, 10), (5, 40), (4, 10)]
        assert sorted([*a.positions, *b.positions]) == list(range(9))
        assert b.report.empty_lists == 1

    def test_labels_are_strings_if_they_are_in_one_file(self, write):
        a, b = read_split(write("1,2\n3,4\n", "train"), write("1,02\n", "test"))
        assert a.item_ids.tolist() == b.item_ids.tolist() == ["2", "4", "02"]
        assert a.user_ids.dtype == np.int64

    def test_threshold_and_times(self, write):
        train, test = write("1\t2\t5\t900000000\n1\t3\t1\t900000001\n", "a"), write("1\t3\t4\t900000002\n", "b")
        a, b = read_split(train, test, min_rating=3)
        assert (labelled(a), labelled(b)) == ([(1, 2)], [(1, 3)])
        assert b.times.tolist() == [900000002]
        assert b.positions.tolist() == [2]
        with pytest.raises(ReadError, match=r"b: no pair is left of 1 row \(1 below"):
            read_split(train, test, min_rating=5)


BAD_TEXT = {
    "empty": (b"", {}, "holds no rows"),
    "blank": (b"\n \n\n", {}, "holds no rows"),
    "header alone": (b"user,item\n", {}, "holds a header and no rows"),
    "binary": (
        b"\x89PNG\r\n\x1a\n\0\0\0",
        {},
        "is a binary file .a zero at byte 8.; expected text, Parquet or a matrix",
    ),
    "letters of two kinds": ("user,item\nö,a\n".encode() + b"\xe4,b\n", {}, "line 3: is not UTF-8 .byte 0xe4."),
    "half of utf-16": ("1 2\n".encode("utf-16")[:-1], {}, "is damaged text in UTF-16"),
    "zip": (b"PK\x03\x04abc", {}, "is a zip archive; unpack it first"),
    "damaged gzip": (gzip.compress(b"1 2\n" * 99)[:-12], {}, "is a damaged gzip file"),
    "damaged parquet": (b"PAR1abcdefg", {}, "is a damaged Parquet file"),
    "no parquet": (b"1 2\n", {"format": "parquet"}, "is no Parquet file; leave the format out"),
    "parquet as text": (b"PAR1abcdefg", {"format": "comma"}, "is a Parquet file, not 'comma'"),
    "one column": (b"1\n2\n", {}, "has 1 column, expected at least user and item; check the separator"),
    "wrong separator": (b"1/2\n3/4\n", {}, "has 1 column"),
    "wrong format": (b"1 2\n3 4\n", {"format": "tab"}, "has 1 column"),
    "ragged": (b"1,2,3\n\n1,2\n", {}, "line 3: has 2 columns, expected 3 as in the first line; correct it"),
    "ragged spaces": (b"3 2 3\n3 3 3\n3 2\n4 2 2\n", {}, "line 3: has 2 columns.*or pass format='adjacency'"),
    "negative count": (
        b"2 5 6\n-1 3\n",
        {},
        "line 2: has the negative count -1; write the number of items that follow",
    ),
    "wrong count": (b"2 5 6\n1 3\n2 7\n", {}, "line 3: promises 2 items and lists 1; correct the count or the list"),
    "count too low": (b"2 5 6\n1 3\n1 7 8\n", {}, "line 3: promises 1 item and lists 2"),
    "no count": (b"2 5 6\n1 3\nx 7 8 9\n", {}, "line 3: starts with 'x', expected the count"),
    "padded count": (b"2 5 6\n1 3\n01 7\n", {}, "line 3: starts with '01', expected the count"),
    "blank count": (b"2 5 6\n\n1 3\n", {}, "line 2: is blank, so that the users after it would get wrong numbers"),
    "empty lists": (b"1\n2\n", {"format": "adjacency"}, "holds only empty lists"),
    "columns of lists": (b"2 5 6\n1 3\n", {"columns": {"user": 0}}, "read as counted lists, which have no columns"),
    "rating of lists": (
        b"2 5 6\n1 3\n",
        {"min_rating": 3},
        "as counted lists, which have no ratings; leave min_rating",
    ),
    "missing user": (b"user,item\n1,2\n\n,3\n", {}, "line 4: the user id is missing .''."),
    "nan item": (b"1 2 3\n1 nan 3\n", {}, "line 2: the item id is missing .'nan'."),
    "nan in a list": (b"1 2 3 4\n2 NaN\n", {"format": "adjacency"}, "line 2: the item id is missing .'NaN'"),
    "nan user of a list": (b"1 2 3 4\nnan 5\n", {"format": "adjacency"}, "line 2: the user id is missing .'nan'"),
    "no number": (
        b"1 2 3\n1 3 good\n",
        {},
        "line 2: the rating 'good' is not a number; correct it, or pass columns={'rating': <name or position>}; to read no ratings, name",
    ),
    "no rating": (b"user,item,rating\n1,2,3\n1,3,\n", {}, "line 3: the rating '' is not a number"),
    "nan rating": (b"user,item,rating\n1,2,NaN\n", {}, "line 2: the rating 'NaN' is not a number"),
    "no date": (
        b"user,item,time\n1,2,5\n1,3,soon\n",
        {},
        "line 3: the time 'soon' is neither a number nor an ISO date; correct it, or pass columns={'time': <name or position>}; to read no",
    ),
    "no time": (b"user,item,time\n1,2,soon\n", {}, "line 2: the time 'soon' is neither"),
    "wrong name": (
        b"user,item\n1,2\n",
        {"columns": {"rating": "stars"}},
        r"no column 'stars' for 'rating'; it has \['user', 'item'\]; name one, or give its position from 0",
    ),
    "wrong position": (b"1,2\n", {"columns": {"rating": 2}}, "no column 2 for 'rating'; it has 2 columns"),
    "wrong role": (b"1,2\n", {"columns": {"users": 0}}, "columns names a role 'users', expected one of"),
    "same column": (b"1,2\n", {"columns": {"user": 1}}, "reads one column as two things"),
    "no item": (b"user,thing\n1,2\n", {}, r"known to hold the item.*pass columns={'item': <name or position>}"),
    "json lines as columns": (b'{"user": 1, "item": 2}\n', {"format": "comma"}, "holds JSON lines, not 'comma'"),
    "json": (b'[{"user": 1, "item": 2},\n{"user": 1, "item": 3}]\n', {}, r"one document of JSON, .*orient='records'"),
    "indented json": (b'[\n  {\n "user": 1}]\n', {}, "holds one document of JSON, "),
    "one json object": (b'{\n "user": [1, 2]\n}\n', {}, "holds one document of JSON, "),
    "floats as users": (
        b"uid,movie\n1.0,7\n2.0,8\n",
        {"columns": {"user": "uid"}},
        r"line 2: the user column 'uid' holds decimal numbers \(first: '1.0'\), expected integers or strings; write it as integers "
        r"\(in pandas .astype\('int64'\) before .to_csv\), or, if the point belongs to the ids, pass the frame of "
        r"pandas.read_csv\(file, dtype=str\)",
    ),
    "floats among the items": (
        b"1\t5\n\n2\t6.5\n3\t7\n",
        {},
        r"line 3: the item column holds decimal numbers .first: '6.5'.",
    ),
    "large floats": (b"7,1e+05\n8,2\n", {}, r"line 1: the item column holds decimal numbers .first: '1e.05'."),
    "floats in lists": (b"1 2.0 3.0\n2 4.0\n", {}, r"line 1: the item column holds decimal numbers .first: '2.0'."),
    "all filtered": (b"1 2\n", {"min_user": 2}, "no pair is left of 1 row .0 below the rating threshold, 1 below"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_files(write, case):
    content, options, message = BAD_TEXT[case]
    path = write(content, "bad.txt")
    with pytest.raises(ReadError, match=message) as caught:
        read(path, **options)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).count("bad.txt") == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "items", [["1.0", "x"], ["v1.0", "2.0"], ["1.0.1", "2.0"], ["1e5", "2e7"], ["{6F96-19}", "[2]"]]
)
def test_ids_with_points_and_braces_are_strings_where_one_is_no_number(write, items):
    data = read(write("".join(f"1\t{item}\n" for item in items)))
    assert data.item_ids.tolist() == items


def test_a_file_of_floats_and_a_frame_of_them_are_refused_alike(write):
    frame = pd.DataFrame({"user": [1.0, 2.0], "item": [3, 4]})
    with pytest.raises(ReadError, match=r"first: '1\.0'.*expected integers or strings"):
        read(write(frame.to_csv(index=False)))
    with pytest.raises(ValueError, match=r"first: 1\.0.*expected integers or strings"):
        Interactions.from_frame(frame)


def test_places_without_a_file(tmp_path, write):
    write(b"1 2\n", "ratings.txt.gz")
    with pytest.raises(ReadError, match=r"ratings\.txt: no such file; did you mean 'ratings\.txt\.gz'\?"):
        read(tmp_path / "ratings.txt")
    with pytest.raises(ReadError, match=r"no such file; did you mean 'ratings\.txt\.gz'\?"):
        read(tmp_path / "rating.txt.gz")
    with pytest.raises(ReadError, match="no such file; check the path"):
        read(tmp_path / "xyz")
    (tmp_path / "ratings.txt.d").mkdir()
    with pytest.raises(ReadError, match=r"no such file; did you mean 'ratings\.txt\.gz'\?"):
        read(tmp_path / "ratings.txt.c")
    (tmp_path / "ratings.txt.d").rmdir()
    with pytest.raises(ReadError, match="no such file, and no folder"):
        read(tmp_path / "nowhere" / "xyz")
    with pytest.raises(ReadError, match=r"is a folder, expected a file, such as one of \['ratings\.txt\.gz'\]"):
        read(tmp_path)


def test_a_late_byte_that_is_no_text(write):
    content = "user,item\n1,é\n".encode() + b"1,2\n" * 300_000 + b"1,\xff\n"
    with pytest.raises(ReadError, match=r"line 300003: is not UTF-8 .byte 0xff."):
        read(write(content))


# name: file, (users, items, pairs), (min, median, max per user), rows read, merged, has ratings, has times
TABLE = {
    "buir-toy": ("users.dat", (1000, 2990, 19202), (1, 10, 586), 19202, 0, False),
    "filmtrust": ("ratings.txt", (1508, 2071, 35494), (1, 16, 244), 35497, 3, False),
    "citeulike-t": ("users.dat", (7947, 25584, 134860), (3, 7, 1995), 134860, 0, False),
    "ml-100k": ("u.data", (943, 1682, 100000), (20, 65, 737), 100000, 0, True),
    "ml-latest-small": ("ratings.csv.gz", (671, 9066, 100004), (20, 71, 2391), 100004, 0, True),
    "ml-1m-sample": ("ratings.dat.gz", (5958, 3312, 100000), (1, 10, 233), 100000, 0, True),
    "lastfm-hetrec": ("user_artists.dat", (1892, 17632, 92834), (1, 50, 50), 92834, 0, False),
    "amazon-music": ("ratings.txt", (844, 18813, 46468), (20, 35, 1126), 46468, 0, True),
    "citeulike-a": ("users.dat", (5551, 16980, 204986), (10, 22, 403), 204986, 0, False),
    "ciao": ("ratings.txt.gz", (7375, 105114, 282650), (4, 18, 1543), 284086, 1436, False),
    "epinions": ("ratings.txt.gz", (18564, 262614, 761795), (1, 19, 5337), 770000, 8205, False),
    "douban-book": ("douban.inter.gz", (13024, 22347, 792062), (1, 27, 2551), 792062, 0, False),
    "amazon-beauty": ("Beauty.inter.gz", (22363, 12101, 198502), (5, 6, 204), 198502, 0, False),
    "amazon-games": ("Video.txt.gz", (31013, 23715, 287107), (1, 6, 860), 287107, 0, False),
}
RATED = ("filmtrust", "ml-100k", "ml-latest-small", "ml-1m-sample", "lastfm-hetrec", "amazon-music")
LARGE = ("citeulike-a", "ciao", "epinions", "douban-book", "amazon-beauty", "amazon-games")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in TABLE])
def test_public_data_sets(data_dir, name):
    file, sizes, per_user, rows_read, merged, timed = TABLE[name]
    told = describe(read(data_dir / name / file, min_rating=-1 if name in RATED else None))
    assert (told.n_users, told.n_items, told.n_pairs) == sizes
    assert (told.per_user[0], int(told.per_user[1]), told.per_user[2]) == per_user
    assert (told.report.rows_read, told.report.merged) == (rows_read, merged)
    assert (told.first_time is not None) == timed
    json.dumps(told.to_dict())


SPLITS = {
    "lastfm-lightgcn": ("data1.txt", "test1.txt", (1880, 4489), (42135, 10533), (1, 29, 46), 0),
    "ml-1m": ("train.txt.gz", "test.txt.gz", (6022, 3043), (796244, 99455), (18, 86, 1935), 0),
    "gowalla": ("train.txt.gz", "test.txt.gz", (29858, 40981), (810128, 217242), (9, 20, 1014), 0),
    "yelp2018": ("train.txt.gz", "test.txt.gz", (31668, 38048), (1237259, 324147), (18, 32, 2311), 0),
    "amazon-book-kgat": ("train.txt.gz", "test.txt.gz", (70679, 24915), (652514, 193920), (4, 7, 4475), 88),
}


@pytest.mark.parametrize(
    "name", [n if n == "lastfm-lightgcn" else pytest.param(n, marks=pytest.mark.slow) for n in SPLITS]
)
def test_public_splits(data_dir, name):
    train_file, test_file, sizes, pairs, per_user, empty = SPLITS[name]
    threshold = 1 if name == "lastfm-lightgcn" else None
    train, test = read_split(data_dir / name / train_file, data_dir / name / test_file, min_rating=threshold)
    assert (train.n_users, train.n_items) == (test.n_users, test.n_items) == sizes
    assert (train.n_pairs, test.n_pairs) == pairs
    counts = np.diff(train.matrix.indptr) + np.diff(test.matrix.indptr)
    assert (counts.min(), int(np.median(counts)), counts.max()) == per_user
    assert test.report.empty_lists == empty
    assert train.matrix.multiply(test.matrix).nnz == 0


@pytest.mark.parametrize(
    ("path", "filters", "sizes", "rows"),
    [
        ("citeulike-t/users.dat", {"min_user": 5}, (5219, 25181, 125580), 125580),
        ("filmtrust/ratings.txt", {"min_user": 5}, (1227, 2059, 34886), 34889),
        ("ciao/ratings.txt.gz", {"min_user": 5, "min_item": 5}, (7265, 11211, 147989), 149141),
    ],
)
def test_data_of_the_paper(data_dir, path, filters, sizes, rows):
    data = read(data_dir / path, columns={"user": 0, "item": 1} if "ratings" in path else None, **filters)
    assert (data.n_users, data.n_items, data.n_pairs) == sizes
    assert data.n_pairs + data.report.merged == rows


def test_ciao_ratings_of_zero(data_dir):
    data = read(data_dir / "ciao/ratings.txt.gz", columns={"rating": 3}, min_rating=1)
    assert data.report.below_rating == 34


def test_every_format_is_tested():
    others = {"parquet", "libsvm", "matrix-market", "json-lines", "npz"}  # in test_what_users_bring.py
    assert {*FILES, *others} == set(FORMATS)
