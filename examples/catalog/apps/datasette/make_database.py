"""Makes the database that Datasette publishes."""

import sqlite3

with sqlite3.connect("birds.db") as database:
    database.execute("CREATE TABLE sightings (id INTEGER PRIMARY KEY, species TEXT NOT NULL, place TEXT, seen TEXT)")
    database.executemany(
        "INSERT INTO sightings (species, place, seen) VALUES (?, ?, ?)",
        [
            ("Black redstart", "the old mill", "2026-04-02"),
            ("Common swift", "town hall", "2026-05-09"),
            ("Kingfisher", "the weir", "2026-05-17"),
        ],
    )
