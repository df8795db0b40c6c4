"""What a client may not do, and in which words that is refused. The wording is ours; codes and limits are soketi's."""

from typing import NamedTuple

from chaosproxy.demo.auth import App, admits
from chaosproxy.demo.channels import NAME_LENGTH_MAX, Channels, Member, is_guarded, is_name, is_presence, read_member
from chaosproxy.demo.frames import size_bytes
from chaosproxy.demo.messages import ClientEvent, Subscribe

EVENT_NAME_LENGTH_MAX = 200
EVENT_BYTES_MAX = 100 * 1024
MEMBERS_MAX = 100
MEMBER_BYTES_MAX = 2 * 1024


class Refusal(NamedTuple):
    """Why a subscription is not granted."""

    kind: str
    problem: str
    status: int


def decide(app: App, channels: Channels, socket_id: str, wish: Subscribe) -> Refusal | Member | None:
    """Tell as whom a connection may join a channel: a member of a presence channel, None elsewhere, or not at all."""
    channel = wish.channel
    if len(channel) > NAME_LENGTH_MAX:
        return Refusal("LimitReached", f"A channel's name has at most {NAME_LENGTH_MAX} characters.", 4009)
    if not is_name(channel):
        return Refusal("InvalidName", "A channel's name is made of letters, digits and -_=@,.; only.", 4009)
    channel_data = wish.channel_data if is_presence(channel) else None
    if is_guarded(channel) and not admits(app, socket_id, channel, channel_data, wish.auth):
        return Refusal("AuthError", "The connection is unauthorized.", 401)
    if not is_presence(channel):
        return None
    try:
        member = read_member(channel_data)
    except ValueError:
        return Refusal("ServerError", "A presence channel needs channel_data with a user_id.", 4302)
    if size_bytes(member.user_info) > MEMBER_BYTES_MAX:
        return Refusal("LimitReached", f"A member's user_info has at most {MEMBER_BYTES_MAX} bytes.", 4301)
    present = channels.members(channel)
    if member.user_id not in present and len(present) >= MEMBERS_MAX:
        return Refusal("LimitReached", f"A presence channel has at most {MEMBERS_MAX} members.", 4100)
    return member


def objection(app: App, message: ClientEvent) -> str | None:
    """Tell why a client event is not sent on."""
    if not app.client_events:
        return "This app has client events switched off."
    if not is_guarded(message.channel):
        return "Client events are for private and presence channels only."
    if len(message.event) > EVENT_NAME_LENGTH_MAX:
        return f"An event's name has at most {EVENT_NAME_LENGTH_MAX} characters."
    if size_bytes(message.data) > EVENT_BYTES_MAX:
        return f"An event's data has at most {EVENT_BYTES_MAX} bytes."
    return None
