"""Whom commands about every service ask where nobody is named."""

from brain_client.cli_services import services_beside

EVERY_SERVICE = tuple(f"127.0.0.1:{port}" for port in (50051, 50052, 50053, 50054, 50055))


def test_of_the_local_run_every_service_is_asked_however_many_replicas_it_has() -> None:
    assert services_beside("127.0.0.1:50051") == EVERY_SERVICE
    assert services_beside("127.0.0.1:50051,127.0.0.1:50061") == EVERY_SERVICE


def test_elsewhere_nobody_is_guessed() -> None:
    assert services_beside("events.example:50051") == ("events.example:50051",)
