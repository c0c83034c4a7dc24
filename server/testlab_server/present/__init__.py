"""From the store's views to what a page (or another front end) shows: pure functions, no HTML and no SQL."""
