"""Counts the check's records in the app's own database, past the app."""

import os

import psycopg2

with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
    cursor.execute("SELECT count(*) FROM objects WHERE resource_name = 'record' AND data->>'title' = 'buy-milk'")
    print(cursor.fetchone()[0], "record of buy-milk")
