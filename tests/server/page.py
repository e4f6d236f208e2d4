#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""page.py DRIVER [FOLDER]: the chat page in Chromium, against page_mock.py.

DRIVER (http_driver.c) has the page. With FOLDER pictures of the page are left there. A violation of
the page's Content-Security-Policy, a request to another host or an error of a script fails the test
it comes in. Without Chromium nothing is run, and that is said. Prints a closing line in Criterion's
form.
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import page_mock

TESTS = []
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (e) =>
    window.violations.push(e.violatedDirective + " " + e.blockedURI));
"""


class Browser:
    """Chromium by its DevTools protocol, over a pair of pipes."""

    def __init__(self, program, profile):
        to, from_ = os.pipe(), os.pipe()

        def pipes():
            a, b = os.dup(to[0]), os.dup(from_[1])
            os.dup2(a, 3)
            os.dup2(b, 4)
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--user-data-dir=" + profile, "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            close_fds=False, preexec_fn=pipes)
        os.close(to[0])
        os.close(from_[1])
        self.out, self.into = to[1], from_[0]
        self.rest, self.count, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for name in ("Page", "Runtime", "Network", "Log"):
            self.call(name + ".enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            reply = self.read()
            if reply.get("id") == self.count:
                if "error" in reply:
                    raise AssertionError("%s: %s" % (method, reply["error"]))
                return reply["result"]
            self.events.append(reply)

    def read(self):
        while b"\0" not in self.rest:
            data = os.read(self.into, 1 << 20)
            if not data:
                raise AssertionError("Chromium has ended")
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def js(self, expression):
        r = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in r:
            raise AssertionError("%s: %s" % (expression, r["exceptionDetails"]))
        return r["result"].get("value")

    def wait(self, expression, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.js("((v) => v instanceof Node ? true : v)(%s)" % expression)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError("did not come to be: %s; the page says: %s" %
                             (expression, self.js("document.body.innerText")[:600]))

    def key(self, name, modifiers=0, code=0):
        for kind in ("keyDown", "keyUp"):
            more = {"text": "\r"} if name == "Enter" and kind == "keyDown" and not modifiers else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, modifiers=modifiers,
                      windowsVirtualKeyCode=code or {"Enter": 13, "Escape": 27, "ArrowUp": 38}.get(name, 0), **more)

    def write(self, text):
        self.js("document.getElementById('input').focus()")
        self.call("Input.insertText", text=text)

    def size(self, width, height, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 700)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && document.querySelectorAll('#model option').length > 0")

    def faults(self, origin):
        """Violations, errors and requests elsewhere since the last call."""
        found = list(self.js("window.violations || []"))
        self.js("window.violations = []")
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"])[:300])
            elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
                if "503" not in params["entry"]["text"]:
                    found.append(params["entry"]["text"])
            elif event.get("method") == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith((origin + "/", "data:", "blob:", "about:")):
                    found.append("request to " + url)
        self.events.clear()
        return found


def test(function):
    TESTS.append(function)
    return function


def equal(a, b):
    assert a == b, "%r is not %r" % (a, b)


def fresh(b):
    b.js("document.getElementById('new').click()")
    b.wait("document.querySelectorAll('.message').length === 0")


def say(b, text, wait=True):
    before = b.js("document.querySelectorAll('.message.assistant').length")
    b.write(text)
    b.key("Enter")
    if wait:
        b.wait("document.querySelectorAll('.message.assistant').length > %d && "
               "document.getElementById('send').textContent === 'Send'" % before)


def last(b, what="innerText"):
    return b.js("[...document.querySelectorAll('.message.assistant .body')].pop()." + what)


def press(b, label, which=-1):
    b.js("[...document.querySelectorAll('.message button')].filter((x) => x.textContent === %s).at(%d).click()" %
         (json.dumps(label), which))


@test
def answers(b, mock):
    say(b, "hello")
    html = last(b, "innerHTML")
    for part in ["<h1>A heading</h1>", "<em>text</em>", "<table>", "<blockquote>", "hljs-keyword", "more of two", '<td align="right">22</td>',
                 'type="checkbox"', 'rel="noopener noreferrer nofollow"', "<p>The end.</p>"]:
        assert part in html, (part, html)
    equal(b.js("document.querySelectorAll('.body pre').length"), 1)
    facts = b.js("document.querySelector('.facts').textContent")
    assert "41 tokens/s" in facts and "tokens, first after" in facts, facts
    assert "of 8,192 tokens" in b.js("document.getElementById('meter').textContent")
    asked = mock.asked[-1]
    equal((asked["stream"], asked["stream_options"], asked["logits_sha256"], asked["model"]),
          (True, {"include_usage": True}, True, "smollm2"))
    equal(asked["messages"], [{"role": "user", "content": "hello"}])
    assert "temperature" not in asked and asked["seed"] >= 0
    say(b, "and more")
    equal([m["role"] for m in mock.asked[-1]["messages"]], ["user", "assistant", "user"])


@test
def growing_is_the_same_as_whole(b, mock):
    """Pieces as they come give the same elements as the whole text at once."""
    result = b.js("""import("./markdown.js").then(({Growing}) => {
        const text = %s, bad = [];
        for (let step = 1; step < 40; step += 3) {
            const a = document.createElement("div"), b = document.createElement("div");
            const grows = new Growing(a);
            for (let at = 0; at < text.length; at += step) { grows.put(text.slice(0, at), false); }
            grows.put(text, true);
            new Growing(b).put(text, true);
            if (a.innerHTML !== b.innerHTML) { bad.push(step); }
        }
        return bad;
    })""" % json.dumps(page_mock.MARKDOWN))
    equal(result, [])


@test
def long_answers_stay_fast(b, mock):
    start = time.monotonic()
    say(b, "long")
    took = time.monotonic() - start
    equal(b.js("document.querySelectorAll('.body h1').length"), 40)
    assert took < 20, took
    at_end = "(() => { const s = document.getElementById('scroll'); return s.scrollHeight - s.scrollTop - s.clientHeight < 60; })()"
    assert b.js(at_end)


@test
def attacks(b, mock):
    for i, attack in enumerate(page_mock.ATTACKS):
        fresh(b)
        say(b, "attack %d" % i)
        state = b.js("""({bad: Boolean(window.bad), tags: [...document.querySelectorAll('.body *')].map((e) => e.tagName),
            attributes: [...document.querySelectorAll('.body *')].flatMap((e) => [...e.attributes].map((a) => a.name + '=' + a.value))})""")
        assert not state["bad"], attack
        known = "P BR H1 A CODE SPAN TABLE THEAD TBODY TR TH TD DIV BUTTON PRE".split()
        assert all(tag in known for tag in state["tags"]), (attack, state["tags"])
        for a in state["attributes"]:
            name, _, value = a.partition("=")
            assert name in ("href", "title", "rel", "target", "class", "type", "data-copy"), (attack, a)
            assert name != "href" or value.startswith("https://elsewhere.example/"), (attack, a)
            assert name != "class" or value in ("plain", "codebox", "head") or value.startswith("hljs-"), (attack, a)
    say(b, "attack 0")  # what a user writes is text as well
    b.write("<img src=x onerror=window.bad=1>")
    b.key("Enter")
    b.wait("document.getElementById('send').textContent === 'Send'")
    assert not b.js("window.bad") and b.js("document.querySelectorAll('.message.user img').length") == 0


@test
def thinking_and_tools(b, mock):
    say(b, "think")
    equal(b.js("(() => { const d = document.querySelector('details.thought'); return [d.hidden, d.open, d.querySelector('summary').textContent, d.querySelectorAll('em').length]; })()"),
          [False, False, "Thought", 20])
    equal(last(b), "It is so.")
    say(b, "tool")
    equal(b.js("document.querySelector('details.call summary').textContent"), "Calls weather")
    assert '"place": "Bremen <b>"' in b.js("document.querySelector('details.call pre').textContent")


@test
def stop(b, mock):
    gone = mock.gone
    say(b, "slow", wait=False)
    b.wait("document.querySelectorAll('.message.assistant').length && document.querySelector('.message.assistant .body').innerText.length > 20")
    equal(b.js("document.getElementById('send').textContent"), "Stop")
    b.key("Escape")
    b.wait("document.getElementById('send').textContent === 'Send'")
    assert "stopped" in b.js("document.querySelector('.facts').textContent")
    text = last(b)
    end = time.monotonic() + 10
    while mock.gone == gone and time.monotonic() < end:
        time.sleep(0.05)
    equal(mock.gone, gone + 1)
    equal(last(b), text)


@test
def branches(b, mock):
    say(b, "first")
    first = mock.asked[-1]["seed"]
    press(b, "Again")
    b.wait("document.querySelector('.message.assistant .tools') && document.querySelector('.message.assistant .tools').innerText.includes('2/2')")
    assert mock.asked[-1]["seed"] != first
    press(b, "\u2039")
    b.wait("document.querySelector('.message.assistant .tools').innerText.includes('1/2')")
    press(b, "Edit")
    b.js("document.querySelector('.edit textarea').value = 'second'")
    b.js("document.querySelector('.edit .main').click()")
    b.wait("document.querySelector('.message.user .body').innerText === 'second' && document.getElementById('send').textContent === 'Send'")
    equal(mock.asked[-1]["messages"], [{"role": "user", "content": "second"}])
    press(b, "\u2039")
    b.wait("document.querySelector('.message.user .body').innerText === 'first'")
    assert b.js("document.querySelector('.message.assistant .tools').innerText.includes('1/2')")
    b.js("document.getElementById('input').focus()")
    b.key("ArrowUp")
    equal(b.js("document.querySelector('.edit textarea').value"), "first")
    b.js("document.querySelector('.edit textarea').focus()")
    b.key("Escape")
    equal(b.js("document.querySelectorAll('.edit').length"), 0)


@test
def checks(b, mock):
    say(b, "check me")
    press(b, "Check this answer")
    b.wait("document.querySelector('.verdict.good')")
    asked, first = mock.asked[-1], mock.asked[-2]
    equal((asked["backend"], asked["stream"], asked["logits_sha256"]), ("cpu", False, True))
    equal((asked["seed"], asked["messages"], asked["model"]), (first["seed"], first["messages"], first["model"]))
    say(b, "these differ")
    press(b, "Check this answer")
    assert "Different" in b.wait("document.querySelector('.verdict.bad') && document.querySelector('.verdict.bad').textContent")


@test
def errors(b, mock):
    say(b, "refuse")
    equal(b.js("document.querySelector('.error').textContent"), "no room <b>here</b>")
    say(b, "break")
    assert b.js("[...document.querySelectorAll('.error')].pop().textContent").startswith("the engine was lost")
    press(b, "Again")
    b.wait("document.getElementById('send').textContent === 'Send'")


@test
def settings(b, mock):
    b.js("document.getElementById('settings-open').click()")
    b.wait("document.getElementById('set-temperature').placeholder === '0.8'")
    b.js("""for (const [id, value] of [['set-temperature', '0.25'], ['set-seed', '77'], ['set-max_tokens', '9'], ['system', 'Be brief.']]) {
        const e = document.getElementById(id); e.value = value; e.dispatchEvent(new Event('input')); }""")
    b.js("document.getElementById('theme').value = 'dark'; document.getElementById('theme').dispatchEvent(new Event('change'))")
    equal(b.js("getComputedStyle(document.body).backgroundColor"), "rgb(22, 25, 26)")
    b.js("document.querySelector('#settings menu .main').click()")
    say(b, "hello")
    asked = mock.asked[-1]
    equal((asked["temperature"], asked["seed"], asked["max_tokens"]), (0.25, 77, 9))
    equal(asked["messages"][0], {"role": "system", "content": "Be brief."})
    b.js("document.getElementById('reset').click(); document.getElementById('theme').value = ''; document.getElementById('theme').dispatchEvent(new Event('change'))")
    b.open(b.js("location.href"))
    equal(b.js("document.documentElement.dataset.theme || ''"), "")
    say(b, "hello")
    assert "temperature" not in mock.asked[-1] and mock.asked[-1]["messages"][0]["role"] == "user"


@test
def conversations(b, mock):
    say(b, "the red one")
    fresh(b)
    say(b, "the blue one")
    b.open(b.js("location.href"))
    b.wait("[...document.querySelectorAll('.entry .title')].some((e) => e.textContent === 'the red one')")
    b.js("(() => { const s = document.getElementById('search'); s.value = 'RED one'; s.dispatchEvent(new Event('input')); })()")
    equal(b.js("[...document.querySelectorAll('.entry .title')].map((e) => e.textContent)"), ["the red one"])
    b.js("document.querySelector('.entry .title').click()")
    equal(b.js("document.querySelector('.message.user .body').innerText"), "the red one")
    b.js("document.querySelector('.entry .act').click(); document.querySelector('.entry input').value = 'scarlet'")
    b.js("document.querySelector('.entry input').dispatchEvent(new Event('blur'))")
    exported = b.js("import('./store.js').then(async (s) => s.exported(await s.all()))")
    assert "scarlet" in exported and "the blue one" in exported
    b.js("(() => { const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input')); })()")
    n = b.js("document.querySelectorAll('.entry').length")
    b.js("[...document.querySelectorAll('.entry')].find((e) => e.innerText.includes('scarlet')).querySelectorAll('.act')[1].click()")
    b.wait("document.querySelectorAll('.entry').length === %d" % (n - 1))
    b.js("document.querySelector('#toast button').click()")
    b.wait("document.querySelectorAll('.entry').length === %d" % n)
    equal(b.js("""import('./store.js').then((s) => { const c = s.imported(%s);
        return [c.length, Object.keys(c[0].nodes).length > 0]; })""" % json.dumps(exported)), [n, True])
    for wrong in ['{}', '[]', 'x', '{"format": "lockstep-conversations", "conversations": [{"title": 1}]}',
                  '{"format": "lockstep-conversations", "conversations": [{"title": "", "nodes": {"aaaa": {"id": "aaaa", "parent": "aaaa", "content": "", "role": "user"}}}]}',
                  '{"format": "lockstep-conversations", "conversations": [{"title": "", "nodes": {"a": {"id": "__proto__", "parent": "", "content": "", "role": "user"}}}]}']:
        equal(b.js("import('./store.js').then((s) => { try { s.imported(%s); return 'taken'; } catch (e) { return 'refused'; } })" % json.dumps(wrong)), "refused")


@test
def narrow(b, mock):
    say(b, "hello")
    for width in (320, 390, 760, 1280):
        b.size(width, 800)
        b.wait("innerWidth === %d" % width)
        time.sleep(0.3)
        equal((width, b.js("document.documentElement.scrollWidth")), (width, width))
    b.size(390, 800)
    b.js("document.getElementById('side-open').click()")
    b.wait("document.getElementById('side').getBoundingClientRect().left === 0")
    b.key("Escape")
    b.wait("document.getElementById('side').getBoundingClientRect().right <= 0")
    b.size(1280, 800)
    unnamed = b.js("""[...document.querySelectorAll('button, input, select, textarea')].filter((e) =>
        !e.hidden && !e.textContent.trim() && !e.getAttribute('aria-label') && !e.labels?.length).map((e) => e.outerHTML)""")
    equal(unnamed, [])


def pictures(b, folder):
    os.makedirs(folder, exist_ok=True)
    for dark in (False, True):
        for width, height in ((390, 844), (1280, 800)):
            name = "%d-%s" % (width, "dark" if dark else "light")
            b.size(width, height, dark)
            fresh(b)
            time.sleep(0.3)
            b.picture(os.path.join(folder, name + "-empty.png"))
            say(b, "think about it")
            say(b, "tell me more, please, and do it in a way that takes more than one line of the page")
            b.js("document.getElementById('scroll').scrollTop -= 250")
            time.sleep(0.3)
            b.picture(os.path.join(folder, name + "-chat.png"))
            b.js("document.getElementById('scroll').scrollTop = 1e6")
            press(b, "Check this answer")
            b.wait("document.querySelector('.verdict')")
            b.js("document.getElementById('scroll').scrollTop = 1e6")
            time.sleep(0.3)
            b.picture(os.path.join(folder, name + "-end.png"))
            b.js("document.getElementById('settings-open').click()")
            time.sleep(0.2)
            b.picture(os.path.join(folder, name + "-settings.png"))
            b.js("document.getElementById('settings').close()")
            if width < 700:
                b.js("document.getElementById('side-open').click()")
                time.sleep(0.4)
                b.picture(os.path.join(folder, name + "-side.png"))
                b.key("Escape")


def chosen():
    names = os.environ.get("LK_PAGE_TESTS", "").split()
    return [t for t in TESTS if not names or t.__name__ in names]


def main():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        print("not run: the chat page in a browser: Chromium is not installed")
        print("[====] Synthesis: Tested: 1 | Passing: 1 | Failing: 0 | Crashing: 0")
        return 0
    driver = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE, text=True)
    mock = page_mock.start(int(driver.stdout.readline()))
    origin = "http://127.0.0.1:%d" % mock.server_address[1]
    failed = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        b = Browser(program, profile)
        try:
            b.size(1280, 800)
            for function in chosen():
                try:
                    b.open(origin + "/")
                    function(b, mock)
                    equal(b.faults(origin), [])
                except AssertionError as e:
                    failed += 1
                    b.faults(origin)
                    print("[FAIL] %s: %s" % (function.__name__, str(e)[:1500]))
            if len(sys.argv) > 2:
                b.open(origin + "/")
                pictures(b, sys.argv[2])
        finally:
            b.process.terminate()
            b.process.wait()
            driver.terminate()
            driver.wait()
    print("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0" %
          (len(chosen()), len(chosen()) - failed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
