"""Profiles by name: to be listed, shown, checked, uploaded and removed. They are those of the whole process."""

from aiohttp import web

from ..canonical import dump_profile
from ..profile import Profile
from .orders import Nothing, Refused, read_order
from .session_order import read_profile
from .shelf import Full, Shelf
from .state import Json

_UNKNOWN = "there is no profile of this name; GET /api/profiles lists them"


class Profiles:
    """Answer for a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/api/profiles", self.show_all),
            web.post("/api/profiles/validate", self.validate),
            web.get("/api/profiles/{name}", self.show),
            web.put("/api/profiles/{name}", self.upload),
            web.delete("/api/profiles/{name}", self.remove),
        ]

    async def show_all(self, request: web.Request) -> web.Response:
        """List all profiles that can be played by name."""
        profiles: list[Json] = [
            {"name": name, "about": profile.about, "source": "shipped" if is_shipped else "uploaded"}
            for name, profile, is_shipped in self._shelf
        ]
        return web.json_response({"profiles": profiles})

    async def show(self, request: web.Request) -> web.Response:
        """Show one: as YAML, or with format=json in full."""
        name = request.match_info["name"]
        if name not in self._shelf:
            raise Refused(404, _UNKNOWN)
        match request.query.get("format", "yaml"):
            case "yaml":
                return web.Response(text=self._shelf.text(name), content_type="application/yaml", charset="utf-8")
            case "json":
                profile = self._shelf.load(name)
                source = "shipped" if self._shelf.is_shipped(name) else "uploaded"
                return web.json_response(_tell(name, profile) | {"source": source, "profile": dump_profile(profile)})
            case _:
                raise Refused(400, "expected format=yaml or format=json")

    async def validate(self, request: web.Request) -> web.Response:
        """Say whether a profile is valid, or all that is wrong with it."""
        profile, _ = read_profile(await request.read())
        return web.json_response({"valid": True, **_tell(profile.name, profile)})

    async def upload(self, request: web.Request) -> web.Response:
        """Keep a profile under a name, until the process ends."""
        name = request.match_info["name"]
        if not self._shelf.is_name(name):
            message = "expected up to 64 letters, digits, _ . and -, not beginning with a dot, as a profile's name"
            raise Refused(422, "the name is not valid", [{"path": "name", "message": message}])
        if self._shelf.is_shipped(name) or name == "validate":
            raise Refused(409, f"{name} is no name for another profile: it is taken for good")
        _, text = read_profile(await request.read())
        try:
            profile, is_new = self._shelf.put(name, text)
        except Full as full:
            raise Refused(413, str(full)) from None
        return web.json_response(_tell(name, profile), status=201 if is_new else 200)

    async def remove(self, request: web.Request) -> web.Response:
        """Forget a profile that was uploaded. Where it is played, it goes on."""
        read_order(Nothing, await request.read())
        name = request.match_info["name"]
        if self._shelf.is_shipped(name):
            raise Refused(409, f"{name} is shipped, and stays")
        if not self._shelf.remove(name):
            raise Refused(404, _UNKNOWN)
        return web.json_response({"removed": name})


def _tell(name: str, profile: Profile) -> Json:
    return {"name": name, "about": profile.about, "digest": profile.digest}
