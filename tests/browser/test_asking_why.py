"""An operator asks on a creator's page why the number is what it is; a real night behind a real server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from calling import running
from test_for_everybody import serious
from tokens import claims, jwks, sign
from visiting import Visit
from world import World

pytestmark = pytest.mark.xdist_group("browser")  # one Chromium, whichever worker has it


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with an operator."""
    folder = tmp_path_factory.mktemp("operated")
    world = World(folder)
    world.sessions("""
        session | revision | creator | viewer | device | started_at       | minutes
        s1      | 0        | ada     | v1     |        | 2026-01-05 10:00 | 5
        s2      | 0        | ada     | v2     |        | 2026-01-05 11:00 | 5
        s2      | 1        | ada     | v2     |        | 2026-01-05 11:00 | 9
        s3      | 0        | ada     | v1     |        | 2026-01-30 10:00 | 5
        s4      | 0        | ada     |        | d1     | 2026-01-06 10:00 | 5
        s5      | 0        | ada     | v3     |        | 2025-12-06 10:00 | 5
    """)
    world.land("creators", "creator | name\nada | Ada")
    night = world.run()
    (folder / "jwks.json").write_bytes(jwks("rsa-1"))
    with running(replace(night.settings, operators=("operator",), jwks=str(folder / "jwks.json"))) as address:
        yield address


def token(user: str, **others: Any) -> str:
    return sign(claims(user, **({"exp": int(time.time()) + 600} | others)))


def ask(one: Visit, with_token: str) -> None:
    one.page.fill("#token", with_token)
    one.page.click(".why button")
    one.until(lambda: one.page.is_visible(".steps") or "…" not in one.text("#why-said"), 60)


@pytest.mark.slow
def test_step_by_step(visit: Callable[..., Visit], operated: str) -> None:
    """Every step with its figure, those of nothing left out; what each day added; exactly what was published."""
    one = visit(operated)
    addresses: list[str] = []
    one.page.on("request", lambda request: addresses.append(request.url))
    one.go("/creator?id=ada")
    assert not one.page.is_visible(".steps")
    secret = token("operator")
    ask(one, secret)
    assert one.texts(".steps tr:visible") == [
        "6 landed records of sessions that name the creator",
        "− 1 replaced by a newer version of the session",
        "− 1 ended before these days",
        "= 4 sessions in these days",
        "3 signed-in viewers, each once a day",
        "− 1 had been there on an earlier day",
        "= 2 distinct signed-in viewers",
        "1 anonymous devices, each once a day",
        "= 1 distinct anonymous devices",
    ]
    assert one.texts(".why [data-verdict]:visible") == [
        "Published: 2 viewers, 1 anonymous, 4 sessions, rank 1: exactly this."
    ]
    assert one.text("#announce").endswith("exactly this.")
    one.page.click(".why summary")
    assert one.texts(".by-day tbody tr") == ["2026-01-05 2 2 2", "2026-01-06 1 0 0", "2026-01-30 1 1 0"]
    assert serious(one.page) == []
    assert not [address for address in addresses if secret in address]
    assert one.page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])") == '[{},{},""]'


@pytest.mark.slow
def test_another_range_is_asked_anew(visit: Callable[..., Visit], operated: str) -> None:
    """The steps of one range never stand under the figures of another; the token is not typed again."""
    one = visit(operated, locale="tr-TR")
    one.go("/creator?id=ada")
    ask(one, token("operator"))
    assert one.page.is_visible(".steps")
    one.page.click(".windows >> text=1 gün")
    one.until(lambda: not one.page.is_visible(".steps"))
    one.page.click(".why button")
    one.until(lambda: one.page.is_visible(".steps"), 60)
    assert one.texts(".steps tr:visible")[-1] == "= 1 oturum açmış tekil izleyici"
    assert "− 4 bu günlerden önce bitti" in one.texts(".steps tr:visible")
    assert one.texts(".why [data-verdict]:visible") == [
        "Yayımlanan: 1 izleyici, 0 anonim, 1 oturum, sıra 1: tam olarak bu."
    ]


def test_whoever_is_no_operator_is_told(visit: Callable[..., Visit], operated: str, server: str) -> None:
    """A bad token, another user's; and no such section where the settings name no operator."""
    one = visit(operated)
    one.go("/creator?id=ada")
    for held, said in (
        ("x.y.z", "This token is not valid, or has expired."),
        (token("operator", exp=1), "This token is not valid, or has expired."),
        (token("viewer"), "This token is valid, but not an operator’s."),
    ):
        ask(one, held)
        assert one.text("#why-said") == said
        assert not one.page.is_visible(".steps")
    one.complaints.clear()  # the browser's own notes of 401 and 403
    other = visit(server)
    other.go("/creator?id=c001")
    assert other.page.locator(".why").count() == 0
