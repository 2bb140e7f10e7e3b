"""Tokens and Authorization headers that must not be believed, each wrong in one way only.

Every one of them would be let in if its one flaw were overlooked: the rest is right for the tests' clock (`tokens.NOW`)
and for a JWKS with rsa-1, ec-1, ed-1 and oct-1.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tokens import NOW, b64, claims, key, sign

GOOD = sign(claims())
HEAD, BODY, SIGNATURE = GOOD.split(".")
FITTING = {"RS256": "rsa-1", "PS256": "rsa-1", "ES256": "ec-1", "EdDSA": "ed-1", "HS256": "oct-1"}
RSA_PUBLIC = json.dumps(key("rsa-1").as_dict(private=False))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LATER = 9_999_999_999

Json = dict[str, Any]


def other_spelling(part: str) -> str:
    """The same bytes in base64url with an unused bit set, which lenient decoders accept."""
    assert len(part) % 4, "no unused bits"
    return part[:-1] + ALPHABET[ALPHABET.index(part[-1]) + 1]


def macked(header: Json | str, secret: bytes) -> str:
    """A token with an HMAC of that secret, whatever its header says."""
    signed = f"{b64(header)}.{BODY}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def _rs256(**header: Any) -> str:
    """Rightly signed, with another header than a plain one."""
    return sign(claims(), header={"alg": "RS256", "kid": "rsa-1"} | header)


def _unusual(name: str) -> str:
    """A rightly signed token with unused bits in that part, which are then set."""
    for length in range(1, 4):
        token = sign(claims(x="y" * length), header={"alg": "RS256", "kid": "rsa-1"} | {"typ": "JWT"})
        head, body, signature = token.split(".")
        if name == "signature":
            return f"{head}.{body}.{other_spelling(signature)}"
        if len(body) % 4:
            return f"{head}.{other_spelling(body)}.{signature}"
    raise AssertionError


def _unusual_header() -> str:
    header = '{"alg":"RS256","kid":"rsa-1"}'
    while len(b64(header)) % 4 == 0:
        header = header.replace("{", "{ ", 1)
    head, body, signature = sign(claims(), header=header).split(".")
    return f"{other_spelling(head)}.{body}.{signature}"


def _times() -> Iterator[tuple[str, str]]:
    yield "expired", sign(claims(exp=NOW - 31))
    yield "expiring now, with the leeway", sign(claims(exp=NOW - 30))
    yield "expired by a fraction", sign(claims(exp=NOW - 30.001))
    yield "no exp", sign({"sub": "a"})
    wrong = {
        "null": "null", "true": "true", "text": f'"{LATER}"', "a small fraction": "0.5", "a tiny one": "1e-999999",
        "infinite": "Infinity", "minus infinite": "-Infinity", "NaN": "NaN", "negative": "-1", "zero": "0",
        "minus zero": "-0", "of 5000 digits": "9" * 5000, "a list": f"[{LATER}]", "an object": f'{{"$date":{LATER}}}',
        "empty text": '""', "a date": '"2099-01-01T00:00:00Z"', "with a plus": f"+{LATER}", "hexadecimal": "0xFFFFFFFF",
        "with a zero before": f"0{LATER}", "with underscores": "9_999_999_999", "minus much": "-9e99",
    }  # fmt: skip
    for name, value in wrong.items():
        yield f"exp {name}", sign(f'{{"sub":"a","exp":{value}}}')
    yield "exp twice", sign(f'{{"sub":"a","exp":{NOW - 60},"exp":{NOW + 60}}}')
    yield "exp twice, once escaped", sign(f'{{"sub":"a","exp":{NOW - 60},"\\u0065xp":{NOW + 60}}}')
    yield "exp in upper case", sign(f'{{"sub":"a","EXP":{LATER}}}')
    yield "exp inside", sign(f'{{"sub":"a","claims":{{"exp":{LATER}}}}}')
    yield "not yet", sign(claims(nbf=NOW + 31))
    yield "not yet by a fraction", sign(claims(nbf=NOW + 30.001))
    yield "never", sign(f'{{"sub":"a","exp":{LATER},"nbf":9e99}}')
    for name in ("nbf", "iat"):
        for value in (f'"{NOW - 1}"', "true", "null", "[]", "{}", '"yesterday"', "NaN"):
            yield f"{name} {value}", sign(f'{{"sub":"a","exp":{LATER},"{name}":{value}}}')


def _subjects() -> Iterator[tuple[str, str]]:
    yield "no sub", sign({"exp": NOW + 60})
    for value in ('""', "7", '["a"]', '{"a":1}', "null", "true", "1.5", '"\\ud800"', '"a\\udfffb"', '"\\udc00\\ud800"'):
        yield f"sub {value}", sign(f'{{"sub":{value},"exp":{LATER}}}')
    yield "sub twice", sign(f'{{"sub":"a","sub":"b","exp":{LATER}}}')
    yield "sub twice, once escaped", sign(f'{{"sub":"a","s\\u0075b":"b","exp":{LATER}}}')
    yield "a key twice deep inside", sign(f'{{"sub":"a","exp":{LATER},"x":[{{"y":1,"y":2}}]}}')


def _documents() -> Iterator[tuple[str, str]]:
    good = json.dumps(claims())
    yield "claims nested too deeply", sign(f'{{"sub":"a","exp":{LATER},"x":{"[" * 2500}{"]" * 2500}}}')
    yield "claims not UTF-8", sign(b'{"sub":"\xff","exp":9999999999}')
    yield "claims in overlong UTF-8", sign(b'{"sub":"\xc1\xa1","exp":9999999999}')
    yield "claims in UTF-16", sign(good.encode("utf-16"))
    yield "claims in UTF-32", sign(good.encode("utf-32"))
    for name, text in _not_an_object(good, "sub"):
        yield f"claims {name}", sign(text)
    for name, text in _not_an_object('{"alg": "RS256", "kid": "rsa-1"}', "kid"):
        yield f"header {name}", sign(claims(), header=text)
    yield "header of 5000 brackets", sign(claims(), header='{"alg":"RS256","kid":' + "[" * 2500 + "]" * 2500 + "}")


def _not_an_object(good: str, name: str) -> Iterator[tuple[str, str]]:
    """A JSON object spoilt, with one of its keys given by name."""
    yield from {
        "a list": "[1]", "no JSON": "nonsense", "empty": "", "null": "null", "a number": "7", "text": '"sub"',
        "true": "true", "with a byte order mark": "\ufeff" + good, "twice": good + good, "cut": good[:-1],
        "with a comma at the end": good[:-1] + ",}", "in single quotes": good.replace('"', "'"),
        "with a comment": good + "//", "with a block comment": "/**/" + good, "with NUL behind": good + "\0",
        "with a line feed in a name": good.replace(name, name[:2] + "\n"), "with a stray bracket": good + "}",
        "with an unknown escape": good.replace(f'"{name}', f'"\\x{name}'), "in text": json.dumps(good),
        "with a key unquoted": good.replace(f'"{name}"', name), "in a list": f"[{good}]", "spaces": "   ",
    }.items()  # fmt: skip


def _algorithms() -> Iterator[tuple[str, str]]:
    names: list[Any] = [
        "none", "None", "NONE", "nOnE", "none ", " none", "none\0", "", " ", "null", "undefined", "rs256", "Rs256",
        "RS256 ", " RS256", "RS256\0", "RS256,none", "RS384", "RS512", "PS384", "PS512", "ES384", "ES512", "ES256K",
        "HS384", "HS512", "HS1", "MD5", "RSA", "RSA1_5", "RSA-OAEP", "dir", "A128KW", "A256GCM", "PBES2-HS256+A128KW",
        "EdDSA ", "Ed25519", "Ed448", "ES256\u200b", "\uff32\uff33\uff12\uff15\uff16", None, 0, 1, True, 1.5, [],
        ["RS256"], ["none", "RS256"], {}, {"RS256": 1},
    ]  # fmt: skip
    for alg in names:
        header = json.dumps({"alg": alg, "kid": "rsa-1"})
        yield f"alg {alg!r}, rightly signed", sign(claims(), header=header)
        yield f"alg {alg!r}, signature a letter", f"{b64(header)}.{BODY}.AA"
        yield f"alg {alg!r}, unsigned", f"{b64(header)}.{BODY}."
    yield "alg missing", sign(claims(), header={"kid": "rsa-1"})
    yield "alg twice", sign(claims(), header='{"alg":"none","alg":"RS256","kid":"rsa-1"}')
    yield "alg twice, once escaped", sign(claims(), header='{"alg":"none","\\u0061lg":"RS256","kid":"rsa-1"}')
    yield "alg in upper case", sign(claims(), header='{"ALG":"RS256","kid":"rsa-1"}')
    for really in ("RS384", "RS512", "PS384", "PS512"):
        yield f"{really} signature called RS256", sign(claims(), alg=really, header={"alg": "RS256", "kid": "rsa-1"})
    for really in ("HS384", "HS512"):
        yield f"{really} signature, named so", sign(claims(), "oct-1", really)
        yield f"{really} called HS256", sign(claims(), "oct-1", really, {"alg": "HS256", "kid": "oct-1"})
    yield "PS256 called RS256", sign(claims(), alg="PS256", header={"alg": "RS256", "kid": "rsa-1"})
    yield "RS256 called PS256", sign(claims(), alg="RS256", header={"alg": "PS256", "kid": "rsa-1"})
    for alg, name in FITTING.items():
        for other in ("rsa-1", "ec-1", "ed-1", "oct-1"):
            if name != other:
                yield f"{alg} with kid {other}", sign(claims(), name, alg, {"alg": alg, "kid": other})


def _public_forms(name: str) -> Iterator[tuple[str, bytes]]:
    """What an attacker knows of a public key, in every form that a library may have taken it for a secret."""
    own = key(name)
    public = own.public_key
    yield "DER", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    yield "PEM", pem
    yield "PEM without the line feed", pem.rstrip(b"\n")
    yield "PEM with CRLF", pem.replace(b"\n", b"\r\n")
    members = own.as_dict(private=False)
    yield "JWK", json.dumps(members).encode()
    yield "JWK without spaces", json.dumps(members, separators=(",", ":")).encode()
    yield "JWK sorted", json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    yield "member in base64", str(members.get("n", members.get("x"))).encode()


def _confusions() -> Iterator[tuple[str, str]]:
    for name in ("rsa-1", "ec-1", "ed-1"):
        for form, secret in _public_forms(name):
            yield f"HS256 with {name} as {form}", macked({"alg": "HS256", "kid": name}, secret)
            yield f"HS256 with {name} as {form}, no kid", macked({"alg": "HS256"}, secret)
            yield f"HS256 with {name} as {form}, kid of the secret", macked({"alg": "HS256", "kid": "oct-1"}, secret)
    for secret in (b"", b"\0", b"secret", b"oct-1", b"null", b"None", b"password", bytes(32)):
        yield f"HS256 with {secret!r}", macked({"alg": "HS256", "kid": "oct-1"}, secret)


def _key_ids() -> Iterator[tuple[str, str]]:
    names: list[Any] = [
        "x", "", " ", "rsa-1 ", " rsa-1", "RSA-1", "rsa-1\0", "rsa-1\0.pem", "rs\u0430-1", "%72sa-1", "*", ".", "..",
        "/", "../../../../../../dev/null", "/dev/null", "../../proc/self/environ", "/etc/passwd",
        "..\\..\\windows\\win.ini", "file:///dev/null", "http://127.0.0.1/jwks.json", "rsa-1/../rsa-1", "./rsa-1",
        "jwks.json", "' or 1=1 --", "x' union select 'a", '"; drop table keys; --', "$(sleep 5)", "`id`", "|id", "; id",
        "${jndi:ldap://127.0.0.1/a}", "{{7*7}}", "__proto__", "constructor", "0", "-1", "null", "undefined", "k" * 4000,
        "\ud800", "\u202e1-asr", None, 0, 1, True, [], ["rsa-1"], {}, {"kid": "rsa-1"}, 1.0,
    ]  # fmt: skip
    for name in names:
        yield f"kid {repr(name)[:40]}", sign(claims(), header=json.dumps({"alg": "RS256", "kid": name}))
        if isinstance(name, str) and ("/" in name or not name.strip()):
            yield f"kid {name!r} with an empty secret", macked(json.dumps({"alg": "HS256", "kid": name}), b"")
            yield f"kid {name!r} with a line feed as secret", macked(json.dumps({"alg": "HS256", "kid": name}), b"\n")
    yield "kid twice", sign(claims(), header='{"alg":"RS256","kid":"x","kid":"rsa-1"}')
    yield "a key of the same kind that is not ours", sign(claims(), "rsa-9", header={"alg": "RS256", "kid": "rsa-1"})
    yield "another key, no kid", sign(claims(), "rsa-9", header={"alg": "RS256"})
    yield "a key too short", sign(claims(), "small-1")
    yield "a key of another curve", sign(claims(), "p384-1", "ES384")


def _ignored(trap: str) -> list[Json]:
    """Header parameters that are nothing to us: RFC 7515, 4 says to ignore what is not understood. No key is theirs."""
    theirs = key("rsa-9").as_dict(private=False)
    chain = ["MIIBszCCARygAwIBAgIBADANBgkqhkiG9w0BAQsFADA"]
    return [
        {"jku": trap}, {"jku": f"{trap}#"}, {"x5u": trap}, {"url": trap}, {"iss": trap},
        {"jku": f"http://a@{trap[7:]}"}, {"jwk": theirs}, {"jwk": key("rsa-1").as_dict(private=False)}, {"jwk": None},
        {"jwk": {}}, {"jwks": {"keys": [theirs]}}, {"x5c": chain}, {"x5c": chain * 30}, {"x5t": "AAAA"},
        {"x5t#S256": "AAAA"}, {"x5t": 7}, {"b64": True}, {"b64": False}, {"zip": "DEF"}, {"zip": "GZ"}, {"cty": "JWT"},
        {"enc": "A256GCM"}, {"p2c": 2**31}, {"epk": theirs}, {"apu": "AA"}, {"iv": "AA"}, {"tag": "AA"},
        {"nonce": "1"}, {"cat": "cl_B7d4PD111AAA"}, {"svt": "x"}, {"ppt": "shaken"}, {"exp": LATER}, {"sub": "a"},
        {"aud": "a"}, {"Alg": "none"}, {"": ""}, {"x": "y"}, {"__proto__": {"alg": "none"}},
    ]  # fmt: skip


def harmless_tokens(trap: str = "https://x.example/jwks.json") -> dict[str, str]:
    """Rightly signed tokens, each with a header parameter that must change nothing."""
    return {
        f"header with {number}, {', '.join(extra)}": _rs256(**extra)  # the same name in every process
        for number, extra in enumerate(_ignored(trap))
    }


def _headers(trap: str) -> Iterator[tuple[str, str]]:
    """Header parameters that ask to be obeyed: `trap` is an address nobody may be sent to."""
    asked: list[Json] = [
        {"crit": []}, {"crit": ["exp"]}, {"crit": ["b64"], "b64": False}, {"crit": ["x"], "x": 1}, {"crit": "b64"},
        {"crit": None}, {"crit": ["alg"]}, {"crit": ["b64", "b64"], "b64": True}, {"typ": "JWE"}, {"typ": "JOSE"},
        {"typ": ""}, {"typ": None}, {"typ": 1}, {"typ": ["JWT"]}, {"typ": "application/jose"}, {"typ": "dpop+jwt"},
        {"typ": "JWT "}, {"typ": "logout+jwt"}, {"typ": "secevent+jwt"}, {"typ": "at+jwt+x"}, {"typ": "application/"},
    ]  # fmt: skip
    for number, extra in enumerate([*asked, *_ignored(trap)]):
        # The same name in every process: keys are new in each.
        said = re.sub(r'(?<=[nx]": ")[^"]+', "...", json.dumps(extra).replace(trap, "a URL"))
        name = f"{number}, {said[:60]}"
        if extra.keys() & {"crit", "typ"}:  # all others are ignored: see `harmless_tokens`
            yield f"header with {name}, our key", _rs256(**extra)
        if extra.keys() & {"jku", "jwk", "jwks", "x5u", "x5c", "epk"}:
            header = {"alg": "RS256", "kid": "rsa-9"} | extra
            yield f"header with {name}, their key", sign(claims(), "rsa-9", header=header)
            yield f"header with {name}, their key as ours", sign(claims(), "rsa-9", header=header | {"kid": "rsa-1"})
            yield f"header with {name}, their key, no kid", sign(claims(), "rsa-9", header={"alg": "RS256"} | extra)
    yield "typ twice", sign(claims(), header='{"alg":"RS256","kid":"rsa-1","typ":"JWE","typ":"JWT"}')


def _signatures() -> Iterator[tuple[str, str]]:
    for alg, name in FITTING.items():
        head, body, signature = sign(claims(), name, alg).split(".")
        while alg.startswith("PS") and _bytes(signature)[0] == 0:  # without that byte it is the same number
            head, body, signature = sign(claims(), name, alg).split(".")
        raw = bytearray(_bytes(signature))
        size = len(raw)
        others = {
            "with its first bit changed": bytes([raw[0] ^ 128, *raw[1:]]),
            "with its last bit changed": bytes([*raw[:-1], raw[-1] ^ 1]),
            "with a bit in the middle changed": bytes([*raw[: size // 2], raw[size // 2] ^ 1, *raw[size // 2 + 1 :]]),
            "a byte too short": bytes(raw[:-1]), "without its first byte": bytes(raw[1:]),
            "a byte too long": bytes(raw) + b"\0", "with a zero before": b"\0" + bytes(raw),
            "half": bytes(raw[: size // 2]), "twice": bytes(raw + raw), "all zero": bytes(size),
            "all ones": b"\xff" * size, "of one byte": b"\0",
            "with its halves swapped": bytes(raw[size // 2 :] + raw[: size // 2]), "reversed": bytes(raw[::-1]),
        }  # fmt: skip
        for what, changed in others.items():
            yield f"{alg} signature {what}", f"{head}.{body}.{b64(changed)}"
        yield f"{alg} signature empty", f"{head}.{body}."
        yield f"{alg} signature of other claims", f"{head}.{b64(claims('another'))}.{signature}"
        yield f"{alg} signature of another header", f"{b64({'kid': name, 'alg': alg})}.{body}.{signature}"
    for content in ("3006020101020101", "3044022000", "00" * 96):
        yield (
            f"ES256 signature as {content}"[:60],
            f"{b64({'alg': 'ES256', 'kid': 'ec-1'})}.{BODY}.{b64(bytes.fromhex(content))}",
        )
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for r in (0, 1, order - 1, order):
        for s in (0, 1, order):
            both = r.to_bytes(32) + s.to_bytes(32)
            token = f"{b64({'alg': 'ES256', 'kid': 'ec-1'})}.{BODY}.{b64(both)}"
            yield f"ES256 signature ({r:x}, {s:x})", token


def _bytes(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _spellings() -> Iterator[tuple[str, str]]:
    yield "signature in another spelling", _unusual("signature")
    yield "claims in another spelling", _unusual("claims")
    yield "header in another spelling", _unusual_header()
    for at, name in enumerate(("header", "claims", "signature")):
        parts = GOOD.split(".")
        changes = {
            "padded": parts[at] + "=", "padded twice": parts[at] + "==", "padded wrongly": parts[at] + "=" * 4,
            "with a space": parts[at][:8] + " " + parts[at][8:], "in base64, not base64url": parts[at][:-4] + "+/+/",
            "with a tilde": parts[at][:-1] + "~", "percent-encoded": parts[at][:-1] + f"%{ord(parts[at][-1]):02X}",
            "a letter short": parts[at][:-1], "a letter long": parts[at] + "A", "three letters long": parts[at] + "AAA",
            "empty": "", "in hexadecimal": _bytes(parts[at]).hex(), "with an apostrophe": parts[at] + "'",
        }  # fmt: skip
        for what, changed in changes.items():
            yield f"{name} part {what}", ".".join([*parts[:at], changed, *parts[at + 1 :]])
    lone = {
        "two parts": f"{HEAD}.{BODY}", "four parts": f"{GOOD}.{SIGNATURE}", "a dot behind": f"{GOOD}.",
        "a dot before": f".{GOOD}", "five parts, as encrypted": "a.b.c.d.e", "one part": "abc", "dots": "..",
        "four dots": "....", "a dot": ".", "dots for commas": GOOD.replace(".", ","),
        "dots percent-encoded": GOOD.replace(".", "%2E"), "parts in another order": f"{BODY}.{HEAD}.{SIGNATURE}",
        "JSON serialisation": json.dumps({"payload": BODY, "protected": HEAD, "signature": SIGNATURE}),
        "general JSON serialisation": json.dumps({"payload": BODY, "signatures": [{"protected": HEAD}]}),
        "in quotes": f'"{GOOD}"', "in angle brackets": f"<{GOOD}>", "a comma behind": f"{GOOD},",
        "a semicolon behind": f"{GOOD};", "two tokens": f"{GOOD}, Bearer {GOOD}",
        "two tokens, one space": f"{GOOD} {GOOD}", "a parameter behind": f"{GOOD}, a=b",
        "a space inside": f"{HEAD}. {BODY}.{SIGNATURE}", "two spaces before": f" {GOOD}", "a space behind": f"{GOOD} ",
        "a tab behind": f"{GOOD}\t", "detached": f"{HEAD}..{SIGNATURE}", "null": "null", "undefined": "undefined",
        "true": "true", "an empty object": "{}",
    }  # fmt: skip
    yield from lone.items()
    for size in (16_000, 17_000, 40_000):
        yield f"of more than {size:,} bytes", sign(claims(x="y" * (size * 3 // 4)))


def hostile_tokens(trap: str = "https://x.example/jwks.json") -> dict[str, str]:
    """Tokens by what is wrong with each; `trap` is the URL that some of them name."""
    families = (_times(), _subjects(), _documents(), _algorithms(), _confusions(), _key_ids(), _headers(trap))
    found: dict[str, str] = {}
    for family in (*families, _signatures(), _spellings()):
        for name, token in family:
            assert name not in found, name
            found[name] = token
    return found


# what is no bearer token at all, as the Authorization headers of one request
NO_BEARER: dict[str, list[str]] = {
    "empty": [""], "a space": [" "], "Bearer alone": ["Bearer"], "Bearer and a space": ["Bearer "],
    "Bearer and spaces": ["Bearer    "], "Basic": ["Basic YTpi"], "Basic with a token": [f"Basic {GOOD}"],
    "Digest": ['Digest username="a"'], "Negotiate": ["Negotiate YII="], "NTLM": ["NTLM TlRM"],
    "HOBA": ["HOBA result=a"], "Mutual": ["Mutual a=b"], "AWS": ["AWS4-HMAC-SHA256 Credential=a"],
    "DPoP": [f"DPoP {GOOD}"], "JWT": [f"JWT {GOOD}"], "OAuth": [f"OAuth {GOOD}"], "vapid": [f"vapid t={GOOD}"],
    "Token": [f"Token {GOOD}"], "the token alone": [GOOD], "Bearer-like": [f"Bearers {GOOD}"],
    "bear": [f"Beare {GOOD}"], "a colon": [f"Bearer: {GOOD}"], "an equals sign": [f"Bearer={GOOD}"],
    "a comma": [f"Bearer, {GOOD}"], "a tab for a space": [f"Bearer\t{GOOD}"], "no space": [f"Bearer{GOOD}"],
    "quoted": [f'"Bearer {GOOD}"'], "twice": [f"Bearer {GOOD}"] * 2, "thirty times": [f"Bearer {GOOD}"] * 30,
    "Basic, then Bearer": ["Basic YTpi", f"Bearer {GOOD}"], "Bearer, then Basic": [f"Bearer {GOOD}", "Basic YTpi"],
    "empty, then Bearer": ["", f"Bearer {GOOD}"], "Bearer, then empty": [f"Bearer {GOOD}", ""], "two empty": ["", ""],
    "in one line after Basic": [f"Basic YTpi, Bearer {GOOD}"],
}  # fmt: skip
