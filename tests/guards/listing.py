"""The guards of docs/security.md: where each stands in the code, what it looks like without, and the tests that miss it then."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Guard(NamedTuple):
    """``what`` begins its line in docs/security.md."""

    what: str
    file: str
    code: str
    """Stands there once."""
    without: str
    tests: str
    """At least one of them fails without it."""
    docker: bool = False
    """Whether they bring up a cluster."""
    shown_by: Literal["FAILED", "ERROR"] = "FAILED"
    """ERROR: without it there is no master that they could begin with."""


PORT, KEYS, TALK = "tests/contract/test_port.py", "tests/contract/test_keys.py", "tests/contract/test_talk.py"
TLS, WIRE, DOORSTEP = "tests/contract/test_tls.py", "tests/unit/test_wire.py", "tests/unit/test_doorstep.py"
UP = "tests/cluster/test_up.py"
ACCESS = "tests/dashboard/test_access.py"
LIVE, EVERYBODY = (f"tests/dashboard_page/test_page_{what}.py" for what in ("live", "for_everybody"))

GUARDS = (
    Guard(
        "Speak without a key",
        "master/keyring.py",
        "        if not proved:\n",
        "        proved = proved or list(self._keys)\n        if not proved:\n",
        f"{KEYS}::test_who_does_not_prove_a_key_is_not_welcomed",
    ),
    Guard(
        "Pose as the master",
        "taskyard/wire.py",
        "        connection.deliver_challenge(conn, authkey)\n",
        "",
        f"{WIRE}::test_a_master_that_does_not_prove_the_key_is_told_nothing",
    ),
    Guard(
        "Have the master run a pickle",
        "taskyard/wire.py",
        'raise pickle.UnpicklingError(f"only plain data is taken here, not {module}.{name}")',
        "return super().find_class(module, name)",
        f"{PORT}::test_nothing_that_a_message_names_is_built",
    ),
    Guard(
        "Have a client run a pickle",
        "taskyard/wire.py",
        "if isinstance(found, type) and issubclass(found, Exception):",
        "if found is not None:",
        f"{WIRE}::test_a_client_builds_nothing_else",
    ),
    Guard(
        "Claim a huge message before proving a key",
        "master/keyring.py",
        "conn.recv_bytes(256)",
        "conn.recv_bytes(2**33)",
        f"{PORT}::test_a_stranger_that_claims_4_gb_is_hung_up_on_at_once",
    ),
    Guard(
        "Claim a huge message with a key",
        "master/talk.py",
        "if not 0 <= size <= self._conn.max_bytes:",
        "if not 0 <= size:",
        f"{TALK}::test_a_message_over_the_bound_ends_the_connection_and_nothing_of_it_is_read",
    ),
    Guard(
        "Take for ever to prove a key",
        "taskyard/wire.py",
        "        conn.deadline = monotonic() + HANDSHAKE_SECONDS\n",
        "",
        f"{PORT}::test_who_is_slow_to_prove_the_key_is_hung_up_on",
    ),
    Guard(
        "Ask and never read the answer",
        "master/talk.py",
        "wire.give_up_after(sock, SEND_SECONDS)",
        "pass",
        f"{TALK}::test_a_client_that_does_not_read_is_given_up_in_the_end_and_what_it_lent_comes_back",
    ),
    Guard(
        "Call what a manager has by nature",
        "master/server.py",
        '        return "#ERROR", ValueError(f"only {\' and \'.join(foreign.TYPES)} can be asked for here")',
        '        return "#RETURN", getattr(self, str(name), None) and None',
        f"{PORT}::test_the_servers_own_methods_are_refused",
    ),
    Guard(
        "Call another method of the tutorial's queues",
        "master/foreign.py",
        "if ident not in TYPES.values() or method not in EXPOSED:",
        "if ident not in TYPES.values():",
        f"{PORT}::test_no_other_method_of_an_object_can_be_reached",
    ),
    Guard(
        "Do with a key what is another role's",
        "master/server.py",
        "if not key.allows(verb):",
        "if False:",
        f"{KEYS}::test_a_key_allows_what_belongs_to_its_role_and_nothing_else",
    ),
    Guard(
        "The same at the tutorial's queues",
        "master/foreign.py",
        'if verb in ("get", "put") and not self._key.allows(f"{ident}.{verb}"):',
        "if False:",
        f"{KEYS}::test_of_the_tutorials_queues_a_key_allows_the_ends_that_belong_to_its_role",
    ),
    Guard(
        "Hold two roles by one key",
        "master/keyring.py",
        "if len({key.secret for key in keys}) < len(set(keys)):",
        "if False:",
        f"{KEYS}::test_two_roles_with_one_key_are_refused",
    ),
    Guard(
        "Use the shared key of before",
        "master/keyring.py",
        "KEY_FILES[: 1 if files else None]",
        "KEY_FILES",
        f"{KEYS}::test_a_key_for_all_beside_those_of_roles_has_to_be_asked_for",
    ),
    Guard(
        "Go on with a retired key",
        "master/server.py",
        "        if not self._keyring.holds(key):\n            raise EOFError\n        ident, verb",
        "        ident, verb",
        f"{KEYS}::test_who_has_only_a_retired_key_is_cut_off_where_it_is_connected",
    ),
    Guard(
        "Read the key as another user of the host",
        "taskyard/keys.py",
        "0o640)\n",
        "0o644)\n",
        "tests/unit/test_settings.py::test_a_made_key_is_for_owner_and_group_only",
    ),
    Guard(
        "Send functions to workers that take names",
        "worker/running.py",
        "if call.function and not accepts_functions:",
        "if False:",
        "tests/unit/test_running.py",
    ),
    Guard(
        "Keep newcomers out by saying nothing",
        "master/doorstep.py",
        "                wire.shut_down(longest)",
        "                # wire.shut_down(longest)",
        f"{DOORSTEP}::test_only_when_all_places_are_taken_the_one_that_has_been_there_for_longest_gives_way",
    ),
    Guard(
        "The same with TLS",
        "master/listener.py",
        "if self._room.locked() and self._shaking:",
        "if False:",
        "tests/unit/test_listener.py::test_silent_strangers_are_bounded_and_keep_no_newcomer_out",
    ),
    Guard(
        "Have the master take gigabytes to read a message",
        "master/ration.py",
        "resource.setrlimit(resource.RLIMIT_DATA, (min((most, *filter(_is_bound, limits))), limits[1]))",
        "resource.setrlimit(resource.RLIMIT_DATA, limits)",
        "tests/unit/test_ration.py::test_a_message_that_would_take_hundreds_of_megabytes_is_not_read",
    ),
    Guard(
        "Fill the log",
        "master/server.py",
        'f"{error!s:.200}"',
        'f"{error!s}"',
        "tests/hostile/test_refusals.py::test_a_global_with_a_name_of_a_megabyte_is_refused_in_a_few_words",
    ),
    Guard(
        "Listen on the way, with TLS",
        "master/server.py",
        "wire.SERIALIZER if context is None else TLS",
        "wire.SERIALIZER",
        f"{TLS}::test_nobody_on_the_way_reads_a_payload_or_a_result_with_tls",
        shown_by="ERROR",
    ),
    Guard(
        "Pose as the master by a certificate of one's own",
        "taskyard/tls.py",
        "    context.check_hostname = not files.pinned\n",
        "    context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n",
        f"{TLS}::test_a_ca_that_has_not_signed_the_masters_certificate_is_told",
    ),
    Guard(
        "Pose as the master by another server's certificate",
        "taskyard/tls.py",
        "    context.check_hostname = not files.pinned\n",
        "    context.check_hostname = False\n",
        f"{TLS}::test_a_name_that_the_masters_certificate_is_not_for_is_told",
    ),
    Guard(
        "Join without a certificate where one is required",
        "taskyard/tls.py",
        "context.verify_mode = ssl.CERT_REQUIRED",
        "context.verify_mode = ssl.CERT_OPTIONAL",
        f"{TLS}::test_a_client_without_a_certificate_is_told_that_one_is_required",
    ),
    Guard(
        "See anything of the dashboard without a token",
        "dashboard/access/guard.py",
        "        if shown.role is None:\n",
        "        if False:\n",
        f"{ACCESS}::test_nothing_is_told_without_a_token",
    ),
    Guard(
        "Change anything with the read-only token",
        "dashboard/access/guard.py",
        '        if changes and shown.role == "read"',
        "        if False",
        f"{ACCESS}::test_the_read_only_token_is_for_looking",
    ),
    Guard(
        "Act through a browser that is signed in, from another site",
        "dashboard/access/guard.py",
        "        if not self._origins.is_own(headers):\n",
        "        if False:\n",
        f"{ACCESS}::test_a_page_of_another_origin_can_do_nothing_with_the_cookie",
    ),
    Guard(
        "Reach the dashboard by another name that leads to it",
        "dashboard/access/guard.py",
        "        if not self._origins.knows_host(headers):\n",
        "        if False:\n",
        f"{ACCESS}::test_by_a_name_that_is_not_its_own_the_dashboard_says_nothing",
    ),
    Guard(
        "Guess a token",
        "dashboard/access/guard.py",
        "            wait = self._failures.note(address_of(scope))\n",
        "            wait = 0.0\n",
        f"{ACCESS}::test_who_guesses_is_held_up_and_who_has_the_token_is_not",
    ),
    Guard(
        "Go on with a session once its token is exchanged",
        "dashboard/access/sessions.py",
        "        if not any(hmac.compare_digest",
        "        if False and not any(hmac.compare_digest",
        f"{ACCESS}::test_a_session_ends_with_its_time_and_with_its_token",
    ),
    Guard(
        "Look on at a page that stays open",
        "dashboard/page/frame.py",
        "        if self._role_of(self._request) is None:",
        "        if False:",
        f"{LIVE}::test_an_open_page_tells_nothing_more_once_its_token_is_gone",
    ),
    Guard(
        "Change anything on a page that stays open",
        "dashboard/page/frame.py",
        '        if self._role_of(self._request) != "full":\n',
        "        if False:\n",
        f"{EVERYBODY}::test_a_page_that_is_still_open_changes_nothing_once_its_token_is_gone",
    ),
    Guard(
        "Have the page run a script that a task returns",
        "dashboard/page/frame.py",
        "        super().__init__(tag=tag, text=text)\n",
        '        super().__init__(tag=tag, text=text)\n        self.props["innerHTML"] = text\n',
        f"{EVERYBODY}::test_whatever_a_task_says_is_text",
    ),
    Guard(
        "Reach the queue from outside of the cluster",
        "compose.yaml",
        "  master:\n    <<: *program\n",
        '  master:\n    <<: *program\n    ports: ["5000"]\n',
        f"{UP}::test_every_container_has_limits_no_rights_and_no_way_in",
        docker=True,
    ),
    Guard(
        "Call out from within a task",
        "compose.yaml",
        "queue: { internal: true }",
        "queue: {}",
        f"{UP}::test_there_is_no_way_out_of_the_clusters_network",
        docker=True,
    ),
    Guard(
        "Gain rights in a container",
        "compose.yaml",
        '  cap_drop: ["ALL"]\n',
        "",
        f"{UP}::test_inside_a_container_nothing_can_be_gained_or_written",
        docker=True,
    ),
    Guard(
        "Change the code that runs",
        "compose.yaml",
        "  read_only: true\n",
        "",
        f"{UP}::test_inside_a_container_nothing_can_be_gained_or_written",
        docker=True,
    ),
)
