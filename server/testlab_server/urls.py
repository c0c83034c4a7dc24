"""How a test's id stands in an address: `examples/apps/radicale/testlab.toml::install` reads as it is.

Ids hold slashes, `::`, brackets, spaces, percent signs. A slash of the file's path stays one; a slash behind the first
`::` (a parameter of a test, say) is escaped once more than the address itself asks for, so that what follows the id,
`/<attempt>/<section>`, can always be told apart.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from werkzeug.routing import BaseConverter


class TestIdConverter(BaseConverter):
    """`<test:…>` in a rule."""

    __test__ = False

    # The second half also takes a raw slash inside brackets, as a person would type it. Routes are matched before
    # anyone is asked who they are, so that nothing here may be tried twice: there is one way to find the first `::`.
    regex = r"(?:[^:]|:(?!:))+::[^/\[]*+(?:\[.*\]|[^/]*+)"
    part_isolating = False

    def to_python(self, value: str) -> str:
        """The id; what isn't a valid escape is taken literally."""
        return unquote(value)

    def to_url(self, value: str) -> str:
        """The id, escaped."""
        file, colons, name = value.replace("%", "%25").partition("::")
        return quote(file + colons + name.replace("/", "%2F"), safe="!$&'()*+,/:;=@[]")
