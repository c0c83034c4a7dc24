"""The commands that the server adds to `testlab`, a module each."""
