"""An OpenID Connect issuer on this machine, at which a person signs in on a page: authorisation code with PKCE, for a public client.

It is as strict as it may be: whatever a client does wrong is in `complaints`.
"""

import base64
import hashlib
import html
import http.server
import json
import secrets
import threading
import time
import urllib.parse

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

CLIENT = "console"


def text(data):
    """Bytes as a token writes them."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    """A key that signs tokens by ES256."""

    def __init__(self):
        self.secret = ec.generate_private_key(ec.SECP256R1())
        self.jwk = {**ECAlgorithm.to_jwk(self.secret.public_key(), as_dict=True), "kid": "a", "alg": "ES256", "use": "sig"}

    def token(self, claims):
        return jwt.encode(claims, self.secret, algorithm="ES256", headers={"kid": "a"})


class Issuer:
    """The issuer, for one client whose people come back to `redirect_uri`."""

    def __init__(self, redirect_uri):
        self.redirect_uri, self.key = redirect_uri, Key()
        self.codes, self.complaints = {}, []
        # How long a token counts from now on. The server allows for a minute of skew.
        self.lasts_s = 900
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.get(self)

            def do_POST(self):
                issuer.post(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/realms/team"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def settings(self):
        """The server's settings."""
        return {"OIDC_ISSUER": self.url, "OIDC_CLIENT_ID": CLIENT}

    def get(self, request):
        path, _, query = request.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        match path.removeprefix("/realms/team"):
            case "/.well-known/openid-configuration":
                endpoints = {"jwks_uri": "keys", "authorization_endpoint": "authorize", "token_endpoint": "token"}
                answer(request, {"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in endpoints.items()}})
            case "/keys":
                answer(request, {"keys": [self.key.jwk]})
            case "/authorize":
                self.ask_the_person(request, asked)
            case "/yes":
                self.send_back(request, asked, {"code": self.code_for(asked)})
            case "/no":
                self.send_back(request, asked, {"error": "access_denied", "error_description": "not today"})
            case _:
                answer(request, {"error": "there is nothing here"}, 404)

    def ask_the_person(self, request, asked):
        """Shows the page on which a person signs in."""
        expected = {"response_type": "code", "client_id": CLIENT, "redirect_uri": self.redirect_uri, "scope": "openid profile", "code_challenge_method": "S256"}
        wrong = [f"{name} is {asked.get(name)}" for name, value in expected.items() if asked.get(name) != value]
        wrong += [f"no {name}" for name, least in {"state": 16, "nonce": 32, "code_challenge": 43}.items() if len(asked.get(name, "")) < least]
        if wrong:
            self.complaints += wrong
            return answer(request, {"error": "invalid_request"}, 400)
        query = html.escape(urllib.parse.urlencode(asked))
        people = [("ann", "deployer"), ("eve", "viewer"), ("bob", "nobody")]
        links = "".join(f"<p><a href='yes?{query}&amp;sub={who}&amp;role={role}'>I am {who}</a></p>" for who, role in people)
        page = f"<!doctype html><title>Sign in</title>{links}<p><a href='no?{query}'>I am nobody</a></p>"
        return send(request, 200, "text/html", page)

    def code_for(self, asked):
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        return code

    def send_back(self, request, asked, told):
        request.send_response(303)
        request.send_header("location", self.redirect_uri + "?" + urllib.parse.urlencode({"state": asked["state"], "iss": self.url, **told}))
        request.send_header("content-length", "0")
        request.end_headers()

    def post(self, request):
        """Gives a token for a code, once, to whoever knows what its hash was made of."""
        brought = dict(urllib.parse.parse_qsl(request.rfile.read(int(request.headers["content-length"])).decode()))
        asked = self.codes.pop(brought.get("code"), None)
        expected = asked and {
            "grant_type": "authorization_code",
            "client_id": CLIENT,
            "redirect_uri": asked["redirect_uri"],
            "code_challenge": asked["code_challenge"],
        }
        brought["code_challenge"] = text(hashlib.sha256(brought.get("code_verifier", "").encode()).digest())
        if asked is None or any(brought.get(name) != value for name, value in expected.items()):
            self.complaints.append(f"{brought} for {asked}")
            return answer(request, {"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "azp": CLIENT, "sub": asked["sub"], "name": asked["sub"].capitalize(), "roles": [asked["role"]],
            "nonce": asked["nonce"], "iat": now - 120, "exp": now + self.lasts_s,
        }
        return answer(request, {"access_token": "opaque", "token_type": "Bearer", "id_token": self.key.token(claims)})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def answer(request, value, status=200):
    send(request, status, "application/json", json.dumps(value))


def send(request, status, kind, body):
    data = body.encode()
    request.send_response(status)
    request.send_header("content-type", f"{kind}; charset=utf-8")
    request.send_header("content-length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)
