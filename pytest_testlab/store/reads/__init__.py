"""What can be asked of the store, one module a page's questions. Every read takes a connection and returns views."""
