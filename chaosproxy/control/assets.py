"""The live page: static files that hold no secrets, so that they are served to who has no token yet.

What the page then asks for is asked as anybody asks, with the token, by its own origin.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from ..page import PAGE_POLICY, Asset, page_assets

ASSETS = page_assets()
"""By path."""
HOME = "/"

_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    # A page elsewhere may link to ours; it gets no handle on the window that the link opens.
    "Cross-Origin-Opener-Policy": "same-origin",
}


def routes() -> list[web.AbstractRouteDef]:
    """Each file at its path."""
    return [web.get(path, _shown(asset)) for path, asset in ASSETS.items()]


def _shown(asset: Asset) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def show(request: web.Request) -> web.StreamResponse:
        return web.Response(text=asset.text, content_type=asset.content_type, charset="utf-8", headers=_HEADERS)

    return show
