"""What users bring in files: what is read, what is told, and what is refused by name."""

import csv
import gzip
import io
import json
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from buir import Interactions
from buir.cli.app import app
from buir.data import (
    FORMATS,
    author_split,
    describe,
    given_split,
    leave_one_out,
    nested_levels,
    nested_split,
    read,
    read_split,
    time_split,
)
from buir.errors import AmbiguousFileWarning, InputError, ReadError, ValuesIgnoredWarning

TINY = ["--set", "embedding_dim=4", "--set", "epochs=1", "--set", "batch_size=4", "--set", "device=cpu"]


def labelled(data):
    frame = data.to_frame()
    return list(zip(frame["user"].tolist(), frame["item"].tolist(), strict=True))


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


# Files that are read, and what is said of them. kind: text, options, pairs, words of the one warning (none: silence)
ADJACENCY, SPACE, HEADER = {"format": "adjacency"}, {"format": "space"}, {"header": True}
LISTS = [(0, 5), (0, 9), (1, 4), (1, 7), (2, 5), (2, 8)]
READ = {
    # lists of equal length
    "equal lists": ("0 5 9\n1 4 7\n2 5 8\n", {}, LISTS, "its lines could be columns; pass format='adjacency'"),
    "equal lists, named": ("0 5 9\n1 4 7\n2 5 8\n", ADJACENCY, LISTS, None),
    "equal lists, denied": (
        "0 5 9\n1 4 7\n2 5 8\n",
        {**SPACE, "columns": {"user": 0, "item": 1, "rating": 2}, "min_rating": 8},
        [(0, 5), (2, 5)],
        None,
    ),
    "equal lists of four": (
        "7 1 2 3\n9 4 5 6\n",
        {},
        [(7, 1), (7, 2), (7, 3), (9, 4), (9, 5), (9, 6)],
        "could be columns",
    ),
    "one list": ("3 5 9\n", {}, [(3, 5), (3, 9)], "could be columns"),
    "lists after a tab": ("0\t5 9\n1\t4 7\n2\t5\n", {}, [*LISTS[:4], (2, 5)], None),
    "lists after a colon": ("0: 5 9\n1: 4\n", {}, LISTS[:3], None),
    "lists after a comma": ("0,5 9\n1,4\n", {}, LISTS[:3], None),
    "lists with commas": ("0,5,9\n1,4,7\n2,5\n", ADJACENCY, [*LISTS[:4], (2, 5)], None),
    "a table, as users come back": ("0 5 9\n0 4 7\n2 5 8\n", {"min_rating": 8}, [(0, 5), (2, 5)], None),
    "a table with points": ("0 5 9.5\n1 4 7.0\n", {"min_rating": 8}, [(0, 5)], None),
    "a table with times": ("0 5 900000001\n1 4 900000000\n", {}, [(0, 5), (1, 4)], None),
    "commas that may be lists": ("8,5,9\n3,4,7\n", {"min_rating": 8}, [(8, 5)], "its lines could be lists of items"),
    # headers of unknown names
    "a named header": (
        "buyer,sku\nann,lamp\nann,desk\nbob,lamp\n",
        {"columns": {"user": "buyer", "item": "sku"}},
        [("ann", "lamp"), ("ann", "desk"), ("bob", "lamp")],
        None,
    ),
    "a header that is said": (
        "buyer,sku\na,x\na,y\n",
        {**HEADER, "columns": {"user": 0, "item": 1}},
        [("a", "x"), ("a", "y")],
        None,
    ),
    "no header, as is said": ("user,x\na,x\n", {"header": False}, [("user", "x"), ("a", "x")], None),
    "an odd first row": ("buyer,sku\na,x\na,y\n", {}, [("buyer", "sku"), ("a", "x"), ("a", "y")], "pass header=True"),
    "an odd first row with tabs": (
        "wer\twas\na\tx\nb\tx\n",
        {},
        [("wer", "was"), ("a", "x"), ("b", "x")],
        "header=True",
    ),
    "a first row in quotes": (
        '"buyer","s,ku"\n"a","x"\n"a","y"\n',
        {"columns": {"user": "buyer", "item": "s,ku"}},
        [("a", "x"), ("a", "y")],
        None,
    ),
    "a known name that comes back": ("ann,book\nbob,book\n", {}, [("ann", "book"), ("bob", "book")], None),
    "a header in a comment": ("# item user\n1 2\n3 4\n", {}, [(2, 1), (4, 3)], None),
    # quotes
    "a value over two lines": ('user,item,title\n1,5,"a\nb"\n2,6,c\n', {}, [(1, 5), (2, 6)], None),
    "doubled quotes": ('user,item\n"a ""b""",1\n', {}, [('a "b"', 1)], None),
    "a quote within": ('user,item,title\n1,5,7" disc\n', {}, [(1, 5)], None),
    # columns by place
    "decimal commas": ("1;2;3,5\n1;3;4,5\n2;2;1,0\n", {"min_rating": 3.5}, [(1, 2), (1, 3)], None),
    "decimal commas and whole numbers": ("1;2;3\n1;3;4,5\n2;2;1\n", {"min_rating": 3.5}, [(1, 3)], None),
    "decimal commas between blanks": ("1 2 3,5\n1 3 4,5\n2 2 1,0\n", {"min_rating": 4}, [(1, 3)], None),
    "decimal commas with a header": ("user;item;rating\n1;2;3,5\n", {"min_rating": 3}, [(1, 2)], None),
    "a comma in a name": ("ann;lamp, red\nbob;desk, oak\n", {}, [("ann", "lamp, red"), ("bob", "desk, oak")], None),
    "row numbers": (
        "0,ann,x\n1,ann,y\n2,bob,x\n",
        {"columns": {"user": 1, "item": 2}},
        [("ann", "x"), ("ann", "y"), ("bob", "x")],
        None,
    ),
    "row numbers as users": ("0,5\n1,5\n2,6\n", {}, [(0, 5), (1, 5), (2, 6)], "numbers the rows"),
    "times as items": (
        "7,900000001,1\n7,900000005,1\n8,900000009,1\n",
        {"columns": {"user": 0, "item": 1}},
        [(7, 900000001), (7, 900000005), (8, 900000009)],
        None,
    ),
    "times in place of items": (
        "7,900000001\n7,900000005\n8,900000009\n",
        {},
        [(7, 900000001), (7, 900000005), (8, 900000009)],
        "look like times",
    ),
    "a dense matrix": (
        "0,1,0,1,1\n1,0,0,1,0\n0,1,1,0,0\n1,1,0,0,1\n",
        {"columns": {"user": 0, "item": 1}},
        [(0, 1), (1, 0), (1, 1)],
        None,
    ),
    "a line of Excel": ("sep=;\n1;2\n3;4\n", {}, [(1, 2), (3, 4)], None),
    "lines of blanks": ("user,item\n1,2\n  \n3,4\n", {}, [(1, 2), (3, 4)], None),
    "one value as item": ("4,1\n7,1\n9,1\n", {}, [(4, 1), (7, 1), (9, 1)], "holds one value alone, '1'"),
    "dates in the third place": ("4,1,2024-05-01\n4,2,2024-05-02\n", {}, [(4, 1), (4, 2)], None),
    # formats that were taken for tables
    "libsvm": ("1 1:5 3:2\n2 3:1\n", {"min_rating": 0}, [(1, 1), (1, 3), (2, 3)], None),
    "libsvm without labels": ("1:5 3:2\n3:1 # last\n", {"min_rating": 0}, [(0, 1), (0, 3), (1, 3)], None),
    "libsvm of two classes": ("1 1:1 3:1\n0 3:1\n1 2:1\n", {}, [(0, 1), (0, 3), (1, 3), (2, 2)], "numbered by line"),
    "libsvm in decimals": ("+1 1:0.5\n-1 3:1e-2\n", {"min_rating": 0.1}, [("+1", 1)], None),
    "matrix market": (
        "%%MatrixMarket matrix coordinate real general\n% by hand\n3 4 3\n1 1 5\n1 3 2\n3 4 1\n",
        {"min_rating": 2},
        [(1, 1), (1, 3)],
        None,
    ),
    "matrix market, a pattern": (
        "%%MatrixMarket matrix coordinate pattern general\n2 2 2\n1 1\n2 1\n",
        {},
        [(1, 1), (2, 1)],
        None,
    ),
    "matrix market, dense": (
        "%%MatrixMarket matrix array integer general\n2 2\n1\n0\n0\n1\n",
        {},
        [(1, 1), (2, 2)],
        None,
    ),
    "comments with %": ("% bip unweighted\n% 3 2 2\n1 1\n1 2\n2 2\n", {}, [(1, 1), (1, 2), (2, 2)], None),
    "comments with #": ("# Directed graph\n# From To\n1\t1\n1\t2\n", {}, [(1, 1), (1, 2)], None),
    "comments over lists": (
        "% lists\n4 5 6\n7 8\n% end\n9 1 2 3\n",
        ADJACENCY,
        [(4, 5), (4, 6), (7, 8), (9, 1), (9, 2), (9, 3)],
        None,
    ),
    "comments over counted lists": ("# lists\n2 5 6\n1 7\n", {}, [(0, 5), (0, 6), (1, 7)], None),
    "tags are no comments": ("#a,x\n#b,x\n#a,y\n", {}, [("#a", "x"), ("#b", "x"), ("#a", "y")], None),
    # joined files
    "two headers": ("user,item\n1,2\nuser,item\n5,6\n", {}, [(1, 2), (5, 6)], "line 3: the header comes again, 1 time"),
    "two headers of unknown names": (
        "who,what,n\n1,2,3\nwho,what,n\n5,6,7\n",
        {"columns": {"user": "who", "item": "what"}},
        [(1, 2), (5, 6)],
        "header comes again",
    ),
    "two headers with marks": (
        "\ufeffuser,item\n1,2\n\ufeffuser,item\n5,6\n",
        {},
        [(1, 2), (5, 6)],
        "header comes again",
    ),
    "two headers of RecBole": (
        "user_id:token\titem_id:token\n1\t2\nuser_id:token\titem_id:token\n5\t6\n",
        {},
        [(1, 2), (5, 6)],
        "header comes again",
    ),
    # ids as they are
    "blanks in quotes": ('user,item\n"a ",x\na,x\n', {}, [("a ", "x"), ("a", "x")], None),
    "blanks out of quotes": ("user,item\na ,x\nb, y\n", {}, [("a", "x"), ("b", "y")], None),
    "blanks that made twins": (
        "user,item\na ,x\na,y\n",
        {},
        [("a", "x"), ("a", "y")],
        "blanks around the id alone tell 1 user from others",
    ),
    "blanks before quotes": ('user, item\na, "x, y"\n', {}, [("a", "x, y")], None),
    "words in quotes": ('user,item\n"None",1\n"NULL",1\nNA1,2\n', {}, [("None", 1), ("NULL", 1), ("NA1", 2)], None),
    # line ends
    "old line ends": ("user,item\r1,2\r2,3\r", {}, [(1, 2), (2, 3)], None),
    "old line ends of lists": ("4 5 6\r7 8\r", {}, [(4, 5), (4, 6), (7, 8)], None),
    "old line ends of tabs": ("1\t2\r1\t3\r", {}, [(1, 2), (1, 3)], None),
    # encodings
    "latin-1": ("user,item\nrené,1\n".encode("latin-1"), {}, [("rené", 1)], "read as cp1252.*'rené,1'"),
    "latin-1, said": ("user,item\nrené,1\n".encode("latin-1"), {"encoding": "latin-1"}, [("rené", 1)], None),
    "German": ("Müller,Öl\nMüller,Äpfel\n".encode("cp1252"), {}, [("Müller", "Öl"), ("Müller", "Äpfel")], "cp1252"),
    "Cyrillic": (
        "user,item\nИльф,пыль\nГлюк,дождь\n".encode("cp1251"),
        {},
        [("Ильф", "пыль"), ("Глюк", "дождь")],
        "cp1251",
    ),
    "UTF-16": ("user,item\nrené,1\n".encode("utf-16"), {}, [("rené", 1)], None),
    # separators and missing values
    "a bar": ("user|item\n1|2\n", {"separator": "|"}, [(1, 2)], None),
    "a bar twice": ("1||2\n3||4\n", {"separator": "||"}, [(1, 2), (3, 4)], None),
    "a tab by name": ("1\t2\n3\t4\n", {"separator": "tab"}, [(1, 2), (3, 4)], None),
    "missing": ("user,item\n1,2\n,3\nnan,4\n5,NA\n6,7\n", {"drop_missing": True}, [(1, 2), (6, 7)], None),
    "missing ratings": ("user,item,rating\n1,2,5\n1,3,\n", {"drop_missing": True, "min_rating": 1}, [(1, 2)], None),
    "missing in lists": (
        "1 2 nan\n3 4 5 6\n",
        {**ADJACENCY, "drop_missing": True},
        [(1, 2), (3, 4), (3, 5), (3, 6)],
        None,
    ),
    # JSON lines
    "json lines": ('{"user": 1, "item": "a"}\n\n{"item": "b", "user": 2}\n', {}, [(1, "a"), (2, "b")], None),
    "json text": (
        '{"user": "1", "item": " a "}\n{"user": "None", "item": "a"}\n',
        {},
        [("1", " a "), ("None", "a")],
        None,
    ),
    "json of Amazon": (
        '{"reviewerID": "A1", "asin": "B0", "overall": 5.0, "unixReviewTime": 900000000, "style": {"x": 1}}\n',
        {"min_rating": 4},
        [("A1", "B0")],
        None,
    ),
    "json of Yelp": (
        '{"user_id": "u", "business_id": "b", "stars": 4, "date": "2018-07-07 22:09:11"}\n',
        {"min_rating": 4},
        [("u", "b")],
        None,
    ),
    "json with names": ('{"who": 1, "what": 2, "n": 3}\n', {"columns": {"user": "who", "item": 1}}, [(1, 2)], None),
    "json with gaps": (
        '{"user": 1, "item": 2}\n{"user": 3}\n{"user": null, "item": 4}\n',
        {"drop_missing": True},
        [(1, 2)],
        None,
    ),
    # marks that stand between a user and items
    "lists of words after a colon": (
        "ann: lamp desk\nbob: lamp\n",
        {},
        [("ann", "lamp"), ("ann", "desk"), ("bob", "lamp")],
        None,
    ),
    "lists with commas after a colon": (
        "ann: red lamp, desk\nbob: desk\n",
        {},
        [("ann", "red lamp"), ("ann", "desk"), ("bob", "desk")],
        None,
    ),
    "lists after an arrow": ("1 -> 5 9\n2 -> 4\n", {}, [(1, 5), (1, 9), (2, 4)], None),
    "lists of numbers after a tab, with commas": (
        "1\t5,9\n2\t4\n2\t7\n",
        {},
        [(1, 5), (1, 9), (2, 4), (2, 7)],
        "2 lines? begin|1 line begin",
    ),
    "pairs after a colon": (
        "1:2\n1:3\n2:3\n",
        {},
        [(1, 2), (1, 3), (2, 3)],
        "pass separator=':' if that is right, else format='libsvm'",
    ),
    "equal lists after a colon": ("7:1,2\n9:2,3\n", {}, [(7, 1), (7, 2), (9, 2), (9, 3)], "else format='comma'"),
    "a user twice in lists": (
        "ann x y z\nbob x\nann v w\nbob z y x v\n",
        {},
        [
            *(("ann", item) for item in "xyz"),
            ("bob", "x"),
            ("ann", "v"),
            ("ann", "w"),
            *(("bob", item) for item in "zyv"),
        ],
        "2 lines begin with a user that another has",
    ),
    "words that never come back": (
        "--- a\n+++ b c\n@@ -1 +1 x\n",
        {},
        [("---", "a"), ("+++", "b"), ("+++", "c"), ("@@", "-1"), ("@@", "+1"), ("@@", "x")],
        "none of the 6 items is in two",
    ),
    "lists within a column": (
        "ann\tx,y\nbob\tx\ncat\tz\n",
        {},
        [("ann", "x,y"), ("bob", "x"), ("cat", "z")],
        "pass format='adjacency' if each line",
    ),
    "lists within a column, named": ("ann;x|y\nbob;x\n", ADJACENCY, [("ann", "x"), ("ann", "y"), ("bob", "x")], None),
    # separators that cut all lines alike
    "bars over commas": (
        "user|item\nann|lamp, red\nann|desk, oak\nbob|lamp\n",
        {},
        [("ann", "lamp, red"), ("ann", "desk, oak"), ("bob", "lamp")],
        None,
    ),
    "bars and blanks": ("ann | red lamp\nbob | desk\n", {}, [("ann", "red lamp"), ("bob", "desk")], None),
    "carets": ("user^item\nann^a,b\nbob^c\n", {}, [("ann", "a,b"), ("bob", "c")], None),
    "control characters, as Hive writes": ("ann\x01lamp\nbob\x01desk\n", {}, [("ann", "lamp"), ("bob", "desk")], None),
    "semicolons before commas": (
        "ann;x,1\nbob;y,2\nann;z,1\n",
        {},
        [("ann", "x,1"), ("bob", "y,2"), ("ann", "z,1")],
        None,
    ),
    # quotes where they are not the rule
    "quotes between tabs": (
        'user\titem\n"ann"\t"red\tlamp"\n"bob"\t"desk"\n',
        {},
        [("ann", "red\tlamp"), ("bob", "desk")],
        None,
    ),
    "quotes that are letters": (
        'user\titem\nann\t7" disc\nbob\t"Heroes"\n',
        {},
        [("ann", '7" disc'), ("bob", '"Heroes"')],
        None,
    ),
    "quotes between blanks": ('"ann lee" "lamp"\n"bob" "lamp"\n', {}, [("ann lee", "lamp"), ("bob", "lamp")], None),
    "quotes between bars": ('"a|b"|"x"\n"c"|"y"\n', {}, [("a|b", "x"), ("c", "y")], None),
    # row numbers that the header does not name
    "row names of R": (
        '"user" "item" "n"\n"1" "ann lee" 7 5\n"2" "bob" 8 4\n',
        {"min_rating": None, "columns": {"user": "user", "item": "item"}},
        [("ann lee", 7), ("bob", 8)],
        None,
    ),
    "row names of R with commas": ('"user","item"\n"a",1,7\n"b",2,8\n', {}, [(1, 7), (2, 8)], None),
    "row numbers without quotes": (
        "user\titem\n1\tann\tx\n2\tbob\tx\n",
        {},
        [("ann", "x"), ("bob", "x")],
        "a name fewer than the rows have columns",
    ),
    "a printed frame": (
        "  user  item\n0  ann     x\n1  bob     y\n",
        {},
        [("ann", "x"), ("bob", "y")],
        "taken for row numbers",
    ),
    "an index without a name": (",user,item\n0,ann,x\n1,bob,x\n", {}, [("ann", "x"), ("bob", "x")], None),
    # two columns for one thing
    "two items": (
        "user,product,product_id\nann,Lamp,7\nann,Lamp,8\n",
        {},
        [("ann", 7), ("ann", 8)],
        "'product_id' is read as the item, and 'product' may hold it too",
    ),
    "two users": (
        "customer,userId,item\nann,1,7\nbob,2,7\n",
        {},
        [(1, 7), (2, 7)],
        "'userId' is read as the user, and 'customer'",
    ),
    "two items, named": (
        "user,asin,parent_asin\na,1,9\nb,2,9\n",
        {"columns": {"user": "user", "item": "parent_asin"}},
        [("a", 9), ("b", 9)],
        None,
    ),
    "two items in json": (
        '{"user": 1, "asin": "a", "parent_asin": "b"}\n',
        {},
        [(1, "a")],
        "'parent_asin' may hold it too",
    ),
    "two ratings": (
        "user,item,stars,label\na,1,5,0\nb,2,1,1\n",
        {"min_rating": 3},
        [("a", 1)],
        "'stars' is read as the rating, and 'label'",
    ),
    "one name twice, by position": ("user,item,item\n1,2,3\n", {"columns": {"user": 0, "item": 2}}, [(1, 3)], None),
    # numbers
    "decimal commas in quotes": (
        'user,item,rating\n1,2,"4,5"\n1,3,"3,25"\n2,2,2\n',
        {"min_rating": 3.2},
        [(1, 2), (1, 3)],
        None,
    ),
    "a row of totals": (
        "1,5\n1,6\n2,5\nTotal,6\n",
        {},
        [("1", 5), ("1", 6), ("2", 5), ("Total", 6)],
        "line 4: 'Total' is",
    ),
    "a comment among rows": (
        "1 5\n1 6\n% x\n2 5\n",
        {"columns": {"user": 0, "item": 1}},
        [("1", "5"), ("1", "6"), ("%", "x"), ("2", "5")],
        None,
    ),
    "times in thousandths": (
        "1,1700000000000\n1,1700000005000\n",
        {},
        [(1, 1700000000000), (1, 1700000005000)],
        "look like times",
    ),
    "times in millionths": (
        "1,1700000000000000\n2,1700000005000000\n",
        {},
        [(1, 1700000000000000), (2, 1700000005000000)],
        "look like times",
    ),
    "numbers of rows from anywhere": (
        "1001,5\n1002,5\n1003,6\n",
        {},
        [(1001, 5), (1002, 5), (1003, 6)],
        "numbers the rows",
    ),
    "one pair in all rows": ("user 1 -> item 2\nuser 1 -> item 3\n", {}, [("user", 1)], "hold one pair alone"),
    "joined files with marks": ("1,2\n\ufeff3,4\n", {}, [(1, 2), (3, 4)], None),
    "ids in braces": ("{6F96-1},5\n{6F96-2},5\n", {}, [("{6F96-1}", 5), ("{6F96-2}", 5)], None),
    # labels of RecBole
    "labels": ("user_id:token\titem_id:token\tlabel:float\n1\t2\t1\n1\t3\t0\n", {"min_rating": 1}, [(1, 2)], None),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", READ)
def test_what_is_read(write, kind, packed):
    text, options, pairs, said = READ[kind]
    content = text if isinstance(text, bytes) else text.encode()
    path = write(gzip.compress(content) if packed else content)
    if said is None:
        assert labelled(read(path, **options)) == pairs
        return
    with pytest.warns(AmbiguousFileWarning, match=said) as caught:
        assert labelled(read(path, **options)) == pairs
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert str(path) in str(caught[0].message)


REFUSED = {
    "a quote that never closes": (
        'user,item,title\n1,1,a\n1,2,"7 inch\n2,1,b\n2,2,c\n',
        {},
        "line 3: opens a quote that never closes",
    ),
    "one in the last column of the last row": ('user,item\n1,2\n1,"3\n', {}, "line 3: opens a quote"),
    "one that another closes": ('user,item,t\n1,2,"a\n2,3,b\n3,4,"c"\n', {}, "line 2: opens a quote"),
    "one that closes rows later": (
        'user,item,t\n1,2,"a\n2,3,b\n3,4,c"\n',
        {},
        "line 2: opens a quote that closes at line 4",
    ),
    "one with semicolons": ('user;item\n1;"a\n2;b\n', {}, "line 2: opens a quote"),
    "dates as items": (
        "1,2024-05-01T10:00:00Z,7\n1,2024-05-02T10:00:00Z,8\n",
        {},
        "column 1 .from 0. is read as the item, but holds dates",
    ),
    "dates as users": ("2024-05-01,1,7\n2024-05-02,1,8\n", {}, "read as the user, but holds dates"),
    "days with points": ("1;24.12.2023;7\n1;25.12.2023;8\n", {}, "read as the item, but holds dates"),
    "dicts of Python": ("{'user': 1, 'item': 2}\n{'user': 1, 'item': 3}\n", {}, "holds values written by Python"),
    "tuples of Python": ("(1, 2, 5.0)\n(1, 3, 4.0)\n", {}, "holds values written by Python"),
    "lists of Python": ("['ann', 'lamp']\n['bob', 'desk']\n", {}, "holds values written by Python"),
    "a list of tuples": ("[(1, 2),\n (1, 3)]\n", {}, "holds values written by Python"),
    "tuples as lists": ("(1, 2)\n(1, 3)\n", ADJACENCY, "holds values written by Python"),
    "inserts": ("INSERT INTO r VALUES (1,2);\nINSERT INTO r VALUES (1,3);\n", {}, "holds statements of SQL"),
    "a dump": ("-- MySQL dump\nCREATE TABLE r (a int);\n", {}, "holds statements of SQL"),
    "a page": ("<!DOCTYPE html>\n<html>\n", {}, "holds XML or HTML"),
    "attributes": ("@relation r\n@attribute user numeric\n", {}, "holds ARFF"),
    "matrix market as lists": (
        "%%MatrixMarket matrix coordinate pattern general\n1 1 1\n1 1\n",
        ADJACENCY,
        "is a matrix of Matrix Market, not 'adjacency'",
    ),
    "half a matrix": (
        "%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 5\n",
        {},
        "is a damaged matrix of Matrix Market",
    ),
    "libsvm as lists": ("1 1:5 3:2\n2 3:1\n", ADJACENCY, "lists with values, as of LibSVM, not 'adjacency'"),
    "half of libsvm": ("1 1:5 3:2\n2 3:1\n3 4\n", {"format": "libsvm"}, "line 3: has '4', expected item:value"),
    "a header among rows": (
        "1,2\nuser,item\n3,4\n",
        {},
        "line 2: holds the names 'user' and 'item' in the place of ids",
    ),
    "a header in another order": (
        "user,item\n1,2\nitem,user\n4,3\n",
        {},
        "line 3: holds the names .*files with other columns were joined",
    ),
    "another header": ("userId,movieId\n1,2\nuser,item\n3,4\n", {}, "line 3: holds the names"),
    "no word in quotes": (
        'user,item\n"None",1\nNULL,1\n',
        {},
        "line 3: the user id is missing .'NULL'.*pass drop_missing=True",
    ),
    "a document": ('[{"user": 1, "item": 2}]\n', {}, "one document of JSON"),
    "json of two kinds": (
        '{"user": 1, "item": 2}\n{"user": "a", "item": 2}\n',
        {},
        "holds numbers and text for 'user'",
    ),
    "json without an item": ('{"user": 1, "thing": 2}\n', {}, "known to hold the item; it has .'user', 'thing'."),
    "broken json": ('{"user": 1, "item": 2}\n{"user": 1, "item": }\n', {}, "line 2: holds no JSON object"),
    "json with a hole": ('{"user": 1, "item": 2}\n\n{"user": 1}\n', {}, "line 3: the item id is missing .None."),
    "nothing without gaps": ("user,item\n1,\n", {"drop_missing": True}, "holds no row without a missing value"),
    "two separators": ("1;2\n", {"format": "comma", "separator": ";"}, "separator is ';' and format 'comma'"),
    "no separator": ("1;2\n", {"separator": ""}, "separator is ''"),
    "no encoding": ("1;2\n", {"encoding": "latin-99"}, "encoding is 'latin-99', expected a name that Python knows"),
    "the wrong encoding": ("1,é\n", {"encoding": "ascii"}, "is not ascii"),
    "a name without header": (
        "ann,lamp\n",
        {"columns": {"user": "buyer"}},
        "no column 'buyer' for 'user'.*pass header=True",
    ),
    "a readme": (
        "# tool\n\nRead this first, it is short, and true.\nRun it; see below.\n\nThen (if it broke) ask, or wait.\n",
        {},
        r"reads like prose or code, with words such as .*pass format='adjacency' if each line is a user",
    ),
    "a letter": (
        "Dear all, here are the ratings.\nYours, Ann and the others.\nThey are fresh, and whole.\n",
        {},
        "reads like prose or code, with words such as 'all,', 'ratings.', 'others.'",
    ),
    "settings": ("[tool]\na = [ 1, 2 ]\nb = 2\nname = { c = 3 }\n", {}, "reads like prose or code"),
    "a program": ('def f(x):\n    return {"a": x}\n\nfor x in y:\n    print(f(x))\n', {}, "reads like prose or code"),
    "a log of a server": (
        '1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 200 23\n'
        '1.2.3.5 - - [10/Oct/2000:13:55:37 -0700] "GET /b HTTP/1.0" 200 24\n',
        {},
        "reads like prose or code",
    ),
    "fields with names": (
        "user=1,item=2\nuser=1,item=3\n",
        {},
        "name of each field before its value, as in 'user=1', 'item=2'",
    ),
    "fields with names between blanks": ("ts=1 uid=ann iid=x\nts=2 uid=bob iid=x\n", {}, "name of each field"),
    "fields with names after colons": ("who: ann, what: x\nwho: bob, what: y\n", {}, "name of each field"),
    "a query": ("user=1&item=2\nuser=1&item=3\n", {}, "name of each field"),
    "a mapping": ("ann: [x, y]\nbob: [x]\n", {}, "holds users before lists in brackets"),
    "a mapping of Perl": ("1 => [2,3],\n2 => [4],\n", {}, "holds users before lists in brackets"),
    "a drawn table": (" user | item\n------+------\n ann  | x\n", {}, "holds a table that is drawn"),
    "a table of Markdown": ("| user | item |\n|---|:--|\n| ann | x |\n", {}, "holds a table that is drawn"),
    "statements of another kind": ("DELETE FROM r;\nUPDATE r SET x=1;\n", {}, "holds statements of SQL"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", {}, "git lfs pull"),
    "triples": (
        "<http://a/1> <http://b> <http://a/2> .\n<http://a/3> <http://b> <http://a/2> .\n",
        {},
        "has the mark '<'",
    ),
    "rows of Spark": ("Row(user=1, item=2)\nRow(user=1, item=3)\n", {}, r"has the mark '\)'"),
    "sets of Python": ("{1, 2}\n{1, 3}\n", {}, "has the mark '{'"),
    "single quotes": ("user,item\n'1','2'\n'3','2'\n", {}, 'has the mark "\'"'),
    "curly quotes": ("\u201c1\u201d;\u201c2\u201d\n\u201c3\u201d;\u201c2\u201d\n", {}, "has the mark"),
    "lists in one value": (
        'user,item\n1,"[2, 3]"\n2,"[4]"\n',
        {"columns": {"user": "user", "item": "item"}},
        "holds lists such as",
    ),
    "lists in json": ('{"user": 1, "item": [2, 3]}\n', {}, "holds lists for 'item'"),
    "one name over two columns": ("user,item,item\n1,2,3\n", {}, r"has the name 'item' over 2 columns, \[1, 2\]"),
    "one name twice, by name": ("user,user,item\n1,2,3\n", {"columns": {"user": "user"}}, "over 2 columns"),
    "thousands or decimals": (
        'user,item,plays\n1,2,"1,500"\n1,3,"12"\n',
        {},
        "a decimal comma or one between thousands",
    ),
    "ids that a spreadsheet rounded": ("user,item\n1.23E+11,2\n1.24E+11,3\n", {}, "holds decimal numbers"),
    "what databases write for nothing": ("user,item\n\\N,2\n1,3\n", {}, "the user id is missing"),
    "what spreadsheets write for nothing": ("user,item\n1,#REF!\n1,3\n", {}, "the item id is missing"),
    "an index and numbered columns": (",0,1\n0,ann,x\n1,bob,x\n", {}, r"it has \['', '0', '1'\]"),
    "a dense matrix with names": ("  i1 i2\nu1 1 0\nu2 0 1\n", {}, r"it has \['', 'i1', 'i2'\]"),
    "a forgotten name": ("user,item\n7,5,3\n9,6,2\n7,7,1\n", {}, "line 1: has 2 columns, expected 3 as in most lines"),
    "a title above": ("Purchases 2024\nuser,item\n1,2\n1,3\n", {}, "line 1: has 1 column, expected 2 as in most lines"),
    "lists of three words": ("ann x y\nbob x z\n", {}, "third would be the rating, but holds 'y'.*format='adjacency'"),
    "a pickle": (b"\x80\x04\x95rest", {}, "is a pickle"),
    "an array": (b"\x93NUMPY\x01\x00", {}, "is an array of NumPy"),
    "a workbook": (b"PK\x03\x04\x14\0[Content_Types].xml", {}, "is a workbook of Excel; save the sheet as CSV"),
    "an old archive": (b"BZh91AY", {}, "is a bzip2 archive; unpack it first"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(write, kind):
    text, options, said = REFUSED[kind]
    with pytest.raises(InputError, match=said) as caught:
        read(write(text), **options)
    assert "\n" not in str(caught.value)


NO_PROSE = {
    "films with full stops": ("ann, Monsters Inc.\nbob, St. Elmo\nann, E.T.\nbob, Monsters Inc.\n", 4),
    "films with points in quotes": ('user,item\nann,"What, me?"\nbob,"Up!"\nann,"Oh, no."\n', 3),
    "a colon after the user": ("ann: lamp desk\nbob: lamp\ncat: desk bed lamp chair\n", 7),
    "marks for what is missing": ("ann lamp 5 -\nbob lamp 4 -\nann desk 3 ?\ncat bed 1 .\n", 4),
    "brackets and slashes": ("ann c++ (a) b/c\nbob c++ x[1]\ncat (a)\n", 6),
    "urls": ("ann http://a.b/?c=1 http://a.b/d\nbob http://a.b/d\ncat http://a.b/e x.y z-1\n", 6),
}


@pytest.mark.filterwarnings("ignore::buir.errors.InputWarning")
@pytest.mark.parametrize("kind", NO_PROSE)
def test_ids_with_marks_are_no_prose(write, kind):
    text, n_pairs = NO_PROSE[kind]
    assert read(write(text)).n_pairs == n_pairs


def test_prose_is_read_as_lists_by_whoever_says_so(write):
    text = "ann likes tea, cake.\nbob likes tea, bread, jam.\ncat likes jam,\n"
    with pytest.raises(ReadError, match="reads like prose"):
        read(write(text))
    assert read(write(text), format="adjacency").item_ids.tolist() == [
        "likes",
        "tea,",
        "cake.",
        "bread,",
        "jam.",
        "jam,",
    ]


@pytest.mark.parametrize(
    "text",
    [
        ",".join(["user", *(f"film number {i}" for i in range(9000))]) + "\n" + ",".join("1" * 9001) + "\n",
        "\t".join(f"{'long' * 30}{i}" for i in range(500)) + "\n" + "\t".join("1" * 500) + "\n",
        json.dumps({f"name{i}": i for i in range(2000)}) + "\n",
    ],
)
def test_a_listing_is_cut(write, text):
    with pytest.raises(ReadError, match=r"and [\d,]+ more\].*melt") as caught:
        read(write(text))
    assert len(str(caught.value)) < 1500
    frame = pd.DataFrame(np.ones((2, 900)), columns=[f"c{i}" for i in range(900)])
    with pytest.raises(InputError, match="and 888 more") as caught:
        Interactions.from_frame(frame)
    assert len(str(caught.value)) < 1500


def test_a_dense_matrix_is_no_table_of_ids(write):
    with pytest.warns(AmbiguousFileWarning, match="holds two values alone, '0' and '1'") as caught:
        read(write("0,1,0,1,1\n1,0,0,1,0\n0,1,1,0,0\n1,1,0,0,1\n"))
    assert len(caught) == 2


def test_all_different_values_in_the_place_of_an_id(write):
    path = write("".join(f"{user % 5}\t{1000 - user}\n" for user in range(20)))
    with pytest.warns(
        AmbiguousFileWarning, match="read as the item, but none of its 20 values comes back; pass columns"
    ):
        assert read(path).n_items == 20
    assert read(path, columns={"user": 0, "item": 1}).n_items == 20


# Ratings: one doctor for all doors

RATED = "user,item,stars\na,1,-1\na,2,0\nb,1,3\nb,3,5\n"
TOLD = (
    r"holds ratings, 2 of them zero or negative: -1 \(1 row\), 0 \(1 row\), 3 \(1 row\), 5 \(1 row\); {}3 keeps 2 of 4"
)


@pytest.mark.parametrize(
    ("text", "threshold", "kept"),
    [
        ("user,item,label\na,1,1\na,2,0\nb,1,0\n", "1", "1 of 3"),
        ("user,item,plays\n" + "".join(f"a,{i},{i * i}\n" for i in range(1, 22)), "121", "11 of 21"),
        ("user,item,rating\n" + "".join(f"a,{i},{i - 6.5}\n" for i in range(20)), "0.5", "13 of 20"),
        ("user,item,rating\na,1,7\na,2,7\n", None, None),
    ],
)
def test_what_ratings_are_is_said(write, text, threshold, kept):
    words = ": every row" if threshold is None else f"; min_rating={threshold} keeps {kept}"
    with pytest.warns(
        ValuesIgnoredWarning, match=re.escape(words) if threshold else r"7 \(2 rows\); without it"
    ) as caught:
        data = read(write(text))
    assert caught[0].message.argument == "min_rating"
    assert data.n_pairs == text.count("\n") - 1
    if threshold is not None:
        assert read(write(text), min_rating=float(threshold)).n_pairs == int(kept.split()[0])
        assert kept in str(describe(data))


def test_no_ratings_no_word(write):
    assert read(write("user,item,rating\na,1,1\na,2,1\n")).n_pairs == 2
    assert read(write(RATED), columns={"user": "user", "item": "item"}).n_pairs == 4
    assert read(write(RATED), min_rating=-1).n_pairs == 4


def test_every_door_says_the_same(write, tmp_path):
    path = write(RATED, "r.csv")
    python, typed = TOLD.format("min_rating="), TOLD.format("--min-rating ")
    with pytest.warns(ValuesIgnoredWarning, match=python):
        read(path)
    with pytest.warns(ValuesIgnoredWarning, match=python):
        read_split(path, write("user,item\na,3\n", "test.csv"))
    frame = pd.read_csv(path).rename(columns={"stars": "rating"})
    with pytest.warns(ValuesIgnoredWarning, match=python):
        Interactions.from_frame(frame)
    with pytest.warns(ValuesIgnoredWarning, match=python):
        Interactions.from_pairs(frame.user, frame.item, ratings=frame.rating)
    assert re.search(typed, run("data", "describe", path).stderr)
    assert re.search(typed, run("fit", path, "--out", tmp_path / "m", *TINY).stderr)
    assert "ratings" not in run("data", "describe", path, "--min-rating", "3").output
    config = tmp_path / "c.yaml"
    config.write_text(
        "data: [{path: r.csv}]\nprotocol: {kind: leave-one-out, by: order}\nmodels: [{kind: popularity}]\n"
    )
    write(RATED + "a,3,5\nb,2,5\nc,1,5\nc,2,5\nc,3,5\n", "r.csv")
    said = run("benchmark", config, "--out", tmp_path / "out", "--dry-run").stderr
    assert re.search("holds ratings, 2 of them zero or negative: .*--set data.min_rating=3 keeps 7 of 9", said)


# Splits


def test_the_files_of_a_split_are_read_in_one_form(write):
    train, test = write("0 1 2 3\n1 4\n2 5 6\n", "train.txt"), write("0 5 9\n1 4 7\n2 5 8\n", "test.txt")
    for first, second in ((train, test), (test, train)):
        parts = dict(zip((first, second), read_split(first, second), strict=True))
        assert labelled(parts[test]) == LISTS
        assert labelled(parts[train]) == [(0, 1), (0, 2), (0, 3), (1, 4), (2, 5), (2, 6)]
    short = write("0 5\n1 4\n", "short.txt")
    assert labelled(read_split(train, short)[1]) == [(0, 5), (1, 4)]
    with pytest.warns(AmbiguousFileWarning, match="could be columns"):
        assert labelled(read_split(test, short)[0]) == LISTS


def test_counted_lists_of_one_item_each(write):
    train, test = write("2 5 6\n1 7\n0\n", "train"), write("1 5\n1 6\n1 5\n", "test")
    assert labelled(read_split(train, test)[1]) == [(0, 5), (1, 6), (2, 5)]


def test_a_table_and_a_file_that_may_be_lists(write):
    train, test = write("0 5 4\n0 6 5\n1 5 1\n", "train"), write("0 7 5\n1 6 2\n", "test")
    parts = read_split(train, test, min_rating=4)
    assert [labelled(part) for part in parts] == [[(0, 5), (0, 6)], [(0, 7)]]


def test_names_of_one_file_hold_for_the_other(write):
    train, test = write("item,user\n5,a\n6,b\n", "train"), write("6,a\n5,b\n", "test")
    assert labelled(read_split(train, test)[1]) == [("a", 6), ("b", 5)]
    assert labelled(read_split(test, train)[0]) == [("a", 6), ("b", 5)]


def test_types_of_a_split_agree(tmp_path, write):
    pq.write_table(pa.table({"user": ["1", "2"], "item": [1, 2]}), tmp_path / "train.parquet")
    parts = read_split(tmp_path / "train.parquet", write("user,item\n1,2\n"))
    assert parts[1].user_ids.tolist() == ["1", "2"]
    assert labelled(parts[1]) == [("1", 2)]


def test_a_folder_of_a_split(tmp_path, write):
    for name, text in {
        "train": "0 1 2 3\n1 4 5\n",
        "test": "0 4\n1 2\n",
        "user_list": "org_id remap_id\na 0\n",
    }.items():
        write(text, f"{name}.txt")
    train, test = read_split(tmp_path)
    assert (train.n_pairs, labelled(test)) == (5, [(0, 4), (1, 2)])
    write("0 5\n1 1\n", "valid.txt")
    split = given_split(*read_split(tmp_path)[:2], valid=read_split(tmp_path)[2])
    assert [part.n_pairs for part in (split.train, split.valid, split.test, split.dropped)] == [5, 2, 2, 0]
    with pytest.raises(ReadError, match=r"is a folder of a split \(test: test.txt and train: train.txt.*read_split"):
        read(tmp_path)
    write("0 1\n", "test2.txt")
    with pytest.raises(ReadError, match=r"two files that may be the test part, 'test\.txt' and 'test2\.txt'"):
        read_split(tmp_path)


@pytest.mark.parametrize("names", ["{}.inter", "data.{}.csv", "my-{}1.txt"])
def test_names_of_the_files_of_a_split(tmp_path, write, names):
    for part, item in (("train", 1), ("valid", 2), ("test", 3)):
        write(f"user_id:token\titem_id:token\na\t{item}\n", names.format(part))
    assert [labelled(part) for part in read_split(tmp_path)] == [[("a", 1)], [("a", 3)], [("a", 2)]]


def test_a_folder_without_a_part(tmp_path, write):
    write("1 2\n", "train.txt")
    with pytest.raises(ReadError, match="without a file of the test part"):
        read_split(tmp_path)
    with pytest.raises(InputError, match="test is None"):
        read_split(tmp_path / "train.txt")


def test_a_given_valid_part_drops_what_cannot_be_found(write):
    train, test = write("0 1 2\n1 3\n", "train"), write("0 3 4 1\n7 1\n", "test")
    valid = write("0 4 2\n8 3\n", "valid")
    split = given_split(*read_split(train, test, valid)[:2], valid=read_split(train, test, valid)[2])
    assert labelled(split.valid) == [(0, 4)]
    assert labelled(split.test) == [(0, 3)]
    assert sorted(labelled(split.dropped)) == [(0, 1), (0, 2), (0, 4), (7, 1), (8, 3)]


BENCHMARK = "protocol: {kind: given}\nmodels: [{kind: popularity}]\nmetrics: {ks: [2]}\n"


@pytest.mark.parametrize(
    "data",
    [
        "{path: split}",
        "{train: split/train.txt, test: split/test.txt, valid: split/valid.txt}",
        "{path: split, separator: ' '}",
    ],
)
def test_a_benchmark_takes_the_published_parts(tmp_path, data):
    (tmp_path / "split").mkdir()
    for name, text in {"train": "0 1 2 3\n1 4 5\n", "test": "0 4\n1 2\n", "valid": "0 5\n1 1\n"}.items():
        (tmp_path / "split" / f"{name}.txt").write_text(text)
    config = tmp_path / "c.yaml"
    config.write_text(f"data: [{data}]\n{BENCHMARK}")
    if "separator" in data:
        said = run("benchmark", config, "--out", tmp_path / "o", "--dry-run", code=1).stderr
        assert "columns" in said
        return
    assert "1 cell" in run("benchmark", config, "--out", tmp_path / "o", "--dry-run").stdout.replace("1 run", "1 cell")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{path: .}", "is a folder, expected a file, such as one of"),
        ("{path: nothing.txt}", "data.0.path: no such file"),
        ("{train: ., test: c.yaml}", "data.0.train: is a folder"),
        ("{path: c.yaml, valid: c.yaml}", "valid means nothing to data given by 'path'"),
        ("{path: c.yaml}", "'train' and 'test' files, or their folder as 'path'"),
        ("{path: ., min_user: 2}", "min_user means nothing to a published split"),
    ],
)
def test_a_benchmark_names_what_is_wrong_with_its_files(tmp_path, data, said):
    protocol = (
        BENCHMARK if said.startswith(("'train'", "data.0.train", "min_user")) else "models: [{kind: popularity}]\n"
    )
    config = tmp_path / "c.yaml"
    config.write_text(f"data: [{data}]\n{protocol}")
    result = CliRunner().invoke(app, ["benchmark", str(config), "--out", str(tmp_path / "o"), "--dry-run"])
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert "Traceback" not in result.output


# Frames and matrices in the place of Interactions

FRAME = pd.DataFrame({"user": [1, 1, 1, 2, 2, 2], "item": [1, 2, 3, 1, 2, 3], "time": [1, 2, 3, 4, 5, 6]})


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, lambda frame: Interactions.from_frame(frame)])
def test_splits_take_frames(make):
    data, same = make(FRAME), Interactions.from_frame(FRAME)
    assert nested_split(data, 0.5).digest == nested_split(same, 0.5).digest
    assert nested_levels(data, [0.5, 1.0])[0.5].digest == nested_split(same, 0.5).digest
    assert leave_one_out(data).digest == leave_one_out(same).digest
    many = pd.DataFrame({"user": np.repeat(np.arange(5), 8), "item": np.tile(np.arange(8), 5)})
    assert author_split(many, 0.5).digest == author_split(Interactions.from_frame(many), 0.5).digest
    assert time_split(data, 0.2, 0.2).train.n_pairs == time_split(same, 0.2, 0.2).train.n_pairs


def test_splits_take_matrices_and_refuse_the_rest():
    matrix = sp.csr_array(np.array([[1, 1, 1, 0], [0, 1, 1, 1]]))
    assert nested_split(matrix, 1.0).digest == nested_split(Interactions.from_matrix(matrix), 1.0).digest
    for wrong in (np.ones((2, 3)), [[1, 2]], {"user": [1], "item": [2]}):
        with pytest.raises(TypeError, match=r"data is of type .*expected a SciPy sparse matrix"):
            nested_split(wrong, 1.0)
    split = given_split(FRAME[:4], FRAME[4:5])
    assert (split.train.n_pairs + split.valid.n_pairs, labelled(split.test)) == (4, [(2, 2)])


def test_one_time_for_all():
    for times, said in (
        ([7] * 6, "all 6 pairs have one time, 7"),
        ([1, 7, 7, 7, 7, 7], "5 pairs have the latest time and stay"),
    ):
        with pytest.raises(ValueError, match=said):
            time_split(FRAME.assign(time=times))
    moments = pd.to_datetime(["2024-01-01"] * 6)
    with pytest.raises(ValueError, match="all 6 pairs have one time"):
        time_split(FRAME.assign(time=moments))


# Typed files


def test_parquet_keeps_what_a_frame_keeps(tmp_path):
    frame = pd.DataFrame({"user": ["a ", "a", "None", "NULL", "nan", "7"], "item": ["1", "2", "1", "2", "1", "1.0"]})
    frame.to_parquet(tmp_path / "f.parquet")
    data = read(tmp_path / "f.parquet")
    same = Interactions.from_frame(frame)
    assert data.digest == same.digest
    assert data.item_ids.tolist() == ["1", "2", "1.0"]
    floats = pa.table({"user": pa.array([1.0, None, 3.0]), "item": ["a", "b", None], "rating": [1.0, 1.0, 1.0]})
    pq.write_table(floats, tmp_path / "g.parquet")
    assert labelled(read(tmp_path / "g.parquet", drop_missing=True)) == [(1, "a")]
    assert read(tmp_path / "g.parquet", drop_missing=True).report.missing == 2


def test_a_folder_of_parquet_parts(tmp_path):
    folder = tmp_path / "events"
    folder.mkdir()
    for place, items in enumerate(([1, 2], [2, 3])):
        pq.write_table(pa.table({"user": ["a", "b"], "item": items}), folder / f"part-{place:05}.parquet")
    (folder / "_SUCCESS").write_text("")
    assert labelled(read(folder)) == [("a", 1), ("b", 2), ("a", 2), ("b", 3)]
    assert "distinct pairs  4" in run("data", "describe", folder).stdout
    pq.write_table(pa.table({"user": ["c"], "thing": [4]}), folder / "part-00002.parquet")
    with pytest.raises(
        ReadError, match=r"part-00002.parquet: has the columns \['thing', 'user'\], but part-00000.parquet"
    ):
        read(folder)


def test_folders_by_day(tmp_path):
    for day in (1, 2):
        (tmp_path / f"day={day}").mkdir()
        pq.write_table(pa.table({"user": ["a", "b"], "item": [day, 5]}), tmp_path / f"day={day}" / "x.parquet")
    assert labelled(read(tmp_path)) == [("a", 1), ("b", 5), ("a", 2)]


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_matrices_of_scipy(tmp_path, form):
    dense = np.array([[1, 0, 2], [0, 0, 0], [0, 3, 0]])
    sp.save_npz(tmp_path / "m.npz", sp.csr_array(dense).asformat(form))
    data = read(tmp_path / "m.npz", min_rating=2)
    assert sorted(labelled(data)) == [(0, 2), (2, 1)]
    assert data.report.columns.startswith("user=row, item=column, both from 0")
    scipy.io.mmwrite(str(tmp_path / "m.mtx"), sp.coo_matrix(dense))
    assert sorted(labelled(read(tmp_path / "m.mtx", min_rating=2))) == [(1, 3), (3, 2)]


def test_archives_of_numpy_that_hold_no_matrix(tmp_path):
    np.savez(tmp_path / "a.npz", users=[1], items=[2])
    with pytest.raises(ReadError, match=r"holds \['users', 'items'\], expected a sparse matrix; .*save_npz"):
        read(tmp_path / "a.npz")
    sp.save_npz(tmp_path / "b.npz", sp.csr_array(np.array([[np.nan, 1.0]])))
    with pytest.raises(ReadError, match="holds nan for user 0 and item 0"):
        read(tmp_path / "b.npz")
    sp.save_npz(tmp_path / "c.npz", sp.csr_array((2, 2)))
    with pytest.raises(ReadError, match=r"a matrix of shape \(2, 2\) without an interaction"):
        read(tmp_path / "c.npz")
    (tmp_path / "d.npz").write_bytes((tmp_path / "b.npz").read_bytes()[:200])
    with pytest.raises(ReadError, match="is a damaged archive of NumPy"):
        read(tmp_path / "d.npz")
    with pytest.raises(ReadError, match="is no archive of NumPy"):
        read(__file__, format="npz")


def test_the_report_accounts_for_every_row(write):
    text = "# plays\nuser,item,rating\n a,1,5\na,1,5\nuser,item,rating\n,2,3\nb,2,1\n\n"
    with pytest.warns(AmbiguousFileWarning) as caught:
        report = read(write(text), drop_missing=True, min_rating=2).report
    assert len(caught) == 2  # the header that comes again, and the blank before "a"
    assert (report.rows_read, report.missing, report.merged, report.below_rating) == (4, 1, 1, 1)
    assert (report.comments, report.repeated_headers, report.blank_lines, report.stripped) == (1, 1, 1, 1)
    said = run("data", "describe", write(text), "--drop-missing", "--min-rating", "2").stdout
    for line in (
        "1 row with a missing value",
        "1 line of comment",
        "1 row with the header again",
        "1 value with blanks",
    ):
        assert line in said


def test_options_of_the_commands(write, tmp_path):
    path = write("wer|was\nren\xe9|x\nren\xe9|y\nbob|\nbob|x\n".encode("latin-1"), "d.txt")
    options = ["--separator", "|", "--encoding", "latin-1", "--header", "--drop-missing", "--column", "user=wer"]
    options += ["--column", "item=was"]
    said = run("data", "describe", path, *options)
    assert said.stderr == ""
    assert re.search(r"columns between '\|', with header, iso8859-1", said.stdout)
    assert "removed         1 row with a missing value" in said.stdout
    run("fit", path, "--out", tmp_path / "m", *TINY, *options)
    assert run("recommend", tmp_path / "m", "--user", "bob").stdout.startswith("user,item,score,rank\nbob,y,")
    test = write("wer|was\nbob|y\n", "t.txt")
    assert "1 pair, 1 measured" in run("evaluate", tmp_path / "m", test, *options).stdout
    events = write("user,item,event\na,x,buy\na,y,view\n", "v.csv")
    assert "distinct pairs  1" in run("data", "describe", events, "--where", "event=buy").stdout
    said = run("data", "describe", write("a,x\nb,y\n", "e.csv"), "--no-header").stdout
    assert "comma, no header" in said


# Random interactions in every format come back equal

texts = st.text("abäzéß07 ,;'\"|:#%", min_size=1, max_size=5).filter(
    lambda text: text == text.strip() and text not in ("nan",)
)
numbers = st.integers(0, 30)
ids = st.one_of(
    st.lists(st.tuples(texts, texts), min_size=2, max_size=12),
    st.lists(st.tuples(numbers, numbers), min_size=2, max_size=12),
)


def lines(frame, separator, header=None):
    rows = [separator.join(map(str, row)) for row in frame.itertuples(index=False)]
    return "".join(f"{row}\n" for row in ([header] if header else []) + rows).encode()


FORMS = {
    "comma": lambda frame: (frame.to_csv(index=False).encode(), {}),
    "semicolon": lambda frame: (frame.to_csv(index=False, sep=";").encode(), {"format": "semicolon"}),
    "UTF-16": lambda frame: (frame.to_csv(index=False).encode("utf-16"), {}),
    "old line ends": lambda frame: (frame.to_csv(index=False, lineterminator="\r").encode(), {}),
    "latin-1": lambda frame: (frame.to_csv(index=False).encode("latin-1"), {"encoding": "latin-1"}),
    "packed": lambda frame: (gzip.compress(frame.to_csv(index=False).encode()), {"format": "comma"}),
    "every value in quotes": lambda frame: (frame.to_csv(index=False, quoting=csv.QUOTE_ALL).encode(), {}),
    "without header": lambda frame: (
        frame.to_csv(index=False, header=False).encode(),
        {"format": "comma", "header": False, "columns": {"user": 0, "item": 1}},
    ),
    "items first": lambda frame: (frame[["item", "user"]].to_csv(index=False).encode(), {}),
    "tab": lambda frame: (frame.to_csv(index=False, sep="\t").encode(), {"format": "tab", "header": True}),
    "tab without quotes": lambda frame: (lines(frame, "\t", "user\titem"), {"format": "tab", "header": True}),
    "a separator of one's own": lambda frame: (
        lines(frame, "\x1f", "user\x1fitem"),
        {"separator": "\x1f", "header": True},
    ),
    "recbole": lambda frame: (lines(frame, "\t", "user_id:token\titem_id:token"), {"format": "recbole"}),
    "json-lines": lambda frame: (frame.to_json(orient="records", lines=True).encode(), {}),
    "gzip": lambda frame: (gzip.compress(frame.to_json(orient="records", lines=True).encode()), {}),
    "parquet": lambda frame: (frame.to_parquet(), {}),
}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=ids)
def test_every_format_gives_back_what_was_written(write, pairs):
    frame = pd.DataFrame(pairs, columns=["user", "item"])
    expected = [(str(user), str(item)) for user, item in dict.fromkeys(pairs)]
    written = [part for user, item in pairs for part in (str(user), str(item), f"{user}\t{item}")]
    whole = [part for part in written if re.fullmatch('".*"', part)]
    for name, make in FORMS.items():
        if whole and name in ("tab without quotes", "a separator of one's own"):
            continue  # whoever does not quote cannot write them: they read as quotes
        content, options = make(frame)
        data = read(write(content), **options)
        assert [(str(user), str(item)) for user, item in labelled(data)] == expected, name
        if name in ("json-lines", "parquet"):
            assert data.digest == Interactions.from_frame(frame).digest, name


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
def test_every_format_of_numbers_gives_back_what_was_written(write, pairs):
    distinct = sorted(set(pairs))
    rows, columns = np.array(distinct).T
    lists = {user: [item for other, item in distinct if other == user] for user in dict.fromkeys(rows.tolist())}
    matrix = sp.coo_matrix((np.ones(len(rows), dtype=int), (rows, columns)), shape=(31, 31))
    archive, market = io.BytesIO(), io.BytesIO()
    sp.save_npz(archive, sp.csr_array(matrix))
    scipy.io.mmwrite(market, matrix, field="pattern")
    contents = {
        "adjacency": "".join(f"{user} {' '.join(map(str, items))}\n" for user, items in lists.items()).encode(),
        "counted": "".join(
            f"{len(lists.get(u, []))} {' '.join(map(str, lists.get(u, [])))}".strip() + "\n" for u in range(31)
        ).encode(),
        "libsvm": "".join(
            f"{user} {' '.join(f'{item}:1' for item in items)}\n" for user, items in lists.items()
        ).encode(),
        "tab": "".join(f"{user}\t{item}\n" for user, item in distinct).encode(),
        "space": "".join(f"{user} {item}\n" for user, item in distinct).encode(),
        "double-colon": "".join(f"{user}::{item}\n" for user, item in distinct).encode(),
        "recbole": ("user_id:token\titem_id:token\n" + "".join(f"{u}\t{i}\n" for u, i in distinct)).encode(),
        "npz": archive.getvalue(),
    }
    assert {*contents, "comma", "semicolon", "json-lines", "parquet", "matrix-market"} == set(FORMATS)
    for name, content in contents.items():
        by_place = {"columns": {"user": 0, "item": 1}} if name in ("tab", "space", "double-colon") else {}
        assert sorted(labelled(read(write(content), format=name, **by_place))) == distinct, name
    found = labelled(read(write(market.getvalue())))
    assert sorted(found) == [(user + 1, item + 1) for user, item in distinct]


ROLES = {role: role for role in ("user", "item", "rating", "time", "weight")}
VALUED = {
    "comma": lambda frame: frame.to_csv(index=False).encode(),
    "semicolon": lambda frame: frame.to_csv(index=False, sep=";", decimal=",").encode(),
    "tab": lambda frame: frame.to_csv(index=False, sep="\t").encode(),
    "space": lambda frame: frame.to_csv(index=False, sep=" ").encode(),
    "double-colon": lambda frame: lines(frame, "::", "::".join(frame.columns)),
    "recbole": lambda frame: lines(frame, "\t", "user:token\titem:token\trating:float\ttime:float\tweight:float"),
    "json-lines": lambda frame: frame.to_json(orient="records", lines=True).encode(),
    "parquet": lambda frame: frame.to_parquet(),
}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(numbers, numbers, st.integers(1, 10).map(lambda n: n / 2), st.integers(0, 2**31), st.integers(1, 16)),
        min_size=2,
        max_size=12,
        unique_by=lambda row: row[:2],
    )
)
def test_ratings_times_and_weights_come_back_from_every_table(write, rows):
    frame = pd.DataFrame(rows, columns=list(ROLES)).assign(weight=lambda frame: frame["weight"] / 4)
    threshold = frame["rating"].median()
    expected = frame[frame["rating"] >= threshold].drop(columns="rating").reset_index(drop=True)
    for name, make in VALUED.items():
        data = read(write(make(frame)), format=name, columns=ROLES, min_rating=threshold)
        pd.testing.assert_frame_equal(data.to_frame(), expected, check_dtype=False, obj=name)
        assert data.report.below_rating == len(frame) - len(expected)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.tuples(numbers, numbers), st.integers(1, 9), min_size=1, max_size=12))
def test_values_come_back_from_every_matrix(write, values):
    rows, columns = np.array(list(values)).T
    matrix = sp.coo_matrix((np.array(list(values.values())), (rows, columns)), shape=(31, 31))
    kept = sorted(pair for pair, value in values.items() if value >= 4)
    archive, market = io.BytesIO(), io.BytesIO()
    sp.save_npz(archive, sp.csr_array(matrix))
    scipy.io.mmwrite(market, matrix)
    by_user = {user: [(item, value) for (other, item), value in values.items() if other == user] for user in set(rows)}
    listed = "".join(f"{user} {' '.join(f'{i}:{v}' for i, v in sorted(row))}\n" for user, row in by_user.items())
    contents = {"npz": archive.getvalue(), "libsvm": listed.encode(), "matrix-market": market.getvalue()}
    for name, content in contents.items():
        first = 1 if name == "matrix-market" else 0
        shifted = [(user + first, item + first) for user, item in kept]
        if not kept:
            with pytest.raises(ReadError, match="no pair is left"):
                read(write(content), format=name, min_rating=4)
            continue
        assert sorted(labelled(read(write(content), format=name, min_rating=4))) == shifted, name


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=ids, cut=st.integers(1, 11))
def test_parts_in_a_folder_come_back_as_one_table(tmp_path_factory, pairs, cut):
    frame, folder = pd.DataFrame(pairs, columns=["user", "item"]), tmp_path_factory.mktemp("parts")
    for place, part in enumerate((frame[:cut], frame[cut:])):
        if len(part):
            part.to_parquet(folder / f"part-{place}.parquet", index=False)
    assert read(folder).digest == Interactions.from_frame(frame).digest


# Found by hostile readers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user|item\n----|----\nann|lamp\nbob|lamp\n(2 rows)\n", "holds a table that is drawn"),
        ("// exported\nann,lamp\nbob,lamp\n", "line 1: has 1 column, expected 2 as in most lines"),
        ("ann/lamp\nbob/lamp\nbob/desk and chair\n", "lines without a blank, such as"),
    ],
)
def test_lines_that_nothing_cuts_are_no_users_without_items(tmp_path, text, said):
    file = tmp_path / "a.txt"
    file.write_text(text)
    with pytest.raises(ReadError, match=said):
        read(file)


def test_a_file_that_is_mostly_training_pairs_is_told(write, tmp_path):
    path = write("user,item\n" + "".join(f"{user},{(user + step) % 9}\n" for user in range(9) for step in range(4)))
    run("fit", path, "--out", tmp_path / "m", *TINY)
    path.write_text(path.read_text() + "0,5\n1,6\n")
    said = run("evaluate", tmp_path / "m", path, "--k", "2")
    assert "38 pairs, 2 measured; dropped: 36 that are in training" in said.stdout
    assert "36 of 38 pairs are those that the model was trained on" in said.stderr


def test_lists_are_read_by_whoever_says_so(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("ann/lamp\nbob/lamp\nbob/desk and chair\n")
    assert read(file, format="adjacency").n_pairs == 2


def test_lists_of_numbers_may_be_empty(tmp_path):
    file = tmp_path / "test.txt"
    file.write_text("0\n1\n2\n3 7 9 11\n4 8\n5\n")
    assert read(file).n_pairs == 4


@pytest.mark.parametrize("header", ["USER ID,Item-Id", "User-ID,ISBN", " user id , Movie ID "])
def test_known_names_in_other_spellings_are_names(tmp_path, header):
    file = tmp_path / "a.csv"
    file.write_text(f"{header}\nann,lamp\nbob,desk\n")
    data = read(file)
    assert (data.n_users, data.n_items, data.n_pairs) == (2, 2, 2)


@pytest.mark.parametrize("name", ["click", "target", "Liked", "Book-Rating"])
def test_labels_of_dislike_are_told(tmp_path, name):
    file = tmp_path / "a.csv"
    file.write_text(f"user,item,{name}\nann,lamp,1\nann,desk,0\nbob,lamp,0\n")
    with pytest.warns(UserWarning, match="2 of them zero or negative"):
        read(file)
    assert read(file, min_rating=1).n_pairs == 1


def test_labels_in_words_are_refused(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("user,item,like\nann,lamp,yes\nann,desk,no\n")
    with pytest.raises(ReadError, match="the rating 'yes' is not a number"):
        read(file)


@pytest.mark.parametrize(
    "days",
    [
        ("20240501", "20240502"),
        ("Jan 3 2024", "Feb 4 2024"),
        ("3-Jan-2024", "4-Jan-2024"),
        ("2024/05/01", "2024/05/02"),
    ],
)
def test_dates_in_the_place_of_items_are_refused(tmp_path, days):
    file = tmp_path / "a.csv"
    file.write_text(f"1,{days[0]},7\n1,{days[1]},8\n2,{days[0]},9\n")
    with pytest.raises(ReadError, match="is read as the item, but holds dates"):
        read(file)
    assert read(file, columns={"user": 0, "item": 1}).n_items == 2
