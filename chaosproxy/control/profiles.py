"""Profiles by name: to be listed, shown, checked, uploaded and removed. They are those of the whole process."""

from aiohttp import web

from ..canonical import dump_profile
from ..profile import Profile
from .answers import ProfileInFull, ProfileKnown, ProfileOnShelf, ProfileRemoved, ProfilesTold, ProfileValid
from .orders import Nothing, Refused, read_order
from .profile_order import read_profile
from .rooms import Rooms
from .shelf import Full

_UNKNOWN = "there is no profile of this name; GET /api/profiles lists them"


async def show_all(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    """List all profiles that can be played by name."""
    profiles: list[ProfileOnShelf] = [
        {"name": name, "about": profile.about, "source": "shipped" if is_shipped else "uploaded"}
        for name, profile, is_shipped in rooms.main.shelf
    ]
    told: ProfilesTold = {"profiles": profiles}
    return web.json_response(told)


async def show(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    """Show one: as YAML, or with format=json in full."""
    name = request.match_info["profile"]
    if name not in rooms.main.shelf:
        raise Refused(404, _UNKNOWN)
    match request.query.get("format", "yaml"):
        case "yaml":
            return web.Response(text=rooms.main.shelf.text(name), content_type="application/yaml", charset="utf-8")
        case "json":
            profile = rooms.main.shelf.load(name)
            told: ProfileInFull = {
                **_tell(name, profile),
                "source": "shipped" if rooms.main.shelf.is_shipped(name) else "uploaded",
                "profile": dump_profile(profile),
            }
            return web.json_response(told)
        case _:
            raise Refused(400, "expected format=yaml or format=json")


async def validate(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    """Say whether a profile is valid, or all that is wrong with it."""
    profile, _ = read_profile(await request.read())
    told: ProfileValid = {"valid": True, **_tell(profile.name, profile)}
    return web.json_response(told)


async def upload(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    """Keep a profile under a name, until the process ends."""
    name = request.match_info["profile"]
    if not rooms.main.shelf.is_name(name):
        message = "expected up to 64 letters, digits, _ . and -, not beginning with a dot, as a profile's name"
        raise Refused(422, "the name is not valid", [{"path": "name", "message": message}])
    if rooms.main.shelf.is_shipped(name) or name == "validate":
        raise Refused(409, f"{name} is no name for another profile: it is taken for good")
    _, text = read_profile(await request.read())
    try:
        profile, is_new = rooms.main.shelf.put(name, text)
    except Full as full:
        raise Refused(413, str(full)) from None
    return web.json_response(_tell(name, profile), status=201 if is_new else 200)


async def remove(rooms: Rooms, request: web.Request) -> web.StreamResponse:
    """Forget a profile that was uploaded. Where it is played, it goes on."""
    read_order(Nothing, await request.read())
    name = request.match_info["profile"]
    if rooms.main.shelf.is_shipped(name):
        raise Refused(409, f"{name} is shipped, and stays")
    if not rooms.main.shelf.remove(name):
        raise Refused(404, _UNKNOWN)
    told: ProfileRemoved = {"removed": name}
    return web.json_response(told)


def _tell(name: str, profile: Profile) -> ProfileKnown:
    return {"name": name, "about": profile.about, "digest": profile.digest}
