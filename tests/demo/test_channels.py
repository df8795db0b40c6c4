import pytest

from chaosproxy.demo.channels import Channels, Member, is_name, read_member

ANN, BOB = Member("ann", {"name": "Ann"}), Member("bob", None)


def test_a_user_arrives_with_the_first_connection_and_leaves_with_the_last() -> None:
    channels = Channels()
    assert channels.join("presence-room", "1.1", ANN) is True
    assert channels.join("presence-room", "2.2", ANN) is False
    assert channels.leave("presence-room", "1.1") is None
    assert channels.leave("presence-room", "2.2") == ANN


def test_a_channel_is_forgotten_when_its_last_subscriber_leaves() -> None:
    channels = Channels()
    channels.join("news", "1.1", None)
    channels.join("news", "2.2", None)
    assert channels.sizes() == {"news": 2}
    channels.leave("news", "1.1")
    channels.leave("news", "2.2")
    assert channels.sizes() == {}


def test_leaving_a_channel_one_is_not_in_changes_nothing() -> None:
    channels = Channels()
    channels.join("presence-room", "1.1", ANN)
    assert channels.leave("presence-room", "9.9") is None
    assert channels.leave("presence-hall", "1.1") is None
    assert channels.members("presence-room") == {"ann": {"name": "Ann"}}


def test_members_are_listed_once_in_order_of_arrival() -> None:
    channels = Channels()
    for socket_id, member in (("1.1", BOB), ("2.2", ANN), ("3.3", BOB)):
        channels.join("presence-room", socket_id, member)
    assert list(channels.members("presence-room")) == ["bob", "ann"]
    assert channels.subscribers("presence-room") == ["1.1", "2.2", "3.3"]


@pytest.mark.parametrize("channel_data", [None, "", "{", "[]", "{}", '{"user_id":""}', '{"user_id":true}'])
def test_channel_data_without_a_user_is_refused(channel_data: str | None) -> None:
    with pytest.raises(ValueError):
        read_member(channel_data)


def test_a_user_may_have_a_number_for_an_id() -> None:
    assert read_member('{"user_id":7}') == Member(7, None)


@pytest.mark.parametrize(
    ("name", "is_allowed"),
    [("room_1-a=b@c,d.e;f", True), ("#server", True), ("", False), ("two words", False), ("a\n", False), ("a#", False)],
)
def test_a_name_keeps_to_the_letters_pusher_allows(name: str, is_allowed: bool) -> None:
    assert is_name(name) is is_allowed
