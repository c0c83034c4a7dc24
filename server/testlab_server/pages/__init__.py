"""The pages, a blueprint a family."""

from testlab_server.pages import attempts, health, login, morning, runs, servers, tests

BLUEPRINTS = (
    health.blueprint,
    login.blueprint,
    morning.blueprint,
    runs.blueprint,
    attempts.blueprint,
    tests.blueprint,
    servers.blueprint,
)
