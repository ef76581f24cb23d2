"""Groups of tests for pytest-xdist: what one worker builds, no other worker builds again."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there are no groups without workers")
@pytest.mark.xdist_group("groups")
def test_groups_hold(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@groups"), "pytest-xdist does not group with this pytest: pin the one before"
