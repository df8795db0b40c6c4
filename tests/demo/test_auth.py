from chaosproxy.demo.auth import (
    DEFAULT_APP,
    App,
    admits,
    authorise,
    authorise_user,
    is_signed,
    is_user,
    sign_request,
    webhook_headers,
)

# The keys and the signatures of the first four tests are the worked examples of Pusher's public documentation.
DOCUMENTED = App(id="3", key="278d425bdf160c739803", secret="7ad3773142a6692b25b8")
PUBLISH_BODY = b'{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}'


def test_a_private_channel_is_signed_as_pusher_documents_it() -> None:
    assert authorise(DOCUMENTED, "1234.1234", "private-foobar") == {
        "auth": "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
    }


def test_a_presence_channel_is_signed_as_pusher_documents_it() -> None:
    channel_data = '{"user_id":10,"user_info":{"name":"Mr. Channels"}}'
    auth = "278d425bdf160c739803:31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"
    assert admits(DOCUMENTED, "1234.1234", "presence-foobar", channel_data, auth)


def test_a_user_is_signed_as_pusher_documents_it() -> None:
    assert authorise_user(DOCUMENTED, "1234.1234", "12345") == {
        "auth": "278d425bdf160c739803:4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba",
        "user_data": '{"id":"12345"}',
    }


def test_a_request_is_signed_as_pusher_documents_it() -> None:
    query = sign_request(DOCUMENTED, "POST", "/apps/3/events", PUBLISH_BODY, timestamp_s=1353088179)
    assert query["body_md5"] == "ec365a775a4cd0599faeb73354201b6f"
    assert query["auth_signature"] == "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"


def test_a_signature_for_another_channel_socket_or_user_admits_nobody() -> None:
    grant = authorise(DEFAULT_APP, "1.2", "presence-room", "ann")
    auth, channel_data = grant["auth"], grant["channel_data"]
    assert admits(DEFAULT_APP, "1.2", "presence-room", channel_data, auth)
    assert not admits(DEFAULT_APP, "1.3", "presence-room", channel_data, auth)
    assert not admits(DEFAULT_APP, "1.2", "presence-hall", channel_data, auth)
    assert not admits(DEFAULT_APP, "1.2", "presence-room", channel_data.replace("ann", "bob"), auth)


def test_a_signature_for_another_user_or_socket_signs_nobody_in() -> None:
    auth, user_data = authorise_user(DEFAULT_APP, "1.2", "ann").values()
    assert is_user(DEFAULT_APP, "1.2", user_data, auth)
    assert not is_user(DEFAULT_APP, "1.3", user_data, auth)
    assert not is_user(DEFAULT_APP, "1.2", user_data.replace("ann", "bob"), auth)
    assert not is_user(DEFAULT_APP, "1.2", "", "")


def test_a_webhook_carries_the_key_and_a_digest_of_its_body() -> None:
    # RFC 4231, test case 2
    assert webhook_headers(App("i", "k", secret="Jefe"), "what do ya want for nothing?") == {
        "X-Pusher-Key": "k",
        "X-Pusher-Signature": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    }


def test_text_that_is_neither_ascii_nor_unicode_is_refused_like_any_wrong_signature() -> None:
    assert not admits(DEFAULT_APP, "1.2", "private-\ud800", None, "app-key:é\udfff")


def test_without_a_user_id_each_connection_is_a_user_of_its_own() -> None:
    users = {authorise(DEFAULT_APP, socket_id, "presence-room")["channel_data"] for socket_id in ("1.2", "3.4")}
    assert users == {
        '{"user_id":"user-1","user_info":{"name":"user-1"}}',
        '{"user_id":"user-3","user_info":{"name":"user-3"}}',
    }


def test_changing_anything_of_a_signed_request_breaks_its_signature() -> None:
    query = sign_request(DEFAULT_APP, "POST", "/apps/app-id/events", b"{}", 1, {"info": "user_count"})
    assert is_signed(DEFAULT_APP, "POST", "/apps/app-id/events", query, b"{}")
    assert not is_signed(DEFAULT_APP, "GET", "/apps/app-id/events", query, b"{}")
    assert not is_signed(DEFAULT_APP, "POST", "/apps/app-id/batch_events", query, b"{}")
    assert not is_signed(DEFAULT_APP, "POST", "/apps/app-id/events", query, b"{ }")
    assert not is_signed(DEFAULT_APP, "POST", "/apps/app-id/events", {**query, "info": ""}, b"{}")
    assert not is_signed(DEFAULT_APP, "POST", "/apps/app-id/events", {**query, "auth_key": "other"}, b"{}")


def test_a_request_without_a_body_needs_no_digest_of_it() -> None:
    query = sign_request(DEFAULT_APP, "GET", "/apps/app-id/channels", b"", 1)
    assert is_signed(DEFAULT_APP, "GET", "/apps/app-id/channels", query, b"")
    assert not is_signed(DEFAULT_APP, "GET", "/apps/app-id/channels", {}, b"")
