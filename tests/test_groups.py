"""Groups of tests: what one worker builds is built by no other one."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there are no groups without workers")
@pytest.mark.xdist_group("groups")
def test_groups_hold(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@groups"), "pytest-xdist does not group with this pytest: pin the one before"
