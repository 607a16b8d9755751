"""From where a browser may ask: names under which this program is reached, and pages of its own only."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers

from taskyard.settings import Settings

ANY = "*"


class Origins:
    """``DASHBOARD_HOSTS``, and the host of ``DASHBOARD_URL``."""

    def __init__(self, settings: Settings) -> None:
        named = (name.strip().lower() for name in settings.dashboard_hosts.split(","))
        self._hosts = {*filter(None, named), host_of(settings.dashboard_base)}

    def knows_host(self, headers: Headers) -> bool:
        """Whether the request is for a name of this program: by any other, its page belongs to somebody else (DNS rebinding)."""
        host = headers.get("host", "")
        return ANY in self._hosts or host_of(f"//{host}") in self._hosts

    def is_own(self, headers: Headers) -> bool:
        """Whether the page that asks, where one does, came from here."""
        origin = headers.get("origin")
        return origin is None or origin.lower() in {
            f"{scheme}://{headers.get('host', '').lower()}" for scheme in ("https", "http")
        }


def host_of(url: str) -> str:
    """The host of a URL, without its port, in lower case; an IPv6 address in brackets."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return f"[{host}]" if ":" in host else host
