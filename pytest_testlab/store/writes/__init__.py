"""What the recorder writes: every write is idempotent, so that a journal can be replayed and its segments reordered."""
