"""What the platform promises to every app, tested with the smallest app of the catalog."""

import pytest


@pytest.mark.testlab(app="field-guide", priority="P0", owner="platform", timeout="2m")
def test_only_its_own_name_leads_to_an_app(app, http):
    """The front door answers for the app's host name, and for no other."""
    assert http.get("/").status == 200
    stranger = http.request("GET", "/", headers={"Host": "stranger.testlab.internal"})
    assert stranger.status == 421


@pytest.mark.testlab(owner="platform", timeout="3m")
def test_two_deploys_of_an_app_do_not_meet(apps):
    """Each has a name and files of its own, and goes without the other."""
    one, other = apps("field-guide", "field-guide")
    assert one.host != other.host
    one.remove()
    assert one.http.get("/").status == 421
    assert other.http.get("/").status == 200
