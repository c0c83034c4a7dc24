"""Keeps a diary in one file: `add WORD…`, `count`."""

import sqlite3
import sys

diary = sqlite3.connect("diary.db")
diary.execute("CREATE TABLE IF NOT EXISTS entry (word TEXT)")
match sys.argv[1:]:
    case ["add", *words]:
        diary.executemany("INSERT INTO entry VALUES (?)", [(word,) for word in words])
        diary.commit()
    case ["count"]:
        print(*diary.execute("SELECT count(*) FROM entry").fetchone(), "entries")
    case _:
        sys.exit(__doc__)
