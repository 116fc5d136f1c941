"""A short schemathesis run over every operation; ``make fuzz`` is the long one, for every role."""

from __future__ import annotations

import pytest

from tests.api.fuzz import Api

pytestmark = [pytest.mark.slow, pytest.mark.once("sqlite"), pytest.mark.timeout(300)]


def test_every_operation_answers_as_the_document_says() -> None:
    api = Api("sqlite")
    try:
        for role in ("anonymous", "operator"):
            found = api.run(role, examples=1, phases="fuzzing,stateful", seed=None, seconds=None)
            assert found.code == 0, f"{found.report[-6000:]}\n{api.server.text[-2000:]}"
            assert "Tested: " in found.report
            assert api.still_good(role)
    finally:
        api.close()
