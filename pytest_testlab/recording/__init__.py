"""The journal, and the recorder that drains it into the store."""
