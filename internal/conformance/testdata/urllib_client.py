"""No SDK: what Python has. Driven over lines; see node/line.mjs."""
import json
import os
import sys
from urllib.parse import urlencode
from urllib.request import Request, urlopen

base, appid, secret = (os.environ[name] for name in ("WECHAT_BASE", "WECHAT_APPID", "WECHAT_SECRET"))
credentials = {"grant_type": "client_credential", "appid": appid, "secret": secret}
token = ""


def get(path, **params):
    with urlopen(f"{base}{path}?{urlencode(params)}", timeout=30) as answer:
        return json.load(answer)


def post(path, body, **params):
    data = json.dumps(body, ensure_ascii=False).encode()
    request = Request(f"{base}{path}?{urlencode(params)}", data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def keep(answer):
    global token
    token = answer.get("access_token", "")
    return answer


def send(state, touser, template_id, data):
    body = {"touser": touser, "template_id": template_id, "data": json.loads(data)}
    answer = post("/cgi-bin/message/subscribe/send", body, access_token=token)
    if answer.get("errcode") not in (40001, 42001):
        return answer
    state["refreshed"] = True
    keep(get("/cgi-bin/token", **credentials))
    return post("/cgi-bin/message/subscribe/send", body, access_token=token)


operations = {
    "login": lambda _, code: get("/sns/jscode2session", appid=appid, secret=secret, js_code=code, grant_type="authorization_code"),
    "token": lambda _: keep(get("/cgi-bin/token", **credentials)),
    "stable_token": lambda _: keep(post("/cgi-bin/stable_token", credentials)),
    "gettemplate": lambda _: get("/wxaapi/newtmpl/gettemplate", access_token=token),
    "addtemplate": lambda _, tid, kids, scene: post(
        "/wxaapi/newtmpl/addtemplate",
        {"tid": tid, "kidList": [int(k) for k in kids.split(",")], "sceneDesc": scene},
        access_token=token,
    ),
    "send": send,
}

sys.stdin.reconfigure(encoding="utf-8")
for line in sys.stdin:
    operation, *args = line.rstrip("\n").split("\t")
    state = {"refreshed": False}
    try:
        result = {"returned": operations[operation](state, *args)}
    except Exception as err:
        result = {"thrown": {"name": type(err).__name__, "message": str(err)}}
    print(json.dumps({"client": "urllib", "operation": operation, "result": result, **state}), flush=True)
