"""Profiles with mistakes that people make, or that attackers would, and what is said about each."""

# The first line of a rule is line 3.
_RULE = "version: 1\nrules:\n"
# The first line of a phase's option is line 4.
_PHASE = "version: 1\nphases:\n  - name: a\n"
_PUSHER = "version: 1\nprotocol: pusher\nrules:\n"

# The first line of an expectation is line 8.
_OUTAGE = (
    "version: 1\nphases:\n  - {name: healthy, until: {opened: 1}}\n"
    "  - name: outage\n    lasts: 10s\n    rules: [{half_open: {hits: live}}, refuse]\nexpect:\n"
)
_AT = "8:"

TOP = (
    "expected version, name, about, protocol, seed, starts, identify, compression, held_bytes_max, judged_bytes_max, "
    "repeat, rules, phases or expect"
)
MATCH = (
    "expected from, request, connection, path, header, opcode, event, channel, code, text, json, size, age, chance, "
    "nth, every or first"
)
DURATION = "expected a duration with a unit, such as 500ms, 1.5s or 2m"
SIZE = "expected a size with a unit, such as 512B, 64KiB or 1MB"
COUNT = "expected a whole number in plain digits"
SHARE = "expected a percentage from 0% to 100%, such as 5%"
RANGE = "expected a number from 1 or a range, such as 1, 2-5 or 3-"
NAME = "expected 1 to 64 of letters, digits, _ . and -"
CODE = "any 16-bit number, registered or not; none sends a close frame without a status"
FAULTS = "chaosproxy faults lists them"

MALFORMED: dict[str, tuple[str, tuple[str, ...]]] = {
    # --- not YAML, or not YAML for us ---
    "nothing at all": ("", ("1:1: expected a profile, got nothing; begin with version: 1",)),
    "only a comment": ("# later\n", ("1:1: expected a profile, got nothing; begin with version: 1",)),
    "null": ("~\n", ("1:1: expected a profile, got nothing; begin with version: 1",)),
    "a list": ("- reset\n", ("1:1: expected a mapping, got a list",)),
    "a word": ("reset\n", ("1:1: expected a mapping, got reset",)),
    "a tab as indent": (
        "version: 1\nrules:\n\t- reset\n",
        ("3:1: expected spaces, got a tab; indent with spaces",),
    ),
    "a NUL": (
        "version: 1\nname: a\0b\n",
        ("2:8: expected text, got the character U+0000; YAML forbids it as it is; write it as an escape",),
    ),
    "an escape sequence for terminals": (
        "version: 1\nname: \x1b[2Jb\n",
        ("2:7: expected text, got the character U+001B; YAML forbids it as it is; write it as an escape",),
    ),
    "a second document": (
        "version: 1\n---\nversion: 1\n",
        ("2:1: expected one document, got a second; one file each",),
    ),
    "an open quote": ('version: 1\nname: "abc\n', ("2:7: expected a closing quote, got none",)),
    "an open brace": (
        "version: 1\nidentify: {query: id\n",
        ("3:1: expected a comma or } in the { from line 2, got the end",),
    ),
    "an open bracket": (
        "version: 1\nrules: [reset, fin\nname: a\n",
        ('3:5: expected a comma or ] in the [ from line 2, got ": a"',),
    ),
    "two colons on a line": (
        "version: 1\nabout: fault: none\n",
        ("2:13: expected one key on the line, got another colon; quote the text, or check the indent",),
    ),
    "an indent that fits nothing": (
        "version: 1\nphases:\n  - name: a\n   lasts: 3s\n",
        ('4:4: expected the indent of the lines above, got "lasts: 3s"; check the indent of this line',),
    ),
    "an outdent that fits nothing": (
        "version: 1\nphases:\n    - name: a\n  - name: b\n",
        ('4:3: expected the indent of the lines above, got "- name: b"; check the indent of this line',),
    ),
    "an unknown escape": (
        'version: 1\nabout: "a\\qb"\n',
        ("2:11: expected an escape that YAML knows, got another; single quotes take \\ as it is",),
    ),
    "an escape beyond Unicode": (
        'version: 1\nabout: "\\UFFFFFFFF"\n',
        ("2:11: expected YAML, got a number out of range",),
    ),
    "half of a surrogate pair": (
        'version: 1\nabout: "\\ud83d"\n',
        ("2:8: about: expected text, got half of a surrogate pair; write the character itself",),
    ),
    "an alias": (
        "version: 1\nname: &n abc\nabout: *n\n",
        (
            '2:7: name: expected no anchor, got "&n"; write the value out',
            '3:8: about: expected a value, got the alias *n; write the value out, or quote it if it is text: "*n"',
        ),
    ),
    "billion laughs": (
        "a: &a [x, x]\nb: &b [*a, *a]\nversion: 1\n",
        (
            "1:1: a: " + TOP + ", got a",
            '1:4: a: expected no anchor, got "&a"; write the value out',
            "2:1: b: " + TOP + ", got b",
            '2:4: b: expected no anchor, got "&b"; write the value out',
            '2:8: b[0]: expected a value, got the alias *a; write the value out, or quote it if it is text: "*a"',
            '2:12: b[1]: expected a value, got the alias *a; write the value out, or quote it if it is text: "*a"',
        ),
    ),
    "a merge key": (
        _RULE + "  - latency: {<<: *slow, delay: 3s}\n",
        ("3:15: rules[0].latency: expected a key, got the merge key <<; write the options out",),
    ),
    "a tag": (
        "version: 1\nname: !!python/object/apply:os.system [ls]\n",
        ('2:7: name: expected no tag, got "tag:yaml.org,2002:python/object/apply:o…"; values are judged as written',),
    ),
    "a key twice": (
        "version: 1\nseed: 1\nseed: 2\n",
        ("3:1: seed: expected each key once, got a second; the first is at 2:1",),
    ),
    "a key twice, written differently": (
        'version: 1\nseed: 1\n"seed": 2\n',
        ("3:1: seed: expected each key once, got a second; the first is at 2:1",),
    ),
    "a mapping as key": ("version: 1\n? {a: b}\n: c\n", ("2:3: expected a key, got a mapping",)),
    "a list as key": ("version: 1\n? [a]\n: c\n", ("2:3: expected a key, got a list",)),
    "no key": ("version: 1\n?\n: c\n", ("2:2: expected a key, got nothing",)),
    "a key that is a boolean elsewhere": (
        _RULE + "  - drop:\n    when: {on: client}\n",
        (
            "4:12: rules[0].when: expected a key, got on, which YAML 1.1 reads as a true or false; "
            'quote it if it is a name: "on"',
        ),
    ),
    "too deep": (
        "version: 1\nabout: " + "[" * 65 + "]" * 65 + "\n",
        ("2:71: expected at most 64 levels, got one more",),
    ),
    "a sign that begins an alias": (
        _PUSHER + "  - drop:\n    when: {event: *}\n",
        ('5:19: expected a value, got *; quote it: "*"',),
    ),
    "a wildcard that reads as an alias": (
        _PUSHER + "  - drop:\n    when: {event: *-foo}\n",
        (
            "5:19: rules[0].when.event: expected a value, got the alias *-foo; "
            'write the value out, or quote it if it is text: "*-foo"',
        ),
    ),
    "a percent sign in front": (
        _RULE + "  - drop:\n    when: {chance: %5}\n",
        ('4:20: expected a value, got %5; quote it: "%5"',),
    ),
    "a comparison that reads as a folded text": (
        _RULE + "  - drop:\n    when:\n      size: >1KiB\n",
        ('5:13: expected a value, got >1KiB; quote it: ">1KiB"',),
    ),
    "the same with a blank": (
        _RULE + "  - drop:\n    when:\n      size: >= 1KiB\n",
        ('5:13: expected a value, got ">= 1KiB"; quote it: ">= 1KiB"',),
    ),
    "the same in braces": (
        _RULE + "  - drop:\n    when: {size: > 1KiB}\n",
        ('4:18: expected a value, got "> 1KiB"; quote it: "> 1KiB"',),
    ),
    "an at sign in front": ("version: 1\nabout: @home\n", ('2:8: expected a value, got @home; quote it: "@home"',)),
    # --- the top ---
    "no version": (
        "rules: []\n",
        ("1:1: version: expected version:, got none; add version: (the format's version: 1)",),
    ),
    "another version": ("version: 2\n", ("1:10: version: expected 1, got 2",)),
    "a version that is not ours": ("version: 1.0\n", ("1:10: version: expected 1, got 1.0",)),
    "an unknown key": ("version: 1\nphase: []\n", ("2:1: phase: " + TOP + ", got phase; did you mean phases?",)),
    "another tool's word": ("version: 1\ntoxics: []\n", ("2:1: toxics: " + TOP + ", got toxics; did you mean rules?",)),
    "a name with a path in it": (
        "version: 1\nname: ../../etc/passwd\n",
        ("2:7: name: " + NAME + ", not beginning with a dot, got ../../etc/passwd",),
    ),
    "a protocol that we don't know": (
        "version: 1\nprotocol: socketio\n",
        ("2:11: protocol: expected pusher, got socketio",),
    ),
    "an empty value": ("version: 1\nprotocol:\n", ("2:1: protocol: expected pusher, got nothing",)),
    "an empty text": ("version: 1\nabout:\n", ("2:1: about: expected text, got nothing",)),
    "an octal seed": ("version: 1\nseed: 01006\n", ("2:7: seed: " + COUNT + ", got 01006",)),
    "a negative seed": ("version: 1\nseed: -1\n", ("2:7: seed: " + COUNT + ", got -1",)),
    "a seed of many digits": (
        "version: 1\nseed: 11111111111111111111\n",
        ("2:7: seed: " + COUNT + ", got 11111111111111111111",),
    ),
    "a sexagesimal seed": ("version: 1\nseed: 1:30\n", ("2:7: seed: " + COUNT + ", got 1:30",)),
    "a start that there isn't": (
        "version: 1\nstarts: never\n",
        ("2:9: starts: expected connection or launch, got never",),
    ),
    "a size without a unit": (
        "version: 1\nheld_bytes_max: 65536\n",
        ("2:17: held_bytes_max: " + SIZE + ", got 65536",),
    ),
    "a size that is too small": (
        "version: 1\nheld_bytes_max: 5B\n",
        ("2:17: held_bytes_max: expected a size of at least 1KiB, got 5B",),
    ),
    "half a byte": (
        "version: 1\nheld_bytes_max: 0.5B\n",
        ("2:17: held_bytes_max: " + SIZE + ", not finer than a whole number of the smallest unit, got 0.5B",),
    ),
    "a repeat of none": ("version: 1\nrepeat: 0\n", ("2:9: repeat: expected at least 1 or forever, got 0",)),
    "a repeat in words": (
        "version: 1\nrepeat: always\n",
        ("2:9: repeat: " + COUNT + " or forever, got always; did you mean forever?",),
    ),
    "identify by two things": (
        "version: 1\nidentify: {query: id, header: X-Id}\n",
        ("2:1: identify: expected exactly one of query, header, path or address, got query and header",),
    ),
    "identify by yes": ("version: 1\nidentify: {path: yes}\n", ("2:18: identify.path: expected true, got yes",)),
    "rules that are a mapping": (
        "version: 1\nrules:\n  reset: {}\n",
        ("3:3: rules: expected a list, got a mapping",),
    ),
    "rules that are empty": ("version: 1\nrules:\n", ("2:1: rules: expected a list, got nothing",)),
    # --- phases ---
    "a phase without a name": (
        "version: 1\nphases:\n  - lasts: 3s\n",
        ("3:5: phases[0].name: expected name:, got none; add name: (letters, digits, _ . and -)",),
    ),
    "a phase that is a word": (
        "version: 1\nphases: [healthy]\n",
        ("2:10: phases[0]: expected a mapping, got healthy",),
    ),
    "a name with a blank": (
        "version: 1\nphases:\n  - name: the end\n",
        ("3:11: phases[0].name: " + NAME + ', got "the end"',),
    ),
    "a name with a bidi mark": (
        "version: 1\nphases:\n  - name: a\u202eb\n",
        ("3:11: phases[0].name: " + NAME + ', got "a\\u202eb"',),
    ),
    "a duration without a unit": (_PHASE + "    lasts: 90\n", ("4:12: phases[0].lasts: " + DURATION + ", got 90",)),
    "a sexagesimal duration": (_PHASE + "    lasts: 1:30\n", ("4:12: phases[0].lasts: " + DURATION + ", got 1:30",)),
    "a negative duration": (_PHASE + "    lasts: -5s\n", ("4:12: phases[0].lasts: " + DURATION + ", got -5s",)),
    "no duration": (_PHASE + "    lasts:\n", ("4:5: phases[0].lasts: " + DURATION + ", got nothing",)),
    "a duration of nothing": (
        _PHASE + "    lasts: 0s\n",
        ("4:12: phases[0].lasts: expected a duration of at least 1ms, got 0s",),
    ),
    "a duration of ages": (
        _PHASE + "    lasts: 999999h\n",
        ("4:12: phases[0].lasts: expected a duration of at most 10000h, got 999999h",),
    ),
    "a duration that is a list": (
        _PHASE + "    lasts: [5s]\n",
        ("4:12: phases[0].lasts: " + DURATION + ", got a list",),
    ),
    "another word for lasts": (
        _PHASE + "    duration: 5s\n",
        ("4:5: phases[0].duration: expected name, about, lasts, until or rules, got duration; did you mean lasts?",),
    ),
    "both lasts and until": (
        _PHASE + "    lasts: 5s\n    until: step\n",
        ("5:5: phases[0].until: expected lasts: or until:, got both (until: takes a within:)",),
    ),
    "an until of nothing": (
        _PHASE + "    until: {within: 5s}\n",
        (
            "4:5: phases[0].until: expected exactly one of opened, closed, established, subscribed, seconds or step, "
            "got none",
        ),
    ),
    "an until of two": (
        _PHASE + "    until: {opened: 1, closed: 1}\n",
        (
            "4:5: phases[0].until: expected exactly one of opened, closed, established, subscribed, seconds or step, "
            "got opened and closed",
        ),
    ),
    "an until that is a word": (
        _PHASE + "    until: opened\n",
        ("4:12: phases[0].until: expected a mapping, got opened",),
    ),
    "an un-indented until": (
        _PHASE + "    until:\n    opened: 1\n",
        ("5:5: phases[0].opened: expected name, about, lasts, until or rules, got opened; indent it under until:",),
    ),
    "a count that is a word": (
        "version: 1\nprotocol: pusher\nphases:\n  - name: a\n    until: {subscribed: all}\n",
        ("5:25: phases[0].until.subscribed: " + COUNT + " or a list, got all",),
    ),
    "a list of channels with a list in it": (
        "version: 1\nprotocol: pusher\nphases:\n  - name: a\n    until: {subscribed: [a, [b]]}\n",
        ("5:29: phases[0].until.subscribed[1]: expected text, got a list",),
    ),
    "an empty list of channels": (
        "version: 1\nprotocol: pusher\nphases:\n  - name: a\n    until: {subscribed: []}\n",
        ("5:25: phases[0].until.subscribed: " + COUNT + " or a list of at least one, got an empty list",),
    ),
    "two phases of one name": (
        "version: 1\nphases:\n  - {name: a, lasts: 5s}\n  - {name: a}\n",
        ("4:6: phases[1].name: expected each phase to have its own name, got a second a",),
    ),
    "a phase that never ends": (
        "version: 1\nphases:\n  - {name: a}\n  - {name: b}\n",
        ("3:5: phases[0]: phase a would never end: give it lasts: or until: (until: step to end it by hand)",),
    ),
    "a last phase that never ends though it repeats": (
        "version: 1\nrepeat: 2\nphases:\n  - {name: a}\n",
        ("4:5: phases[0]: phase a would never end: give it lasts: or until: (until: step to end it by hand)",),
    ),
    "subscriptions without a protocol": (
        _PHASE + "    until: {subscribed: 1}\n",
        ("4:13: phases[0].until.subscribed: until: subscribed needs protocol: at the top (one of pusher)",),
    ),
    "waiting for connections while refusing them": (
        "version: 1\nphases:\n  - {name: a, lasts: 5s}\n  - {name: b, until: {opened: 1}, rules: [refuse]}\n",
        (
            "4:23: phases[1].until.opened: no connection can open beside refuse, so opened: can't come true; end the "
            "phase by lasts: (refused attempts can't be seen at all; with reset: {at: accept} they can)",
        ),
    ),
    "waiting for connections while leaving them hanging": (
        _PHASE + "    until: {opened: 1}\n    rules: [hang]\n",
        (
            "4:13: phases[0].until.opened: no connection can open beside hang, so opened: can't come true; end the "
            "phase by lasts:",
        ),
    ),
    "a timeline that nobody can start": (
        _PHASE + "    rules: [refuse]\n",
        (
            "3:5: phases[0]: the timeline starts with the first upgrade request, and none can come in this phase: "
            "say starts: launch at the top, or put a phase before it",
        ),
    ),
    # --- rules ---
    "a typo in a fault": (
        _RULE + "  - latecy: 300ms\n",
        ("3:5: rules[0].latecy: expected a fault, got latecy; did you mean latency?",),
    ),
    "delay": (
        _RULE + "  - delay: 300ms\n",
        ("3:5: rules[0].delay: expected a fault, got delay; did you mean latency?",),
    ),
    "disconnect": (
        _RULE + "  - disconnect\n",
        ("3:5: rules[0]: expected a fault, got disconnect; did you mean close, fin or reset?",),
    ),
    "kill": (_RULE + "  - kill: {}\n", ("3:5: rules[0].kill: expected a fault, got kill; did you mean reset?",)),
    "rst": (_RULE + "  - RST: {}\n", ("3:5: rules[0].RST: expected a fault, got RST; did you mean reset?",)),
    "abort": (_RULE + "  - abort\n", ("3:5: rules[0]: expected a fault, got abort; did you mean reset?",)),
    "freeze": (_RULE + "  - freeze\n", ("3:5: rules[0]: expected a fault, got freeze; did you mean half_open?",)),
    "blackhole": (
        _RULE + "  - blackhole\n",
        ("3:5: rules[0]: expected a fault, got blackhole; did you mean half_open?",),
    ),
    "half-open": (
        _RULE + "  - half-open:\n",
        ("3:5: rules[0].half-open: expected a fault, got half-open; did you mean half_open?",),
    ),
    "timeout": (_RULE + "  - timeout\n", ("3:5: rules[0]: expected a fault, got timeout; did you mean hang?",)),
    "status": (
        _RULE + "  - status: 503\n",
        ("3:5: rules[0].status: expected a fault, got status; did you mean reject?",),
    ),
    "error": (_RULE + "  - error: 503\n", ("3:5: rules[0].error: expected a fault, got error; did you mean reject?",)),
    "no fault of any kind": (
        _RULE + "  - quux: 1\n",
        ("3:5: rules[0].quux: expected a fault, got quux; " + FAULTS,),
    ),
    "a fault without its colon": (
        _RULE + "  - latency 300ms\n",
        ('3:5: rules[0]: expected a fault, got "latency 300ms"; did you mean latency: 300ms?',),
    ),
    "a fault without a blank": (
        _RULE + "  - latency:300ms\n",
        ("3:5: rules[0]: expected a fault, got latency:300ms; did you mean latency: 300ms?",),
    ),
    "a condition without a fault": (
        _RULE + "  - from: client\n",
        ("3:5: rules[0].from: expected a fault, got from; matching goes under when:, beside a fault",),
    ),
    "a rule that is empty": (
        _RULE + "  -\n",
        ("3:4: rules[0]: expected a rule with one fault, such as - reset, got nothing",),
    ),
    "a rule that is a list": (
        _RULE + "  - [reset]\n",
        ("3:5: rules[0]: expected a rule with one fault, such as - reset, got a list",),
    ),
    "a rule without a fault": (
        _RULE + "  - when: {from: client}\n",
        ("3:5: rules[0]: expected a rule with one fault, such as - reset",),
    ),
    "two faults in one rule": (
        _RULE + "  - reset: {}\n    drop: {}\n",
        ("4:5: rules[0].drop: expected one fault per rule, got reset and drop; begin a new - for each",),
    ),
    "an un-indented option": (
        _RULE + "  - latency:\n    delay: 300ms\n",
        ("4:5: rules[0].delay: expected latency, id or when, got delay; indent it under latency:",),
    ),
    "an option beside its fault": (
        _RULE + "  - latency: 300ms\n    jitter: 50ms\n",
        ("4:5: rules[0].jitter: expected latency, id or when, got jitter; it belongs under latency:",),
    ),
    "an un-indented condition": (
        _RULE + "  - drop: {}\n    when:\n    from: client\n",
        ("5:5: rules[0].from: expected drop, id or when, got from; indent it under when:",),
    ),
    "a condition beside a fault": (
        _RULE + "  - drop: {}\n    chance: 5%\n",
        ("4:5: rules[0].chance: expected drop, id or when, got chance; matching goes under when:",),
    ),
    "a condition inside a fault": (
        _PUSHER + "  - drop: {event: x}\n",
        ("4:12: rules[0].drop.event: expected no options, got event; matching goes under when:",),
    ),
    "a share in place of a condition": (
        _RULE + "  - drop: 5%\n",
        ("3:11: rules[0].drop: expected a mapping, got 5%; matching, as in when: {chance: 5%}, goes beside it",),
    ),
    "a pattern with look-around": (
        _RULE + "  - drop: {}\n    when: {text: '(?=a)b'}\n",
        (
            "4:18: rules[0].when.text: expected a regular expression as RE2 has it, without look-around or "
            'back-references (invalid perl operator: (?=), got "(?=a)b"',
        ),
    ),
    "a pattern in other words": (
        _RULE + "  - drop: {}\n    when: {regex: a}\n",
        ("4:12: rules[0].when.regex: " + MATCH + ", got regex; did you mean text?",),
    ),
    "a path that is no pointer": (
        _RULE + "  - drop: {}\n    when: {json: {data.id: 1}}\n",
        (
            "4:19: rules[0].when.json.data.id: expected a JSON Pointer, such as /data/id "
            '("" is the whole; ~1 stands for / and ~0 for ~ in a name), got data.id',
        ),
    ),
    "a value that YAML may take for another": (
        _RULE + "  - rewrite: {set: {/a: yes}}\n",
        (
            "3:25: rules[0].rewrite.set./a: expected a value as JSON has it: a number such as 1 or 2.5, true, false, "
            "null, or text, in quotes where it looks like one, got yes",
        ),
    ),
    "a rewrite of nothing": (
        _RULE + "  - rewrite: {}\n",
        ("3:14: rules[0].rewrite: expected set: or remove:",),
    ),
    "two measures of a cut": (
        _RULE + "  - truncate: {to: 1B, keep: 5%}\n",
        ("3:15: rules[0].truncate: expected exactly one of to:, by: and keep:",),
    ),
    "no condition on JSON": (
        _RULE + "  - drop: {}\n    when: {json: {}}\n",
        ("4:18: rules[0].when.json: expected a mapping of at least one, got an empty mapping",),
    ),
    "a condition on messages for the request": (
        _RULE + "  - reject: 503\n    when: {json: {/a: 1}}\n",
        (
            "4:12: rules[0].when.json: reject acts on the upgrade request, before there are messages; json: can't be "
            "used (connection:, path:, header: and chance: can)",
        ),
    ),
    "an option inside when": (
        _RULE + "  - latency: 300ms\n    when: {jitter: 5ms}\n",
        ("4:12: rules[0].when.jitter: " + MATCH + ", got jitter; it belongs under latency:",),
    ),
    "a typo in an option": (
        _RULE + "  - latency: {dely: 300ms}\n",
        ("3:15: rules[0].latency.dely: expected delay, jitter, distribution or at, got dely; did you mean delay?",),
    ),
    "an unknown option": (
        _RULE + "  - fin: {code: 1000}\n",
        ("3:11: rules[0].fin.code: expected leg, other, keep_for, hits, over or notify, got code; close sends a code",),
    ),
    "a missing option": (
        _RULE + "  - latency: {jitter: 50ms}\n",
        ("3:14: rules[0].latency.delay: expected delay:, got none; add delay: (how long each message waits)",),
    ),
    "a fault that needs an option": (
        _RULE + "  - close\n",
        (f"3:5: rules[0].code: expected code:, got none; add code: ({CODE})",),
    ),
    "a fault that needs an option, with a colon": (
        _RULE + "  - close:\n",
        (f"3:5: rules[0].close.code: expected code:, got none; add code: ({CODE})",),
    ),
    "a delay without a unit": (_RULE + "  - latency: 300\n", ("3:14: rules[0].latency: " + DURATION + ", got 300",)),
    "more jitter than delay": (
        _RULE + "  - latency: {delay: 1s, jitter: 2s}\n",
        ("3:14: rules[0].latency: expected a jitter of at most the delay: a message can't leave before it came",),
    ),
    "a code beyond 16 bits": (
        _RULE + "  - close: 70000\n",
        ("3:12: rules[0].close: expected at most 65535 or none, got 70000",),
    ),
    "a code in words": (
        _RULE + "  - close: {code: normal}\n",
        ("3:19: rules[0].close.code: " + COUNT + " or none, got normal",),
    ),
    "a reason that is no hexadecimal": (
        _RULE + "  - close: {code: 1000, reason_hex: xy}\n",
        ('3:37: rules[0].close.reason_hex: expected bytes in hexadecimal, such as "ff fe", got xy',),
    ),
    "a leg and a direction": (
        _RULE + "  - half_open: {leg: client, from: client}\n",
        ("3:16: rules[0].half_open: expected leg: (both ways are lost) or from: (one way is), not both",),
    ),
    "nothing to cut after": (
        _RULE + "  - cut_after: {by: fin}\n",
        ("3:16: rules[0].cut_after: expected exactly one of bytes, messages or age, got none",),
    ),
    "a limit of data under another proxy's name": (
        _RULE + "  - limit_data: {bytes: 1KiB}\n",
        ("3:5: rules[0].limit_data: expected a fault, got limit_data; did you mean cut_after?",),
    ),
    "bytes that are to be of an event": (
        _PUSHER + "  - cut_after: {bytes: 1KiB}\n    when: {event: x}\n",
        ("5:12: rules[0].when.event: event: can't be used here: only messages: looks at messages",),
    ),
    "a reason that is too long": (
        _RULE + "  - close: {code: 1000, reason: " + "x" * 124 + "}\n",
        ("3:12: rules[0].close: expected a reason of at most 123 bytes (with oversized: true, a longer one is sent)",),
    ),
    "a status that is none": (
        _RULE + "  - reject: 99\n",
        ("3:13: rules[0].reject: expected at least 200, got 99",),
    ),
    "a header with a line break": (
        _RULE + '  - reject: {status: 503, headers: {X-A: "b\\r\\nSet-Cookie: c"}}\n',
        (
            "3:42: rules[0].reject.headers.X-A: expected text without CR, LF or NUL, since it goes into a head, "
            'got "b\\r\\nSet-Cookie: c"',
        ),
    ),
    "a header's name with a line break": (
        _RULE + '  - reject: {status: 503, headers: {"X\\nA": b}}\n',
        ('3:37: rules[0].reject.headers."X\\nA": expected a header\'s name, got "X\\nA"',),
    ),
    "a leg that there isn't": (
        _RULE + "  - half_open: {leg: upstream}\n",
        ("3:22: rules[0].half_open.leg: expected client, server or both, got upstream; did you mean server?",),
    ),
    "a heal that there isn't": (
        _RULE + "  - half_open: {heal: rst}\n",
        ("3:23: rules[0].half_open.heal: expected flush, discard or reset, got rst; did you mean reset?",),
    ),
    "an id with a blank": (_RULE + "  - drop: {}\n    id: a b\n", ("4:9: rules[0].id: " + NAME + ', got "a b"',)),
    "one id twice": (
        _RULE + "  - drop: {}\n    id: a\n  - drop: {}\n    id: a\n",
        ("6:5: rules[1].id: expected each rule in force to have its own id, got a second a",),
    ),
    "one id for two faults": (
        "version: 1\nphases:\n  - name: a\n    lasts: 5s\n    rules: [{drop: {}, id: x}]\n"
        "  - name: b\n    rules: [{latency: 5s, id: x}]\n",
        ("7:27: phases[1].rules[0].id: expected the id x to mean one fault, got drop and here another",),
    ),
    # --- when ---
    "a fault that knows no plain HTTP": (
        _RULE + "  - drop: {}\n    when: {request: http}\n",
        (
            "4:12: rules[0].when.request: drop acts on WebSockets only; "
            "request: http goes with reject, hang, latency, reset",
        ),
    ),
    "a request of another kind": (
        _RULE + "  - reject: 503\n    when: {request: polling}\n",
        ("4:21: rules[0].when.request: expected websocket, http or any, got polling; did you mean http?",),
    ),
    "a condition on messages beside plain requests": (
        _RULE + "  - latency: 1s\n    when: {request: http, from: client}\n",
        (
            "4:27: rules[0].when.from: can't be used with request: http; plain HTTP has none of that "
            "(path:, header:, chance:, nth:, every: and first: can be used)",
        ),
    ),
    "counting both kinds at once": (
        _RULE + "  - reject: 503\n    when: {request: any, nth: 2}\n",
        (
            "4:26: rules[0].when.nth: counts plain requests only, so it needs request: http "
            "(a rule without request: may count messages)",
        ),
    ),
    "a request before there is one": (
        _RULE + "  - reset: {at: accept}\n    when: {request: http}\n",
        (
            "3:13: rules[0].reset.at: at: accept is a moment of connections and upgrades; leave it out beside "
            "request: http",
        ),
    ),
    "a blow spread over time at what comes one by one": (
        _RULE + "  - reset: {over: 10s}\n    when: {request: http}\n",
        (
            "3:13: rules[0].reset.over: over: spreads one blow at all live connections; plain requests are hit one "
            "by one, as they come",
        ),
    ),
    "a look into messages where there are none": (
        _RULE + "  - slow_close: 3s\n    when: {text: bye}\n",
        ("4:12: rules[0].when.text: text: can't be used here: slow_close acts on FINs, which are no messages",),
    ),
    "a direction in other words": (
        _RULE + "  - drop: {}\n    when: {from: upstream}\n",
        ("4:18: rules[0].when.from: expected client or server, got upstream; did you mean server?",),
    ),
    "downstream": (
        _RULE + "  - drop: {}\n    when: {from: downstream}\n",
        ("4:18: rules[0].when.from: expected client or server, got downstream; did you mean client?",),
    ),
    "an arrow": (
        _RULE + "  - drop: {}\n    when: {from: client->server}\n",
        ("4:18: rules[0].when.from: expected client or server, got client->server; did you mean client?",),
    ),
    "direction": (
        _RULE + "  - drop: {}\n    when: {direction: client}\n",
        ("4:12: rules[0].when.direction: " + MATCH + ", got direction; did you mean from?",),
    ),
    "our own word for from": (
        _RULE + "  - drop: {}\n    when: {sender: client}\n",
        ("4:12: rules[0].when.sender: " + MATCH + ", got sender; did you mean from?",),
    ),
    "a share without its sign": (
        _RULE + "  - drop: {}\n    when: {chance: 0.05}\n",
        ("4:20: rules[0].when.chance: " + SHARE + ", got 0.05",),
    ),
    "more than all": (
        _RULE + "  - drop: {}\n    when: {chance: 101%}\n",
        ("4:20: rules[0].when.chance: " + SHARE + ", got 101%",),
    ),
    "an opcode by number": (
        _RULE + "  - drop: {}\n    when: {opcode: [text, 9]}\n",
        ("4:27: rules[0].when.opcode[1]: expected text, binary, close, ping or pong, got 9",),
    ),
    "no opcode": (
        _RULE + "  - drop: {}\n    when: {opcode: []}\n",
        ("4:20: rules[0].when.opcode: expected one or a list of at least one, got an empty list",),
    ),
    "the zeroth": (
        _RULE + "  - drop: {}\n    when: {nth: 0}\n",
        ("4:17: rules[0].when.nth: expected at least 1, got 0",),
    ),
    "a range that runs backwards": (
        _RULE + "  - drop: {}\n    when: {connection: 5-2}\n",
        ("4:24: rules[0].when.connection: expected a range whose end is not before its beginning, got 5-2",),
    ),
    "a range that isn't one": (
        _RULE + "  - drop: {}\n    when: {connection: first}\n",
        ("4:24: rules[0].when.connection: " + RANGE + ", got first",),
    ),
    "a size without a unit in a comparison": (
        _RULE + '  - drop: {}\n    when: {size: "> 1024"}\n',
        ("4:18: rules[0].when.size: " + SIZE + ', got "> 1024"',),
    ),
    "conditions that are a word": (
        _RULE + "  - drop: {}\n    when: client\n",
        ("4:11: rules[0].when: expected a mapping, got client",),
    ),
    "an event without a protocol": (
        _RULE + "  - drop: {}\n    when: {event: x, channel: y}\n",
        (
            "4:12: rules[0].when.event: event: needs protocol: at the top (one of pusher)",
            "4:22: rules[0].when.channel: channel: needs protocol: at the top (one of pusher)",
        ),
    ),
    "a refuse that picks": (
        _RULE + "  - refuse\n  - refuse: {}\n    when: {chance: 5%}\n",
        (
            "5:5: rules[1].when: refuse acts on the one listener and takes no when: "
            "(to pick connections, use reset: {at: accept} or reject)",
        ),
    ),
    "a reset at accept that knows too much": (
        _RULE + "  - reset: {at: accept}\n    when: {path: /x}\n",
        ("4:5: rules[0].when: reset at accept knows nothing of the request yet and takes only chance:",),
    ),
    "a hang that looks at messages": (
        _RULE + "  - hang: {}\n    when: {from: client, nth: 3}\n",
        (
            "4:12: rules[0].when.from: hang acts on the upgrade request, before there are messages; from: can't be "
            "used (connection:, path:, header: and chance: can)",
            "4:26: rules[0].when.nth: hang acts on the upgrade request, before there are messages; nth: can't be used "
            "(connection:, path:, header: and chance: can)",
        ),
    ),
    "a silent that looks at messages": (
        _RULE + "  - silent\n  - silent: {}\n    when: {from: client}\n",
        (
            "5:12: rules[1].when.from: silent acts when a connection opens, before there are messages; from: can't be "
            "used (connection:, path:, header: and chance: can)",
        ),
    ),
    "a bad accept that looks at messages": (
        _RULE + "  - bad_accept: {}\n    when: {size: > 1B}\n".replace("> 1B", '"> 1B"'),
        (
            "4:12: rules[0].when.size: bad_accept acts on the upstream's answer, before there are messages; size: "
            "can't be used (connection:, path:, header: and chance: can)",
        ),
    ),
    "a latency at accept that knows too much": (
        _RULE + "  - latency: {delay: 1s, at: accept}\n    when: {chance: 5%, path: /x}\n",
        ("4:5: rules[0].when: latency at accept knows nothing of the request yet and takes only chance:",),
    ),
    "a latency at the request that looks at messages": (
        _RULE + "  - latency: {delay: 1s, at: request}\n    when: {from: client, path: /x}\n",
        (
            "4:12: rules[0].when.from: latency at request acts on the upgrade request, before there are messages; "
            "from: can't be used (connection:, path:, header: and chance: can)",
        ),
    ),
    "a latency at the response that counts messages": (
        _RULE + "  - latency: {delay: 1s, at: response}\n    when: {first: 1}\n",
        (
            "4:12: rules[0].when.first: latency at response acts on the upstream's answer, before there are messages; "
            "first: can't be used (connection:, path:, header: and chance: can)",
        ),
    ),
    "a latency at the first frame that asks for another": (
        _RULE + "  - latency: {delay: 1s, at: first_frame}\n    when: {from: server, nth: 2}\n",
        (
            "4:26: rules[0].when.nth: latency at first_frame acts on the first message of each direction, whatever it "
            "is; nth: can't be used (from:, connection:, path:, header: and chance: can)",
        ),
    ),
    "a latency at some other time": (
        _RULE + "  - latency: {delay: 1s, at: handshake}\n  - latency: {delay: 1s, at: upgrade}\n",
        (
            "3:30: rules[0].latency.at: expected accept, request, response or first_frame, got handshake",
            "4:30: rules[1].latency.at: expected accept, request, response or first_frame, got upgrade; "
            "did you mean request?",
        ),
    ),
    "a rejection that can't carry its body": (
        _RULE + "  - reject: {status: 204, body: x}\n  - reject: {status: 304, body: x}\n",
        (
            "3:13: rules[0].reject: expected no body beside 204: such an answer ends with its head (take 200, or leave "
            "it out)",
            "4:13: rules[1].reject: expected no body beside 304: such an answer ends with its head (take 200, or leave "
            "it out)",
        ),
    ),
    "a rejection with an option of its own for a header": (
        _RULE + "  - reject: {status: 429, retry_after: 5}\n",
        (
            "3:27: rules[0].reject.retry_after: expected status, headers, body or quota, got retry_after; did you mean "
            "headers?",
        ),
    ),
    "a bad accept of no known kind": (
        _RULE + "  - bad_accept: hash\n",
        (
            "3:17: rules[0].bad_accept: expected accept, subprotocol, extension, no_upgrade, no_connection or "
            "status, got hash; did you mean accept?",
        ),
    ),
    "a bad accept that chooses where there is no choice": (
        _RULE + "  - bad_accept: {kind: no_upgrade, named: x}\n",
        (
            "3:17: rules[0].bad_accept: expected no named: beside kind: no_upgrade; it goes with subprotocol and "
            "extension",
        ),
    ),
    "a bad accept that breaks out of its header": (
        _RULE + '  - bad_accept: {kind: extension, named: "x\\r\\nSet-Cookie: c"}\n'
        "  - bad_accept: {kind: subprotocol, named: x; y}\n",
        (
            "3:17: rules[0].bad_accept: expected a name as a header may hold it, such as graphql-ws, or "
            "permessage-deflate; x=1 (extensions)",
            "4:17: rules[1].bad_accept: expected a name as a header may hold it, such as graphql-ws, or "
            "permessage-deflate; x=1 (extensions)",
        ),
    ),
    "mute": (_RULE + "  - mute\n", ("3:5: rules[0]: expected a fault, got mute; did you mean silent?",)),
    "redirect": (
        _RULE + "  - redirect: /x\n",
        ("3:5: rules[0].redirect: expected a fault, got redirect; did you mean reject?",),
    ),
    "a close that asks for a sender only": (
        _RULE + "  - close: 1000\n    when: {from: client}\n",
        (
            "4:12: rules[0].when.from: close acts on whole connections here; from: needs a condition on messages "
            "beside it (nth:, first:, opcode:, event: …)",
        ),
    ),
    # --- many at once ---
    "many mistakes, all told, in order": (
        "version: 1\nname: a b\nphases:\n  - name: healthy\n  - name: cut\n    lasts: 90\n    rules:\n      - kill\n",
        (
            "2:7: name: " + NAME + ', not beginning with a dot, got "a b"',
            "6:12: phases[1].lasts: " + DURATION + ", got 90",
            "8:9: phases[1].rules[0]: expected a fault, got kill; did you mean reset?",
        ),
    ),
    "a bad rule and a profile that doesn't hang together": (
        "version: 1\nphases:\n  - name: healthy\n  - name: cut\n    rules:\n      - kill\n",
        (
            "3:5: phases[0]: phase healthy would never end: give it lasts: or until: (until: step to end it by hand)",
            "6:9: phases[1].rules[0]: expected a fault, got kill; did you mean reset?",
        ),
    ),
    # --- expectations ---
    "an expectation's name that is not quite it": (
        _OUTAGE + "  - noticed_within: 5s\n",
        (
            f"{_AT}5: expect[0].noticed_within: expected an expectation, got noticed_within; "
            "did you mean detected_within?",
        ),
    ),
    "an expectation that is none": (
        _OUTAGE + "  - foo: 1\n",
        (f"{_AT}5: expect[0].foo: expected an expectation, got foo; chaosproxy expectations lists them",),
    ),
    "a time to notice that is longer than the outage": (
        _OUTAGE + "  - detected_within: 65s\n",
        (
            f"{_AT}5: expect[0].detected_within: 65s is longer than outage (10s): what is noticed behind its end is "
            "noticed by the heal",
        ),
    ),
    "nothing to notice": (
        "version: 1\nphases:\n  - {name: cut, lasts: 10s, rules: [reset]}\nexpect:\n"
        "  - {detected_within: 5s, phase: cut}\n",
        (
            "5:6: expect[0].detected_within: reset tells the client itself, so there is nothing to notice in cut; "
            "half_open does not",
        ),
    ),
    "an expectation about no phase": (
        _OUTAGE + "  - {reconnected_within: 5s, phase: outag}\n",
        (f"{_AT}30: expect[0].phase: expected the name of a phase, got outag; did you mean outage?",),
    ),
    "an expectation's duration without a unit": (
        _OUTAGE + "  - {reconnected_within: 5}\n",
        (f"{_AT}26: expect[0].reconnected_within: {DURATION}, got 5",),
    ),
    "an expectation's option beside it": (
        _OUTAGE + "  - {reconnected_within: 5s, within: 3s}\n",
        (f"{_AT}30: expect[0].within: expected reconnected_within, phase, client or after, got within",),
    ),
    "an expectation without what it needs": (
        _OUTAGE + "  - marked\n",
        (f"{_AT}5: expect[0].mark: expected mark:, got none; add mark: (the mark's name)",),
    ),
    "attempts counted where none can be seen": (
        _OUTAGE + "  - {attempts_at_most: 3, phase: outage}\n",
        (
            f"{_AT}6: expect[0].attempts_at_most: attempts_at_most counts attempts, and in phase outage they can't be "
            "seen since the listener is closed; use reject: 503 or reset: {at: accept} in place of refuse, or name "
            "another phase",
        ),
    ),
    "subscriptions expected where no protocol is spoken": (
        _OUTAGE + "  - subscribes_once\n",
        (f"{_AT}5: expect[0]: subscribes_once needs protocol: at the top (one of pusher)",),
    ),
    "a heal that never comes": (
        "version: 1\nrules:\n  - {cut_after: {age: 5s}}\nexpect:\n  - reconnected_within: 5s\n",
        (
            "5:5: expect[0].reconnected_within: nothing heals in a profile without phases, so reconnected_within needs "
            "after: fault",
        ),
    ),
    "a time of what has none": (
        _OUTAGE + "  - {one_connection: true, after: heal}\n",
        (f"{_AT}28: expect[0].after: one_connection has no time that runs from somewhere; leave after: out",),
    ),
    "a backoff of nothing": (
        _OUTAGE + "  - {backoff: {}, phase: healthy}\n",
        (f"{_AT}6: expect[0].backoff: expected one of grows, at_least, at_most or jitter_at_least, got none",),
    ),
    "a bad expectation beside a bad rule": (
        "version: 1\nrules:\n  - foo\nexpect:\n  - bar\n  - subscribes_once\n",
        (
            f"3:5: rules[0]: expected a fault, got foo; {FAULTS}",
            "5:5: expect[0]: expected an expectation, got bar; chaosproxy expectations lists them",
            "6:5: expect[1]: subscribes_once needs protocol: at the top (one of pusher)",
        ),
    ),
}
