"""Profiles over HTTP: listed, shown, validated, uploaded; and no name gets anywhere."""

from pathlib import Path
from typing import Any

import pytest
import yarl

from chaosproxy import library
from chaosproxy.control.shelf import UPLOAD_BYTES_MAX, UPLOADS_MAX, Full, Shelf
from chaosproxy.profile import EMPTY
from chaosproxy.profile_yaml import load
from tests.control.conftest import Run
from tests.control.stage import JSON, profile_of, staged

NAMES = sorted([*library.names(), "none"])
MINE: dict[str, Any] = {"version": 1, "about": "Mine.", "rules": [{"latency": {"delay": "5ms"}}]}
YAML = "version: 1\nabout: Mine.\nrules:\n  - latency: {delay: 5ms}  # slow\n"


class TestLooking:
    def test_all_are_listed_with_where_they_come_from(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                await stage.ask("PUT", "/api/profiles/aaa-mine", {"profile_yaml": YAML})
                profiles = (await stage.ask("GET", "/api/profiles")).body["profiles"]
                assert profiles[0] == {"name": "aaa-mine", "about": "Mine.", "source": "uploaded"}
                assert [each["name"] for each in profiles[1:]] == NAMES
                assert {each["source"] for each in profiles[1:]} == {"shipped"}

        run(story())

    @pytest.mark.parametrize("name", ["extended-outage", *library.names()[:2]])
    def test_one_is_shown_as_it_was_written_and_in_full(self, run: Run, name: str) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("GET", f"/api/profiles/{name}")
                assert answer.headers["Content-Type"] == "application/yaml; charset=utf-8"
                assert answer.body == library.text(name)
                told = (await stage.ask("GET", f"/api/profiles/{name}?format=json")).body
                assert (told["name"], told["source"]) == (name, "shipped")
                assert told["digest"] == library.load(name).digest
                assert told["profile"]["name"] == name
                assert (await stage.ask("GET", f"/api/profiles/{name}?format=xml")).status == 400

        run(story())

    def test_a_profile_is_validated_with_all_its_problems(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                for order in ({"profile": MINE}, {"profile_yaml": YAML}):
                    answer = await stage.ask("POST", "/api/profiles/validate", order)
                    told = {"valid": True, "name": "", "about": "Mine.", "digest": load(YAML, "").digest}
                    assert (answer.status, answer.body) == (200, told)
                bad = {"profile_yaml": "version: 1\nrules:\n  - dorp\nsede: 1\n"}
                answer = await stage.ask("POST", "/api/profiles/validate", bad)
                assert answer.status == 422
                places = sorted((each["line"], each["path"]) for each in answer.body["problems"])
                assert places == [(3, "rules[0]"), (4, "sede")]
                for order in ({}, {"profile": MINE, "profile_yaml": YAML}):
                    assert (await stage.ask("POST", "/api/profiles/validate", order)).status == 422

        run(story())


class TestUploading:
    @pytest.mark.parametrize("order", [{"profile": MINE}, {"profile_yaml": YAML}], ids=["object", "yaml"])
    def test_an_uploaded_one_can_be_played_by_name_until_it_is_removed(self, run: Run, order: dict[str, Any]) -> None:
        async def story() -> None:
            async with staged() as stage:
                answer = await stage.ask("PUT", "/api/profiles/mine", order)
                assert (answer.status, answer.body["name"]) == (201, "mine")
                assert (await stage.ask("PUT", "/api/profiles/mine", order)).status == 200
                text = (await stage.ask("GET", "/api/profiles/mine")).body
                assert load(text, "mine").digest == answer.body["digest"]
                played = await stage.ask("POST", "/api/profile", {"profile": "mine"})
                assert played.body["profile"] == {"name": "mine", "digest": answer.body["digest"]}
                session = await stage.ask("POST", "/api/sessions", {"profile": "mine"})
                assert session.body["profile"] == "mine"
                session = await stage.ask("POST", f"{session.body['control']}/profile", {"profile": "mine"})
                assert session.body["profile"]["name"] == "mine"
                assert (await stage.ask("DELETE", "/api/profiles/mine", {})).body == {"removed": "mine"}
                assert (await stage.ask("DELETE", "/api/profiles/mine", {})).status == 404
                assert (await stage.ask("POST", "/api/profile", {"profile": "mine"})).status == 422

        run(story())

    @pytest.mark.parametrize("name", ["extended-outage", "validate"])
    def test_none_takes_the_place_of_a_shipped_one(self, run: Run, name: str) -> None:
        async def story() -> None:
            async with staged() as stage:
                assert (await stage.ask("PUT", f"/api/profiles/{name}", {"profile": MINE})).status == 409
                if name != "validate":
                    assert (await stage.ask("DELETE", f"/api/profiles/{name}", {})).status == 409
                    assert (await stage.ask("GET", f"/api/profiles/{name}")).body == library.text(name)

        run(story())

    def test_one_with_problems_is_not_kept(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as stage:
                await stage.ask("PUT", "/api/profiles/mine", {"profile_yaml": YAML})
                assert (await stage.ask("PUT", "/api/profiles/mine", {"profile_yaml": "version: 2"})).status == 422
                assert (await stage.ask("GET", "/api/profiles/mine")).body == YAML

        run(story())

    def test_there_is_room_for_so_many_and_none_may_be_too_large(self) -> None:
        shelf = Shelf()
        for number in range(UPLOADS_MAX):
            assert shelf.put(f"mine-{number}", YAML)[1]
        with pytest.raises(Full):
            shelf.put("one-more", YAML)
        assert not shelf.put("mine-0", YAML)[1]
        assert shelf.remove("mine-0") and shelf.put("one-more", YAML)[1]
        with pytest.raises(Full):
            shelf.put("one-more", YAML + "#" * UPLOAD_BYTES_MAX)


TRAVERSAL = [
    "../x",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2fpyproject",
    "..%5cx",
    "%00",
    "extended-outage%00",
    "extended-outage.yaml",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "a" * 300,
    "%E2%80%A5%2fx",  # two-dot leader
    "%EF%BC%8E%EF%BC%8E%2fx",  # full-width dots
    "%C0%AE%C0%AE%2fx",  # over-long dots
    ".hidden",
    ".",
    "%20",
    "linked",
]


class TestNames:
    @pytest.mark.parametrize("name", TRAVERSAL)
    def test_no_name_leads_out_of_what_is_known(self, run: Run, name: str, tmp_path: Path) -> None:
        async def story() -> None:
            async with staged() as stage:
                url = yarl.URL(f"{stage.url}/api/profiles/{name}", encoded=True)
                for method, data in (("GET", None), ("DELETE", "{}"), ("PUT", '{"profile": {"version": 1}}')):
                    if method == "PUT" and name in ("linked", "extended-outage.yaml"):
                        continue  # these are names
                    async with stage.http.request(method, url, data=data, headers=JSON if data else {}) as answer:
                        text = await answer.text()
                        assert answer.status in (400, 404, 405, 409, 422), (method, answer.status, text)
                        assert "root:" not in text
                profiles = (await stage.ask("GET", "/api/profiles")).body["profiles"]
                assert [each["name"] for each in profiles] == NAMES

        run(story())

    @pytest.mark.parametrize("name", ["../x", "..", ".x", "", "a" * 65, "a/b", "a\0", "a\n", "ä", "．．", "a b"])
    def test_a_name_is_short_and_plain(self, name: str) -> None:
        assert not Shelf.is_name(name)
        assert Shelf.is_name("Mine_2.1-a")

    def test_a_name_in_an_order_is_looked_up_and_never_opened(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "secret.yaml").write_text(YAML)

        async def story() -> None:
            async with staged() as stage:
                for name in (str(tmp_path / "secret"), str(tmp_path / "secret.yaml"), "../profiles/extended-outage"):
                    for path in ("/api/profile", "/api/sessions"):
                        assert (await stage.ask("POST", path, {"profile": name})).status == 422

        run(story())


def test_what_runs_without_a_profile_can_be_played_again_by_its_name(run: Run) -> None:
    async def story() -> None:
        async with staged(profile_of(name="slow", rules=[{"latency": "1s"}])) as stage:
            answer = await stage.ask("POST", "/api/profile", {"profile": "none"})
            assert (answer.status, answer.body["profile"]["name"]) == (200, "none")
            assert (await stage.state())["rules"] == []
            text = (await stage.ask("GET", "/api/profiles/none")).body
            assert load(text, "none") == EMPTY

    run(story())
