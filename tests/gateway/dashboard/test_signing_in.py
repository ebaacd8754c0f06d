"""Who gets in, and how they stay in and leave."""

from collections.abc import Callable

import httpx
import pytest

from gateway.dashboard.page.frame import PREFIX
from shared.auth import Role
from tests.gateway.dashboard.serving import Site, sign_in

HOME = f"{PREFIX}/events"


def test_nobody_sees_a_number_without_signing_in(stranger: httpx.Client) -> None:
    for path in ("/events", "/feed", "/user?id=user-1", "/events/top.csv", "/events/trend.csv"):
        answer = stranger.get(f"{PREFIX}{path}")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(f"{PREFIX}/sign-in?next=")
        assert "visited" not in answer.text


def test_signing_in_leads_back_to_the_page_that_was_wanted(site: Site, stranger: httpx.Client) -> None:
    form = stranger.get(f"{HOME}?range=7d").headers["location"]
    page = stranger.get(form).text
    proof = page.partition('name="proof" value="')[2].partition('"')[0]
    answer = stranger.post(form, data={"token": site.token, "proof": proof})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}?range=7d")
    assert stranger.get(answer.headers["location"]).status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", f"{PREFIX}\\evil", "/other", f"{PREFIX}/\n//evil"],
)
def test_signing_in_leads_nowhere_else(site: Site, stranger: httpx.Client, elsewhere: str) -> None:
    proof = stranger.get(f"{PREFIX}/sign-in").text.partition('name="proof" value="')[2].partition('"')[0]
    form = httpx.URL(f"{PREFIX}/sign-in", params={"next": elsewhere})
    answer = stranger.post(form, data={"token": site.token, "proof": proof})
    assert answer.headers["location"] == HOME


@pytest.mark.parametrize("role", [Role.ADMIN, Role.ANALYST])
def test_administrators_and_analysts_may_look(
    stranger: httpx.Client, token_for: Callable[..., str], role: Role
) -> None:
    assert sign_in(stranger, token_for(role)).status_code == 303
    assert stranger.get(HOME).status_code == 200


def test_a_token_that_only_tracks_may_not_look(stranger: httpx.Client, token_for: Callable[..., str]) -> None:
    answer = sign_in(stranger, token_for(Role.INGEST))
    assert answer.status_code == 403
    assert "needs the role analyst" in answer.text
    assert stranger.get(HOME).status_code == 303


@pytest.mark.parametrize("token", ["", "rubbish", "a.b.c", "<b>"])
def test_what_is_no_token_is_refused(stranger: httpx.Client, token: str) -> None:
    answer = sign_in(stranger, token)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "brain_session" not in stranger.cookies


def test_an_expired_token_is_refused(stranger: httpx.Client, token_for: Callable[..., str]) -> None:
    answer = sign_in(stranger, token_for(Role.ADMIN, -1))
    assert answer.status_code == 401
    assert "expired" in answer.text


def test_the_cookie_is_out_of_reach_and_says_nothing(site: Site, stranger: httpx.Client) -> None:
    answer = sign_in(stranger, site.token)
    kept = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("brain_session"))
    for attribute in ("HttpOnly", "SameSite=strict", f"Path={PREFIX}"):
        assert attribute in kept
    assert site.token not in kept
    assert site.token not in stranger.get(HOME).text


def test_an_altered_cookie_lets_nobody_in(visitor: httpx.Client) -> None:
    cookie = visitor.cookies["brain_session"]
    for altered in (cookie[:-8] + "AAAAAAAA", cookie[:20], "%%%", "", "é"):
        answer = httpx.get(
            visitor.base_url.join(HOME), headers={b"cookie": f"brain_session={altered}".encode()}
        )
        assert answer.status_code == 303


def test_signing_out_forgets_the_token(visitor: httpx.Client) -> None:
    proof = visitor.get(HOME).text.partition('name="proof" value="')[2].partition('"')[0]
    assert visitor.post(f"{PREFIX}/sign-out", data={"proof": proof}).status_code == 303
    assert visitor.get(HOME).status_code == 303


@pytest.mark.parametrize("path", ["sign-in", "sign-out"])
def test_a_form_without_our_proof_is_refused(site: Site, visitor: httpx.Client, path: str) -> None:
    for fields in ({}, {"proof": ""}, {"proof": "0" * 64}):
        answer = visitor.post(f"{PREFIX}/{path}", data={"token": site.token, **fields})
        assert answer.status_code == 403
    assert visitor.get(HOME).status_code == 200


def test_a_post_from_another_site_is_refused(visitor: httpx.Client) -> None:
    proof = visitor.get(HOME).text.partition('name="proof" value="')[2].partition('"')[0]
    headers = {"sec-fetch-site": "cross-site"}
    answer = visitor.post(f"{PREFIX}/sign-out", data={"proof": proof}, headers=headers)
    assert answer.status_code == 403


def test_only_forms_are_taken(stranger: httpx.Client) -> None:
    assert stranger.post(f"{PREFIX}/sign-in", json={"token": "x"}).status_code == 415
    assert stranger.post(f"{PREFIX}/sign-in", data={"token": "x" * 20_000}).status_code == 413


def test_who_comes_by_a_link_elsewhere_is_let_reload_with_cookies(stranger: httpx.Client) -> None:
    answer = stranger.get(HOME, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text


def test_a_part_of_a_page_sends_the_whole_page_to_the_form(stranger: httpx.Client) -> None:
    answer = stranger.get(f"{PREFIX}/feed", headers={"hx-request": "true"})
    assert answer.status_code == 204
    assert answer.headers["hx-redirect"].startswith(f"{PREFIX}/sign-in")
