"""Who may call what, for every RPC that is served."""

import pytest

from services.experiments.application import SERVICES
from shared.auth import Role
from tests.access import (
    check_that_empty_requests_are_no_fault_of_ours,
    check_that_rpcs_answer_to_their_role_alone,
    methods_of,
)
from tests.services.experiments.conftest import Service


def test_the_contract_is_served_whole() -> None:
    assert len(methods_of(SERVICES)) >= 26


@pytest.mark.parametrize("role", [None, *Role])
def test_every_rpc_answers_to_its_role_alone(
    role: Role | None, service: Service, token_keys: tuple[bytes, bytes]
) -> None:
    port = service.application.server.port
    check_that_rpcs_answer_to_their_role_alone(port, SERVICES, role, token_keys[0])


def test_nothing_an_empty_request_can_do_is_a_fault_of_ours(service: Service) -> None:
    check_that_empty_requests_are_no_fault_of_ours(service.channel, SERVICES)
