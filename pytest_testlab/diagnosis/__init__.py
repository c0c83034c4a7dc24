"""Bundles: sections, redaction, classifier, headline."""
