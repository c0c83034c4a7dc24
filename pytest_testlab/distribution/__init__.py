"""Spreads tests over targets with pytest-xdist; every private name of xdist is used here."""
