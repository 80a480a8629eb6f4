"""A shop's back end in Python, standard library only: an order comes in, its buyer logs in, a
subscription message goes out, and a webhook tells what became of it. See ../README.md."""

import base64
import hashlib
import hmac
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

API = os.environ.get("HONGYAN_API", "http://127.0.0.1:8420")
KEY = os.environ["HONGYAN_API_KEY"]
APP = os.environ["HONGYAN_APP"]
TEMPLATE = os.environ.get("HONGYAN_TEMPLATE", "order_paid")
SECRET = os.environ.get("HONGYAN_WEBHOOK_SECRET", "")
seen = set()  # ids of events; a real shop keeps them in its database
telling = threading.Lock()


class Refused(Exception):
    """Hongyan said no, or nothing. retry tells that a repeat may cure it."""

    def __init__(self, code, detail, retry):
        super().__init__(detail)
        self.code, self.retry = code, retry


def hongyan(path, body, **headers):
    request = Request(
        API + path,
        json.dumps(body, ensure_ascii=False).encode(),
        {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **headers},
    )
    try:
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except HTTPError as err:
        try:
            problem = json.load(err)
        except ValueError:
            problem = {}
        raise Refused(problem.get("code"), problem.get("detail", str(err)), err.code >= 500 or err.code == 429) from None
    except (URLError, OSError) as err:
        raise Refused("unreachable", f"Hongyan did not answer: {err}", True) from None


def order(o):
    openid = hongyan(f"/v1/apps/{APP}/login", {"code": o["code"]})["openid"]
    message = {
        "app": APP,
        "to": openid,
        "template": TEMPLATE,
        # All of it is the order's own. The time of the call would make a repeat another message.
        "data": {
            "character_string1": o["number"],
            "thing2": o["item"],
            "amount3": o["amount"],
            "date4": o["paid_at"],
            "thing11": "我们会尽快为您发货",
        },
        "metadata": {"order": o["number"]},  # comes back with the webhook
    }
    for attempt in (1, 2, 3):
        try:
            sent = hongyan("/v1/messages", message, **{"Idempotency-Key": f"paid-{o['number']}"})
            return {"message": sent["id"], "status": sent["status"]}
        except Refused as err:
            if err.code == "no_grant":
                # The order stands all the same; the next tap on 订阅 brings a grant.
                return {"status": "not_told", "reason": "no_grant"}
            if not err.retry or attempt == 3:
                raise
            time.sleep(1)


def verify(secret, headers, body):
    """Checks a webhook over its body as it came and returns the event."""
    id, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    if not stamp or abs(time.time() - int(stamp)) > 300:
        raise ValueError("too old")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    want = "v1," + base64.b64encode(digest).decode()
    if not any(hmac.compare_digest(want.encode(), s.encode()) for s in headers.get("webhook-signature", "").split(" ")):
        raise ValueError("wrong signature")
    return json.loads(body)


def told(event):
    with telling:  # each delivery has a thread of its own
        if event["id"] in seen:
            return  # at least once means that it may come twice
        seen.add(event["id"])
        data = event["data"]
        print(event["type"], data.get("id"), "order", data.get("metadata", {}).get("order", ""), flush=True)


class Shop(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), 1 << 20))
        if self.path == "/orders":
            try:
                self.answer(200, order(json.loads(body)))
            except (Refused, KeyError, ValueError) as err:
                self.answer(502, {"error": str(err), "code": getattr(err, "code", None)})
        elif self.path == "/hook":
            try:
                told(verify(SECRET, self.headers, body))
                self.answer(204)
            except ValueError as err:
                self.answer(401, {"error": str(err)})
        else:
            self.answer(404, {"error": "POST /orders and POST /hook are all there is."})

    def answer(self, status, body=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if body is not None:
            self.wfile.write(json.dumps(body, ensure_ascii=False).encode())

    def log_message(self, *_):
        pass  # standard output is for what Hongyan tells


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8500))), Shop)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
