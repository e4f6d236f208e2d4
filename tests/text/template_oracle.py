# SPDX-License-Identifier: Apache-2.0
"""What the scripts about chat templates share: Jinja as Hugging Face's transformers sets it up, the
dialogues, and the program that renders with lockstep (template_driver.c). jinja2 is needed only
where `environment` is called."""
import datetime
import json
import subprocess

NOW = 1785000000  # 2026-07-25 17:20:00 UTC


class Driver:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ask("now", str(NOW).encode())

    def ask(self, command, data):
        """(True, text, marks) or (False, message, b"")"""
        pipe = self.process
        pipe.stdin.write(b"%s %d\n" % (command.encode(), len(data)))
        pipe.stdin.write(data)
        pipe.stdin.flush()
        line = pipe.stdout.readline()
        if not line:
            raise RuntimeError(f"the driver ended: {pipe.wait()}")
        word, length = line.split()
        text = pipe.stdout.read(int(length))
        good = word == b"ok"
        marks = pipe.stdout.read(int(length)) if good and command == "render" else b""
        return good, text, marks


def environment():
    import jinja2
    import jinja2.ext
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        """{% generation %}: its body, called as a macro is."""
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            call = self.call_method("_render")
            return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

        def _render(self, caller):
            return caller()

    class Space(jinja2.utils.Namespace):
        @staticmethod
        def check(names):
            if any(isinstance(n, str) and n.startswith("_") for n in names):
                raise jinja2.exceptions.SecurityError("underscore")

        def __init__(*args, **kwargs):
            values = dict(*args[1:], **kwargs)
            Space.check(values)
            jinja2.utils.Namespace.__init__(args[0], values)

        def __setitem__(self, name, value):
            Space.check([name])
            jinja2.utils.Namespace.__setitem__(self, name, value)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def strftime_now(form):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(
            tzinfo=None).strftime(form)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals.update(raise_exception=raise_exception, strftime_now=strftime_now, namespace=Space)
    return env


# ---- dialogues ---------------------------------------------------------------------------------


def tool(name, description, properties, required=()):
    return {"type": "function", "function": {
        "name": name, "description": description,
        "parameters": {"type": "object", "properties": properties, "required": list(required)}}}


WEATHER = tool("get_weather", "Current weather <b>\"now\"</b> & 'later'",
               {"city": {"type": "string", "description": "Name, as in Zürich"},
                "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
                "days": {"type": "integer", "minimum": 1, "maximum": 14}}, ["city"])
SEARCH = tool("search", "Finds\nthings",
              {"query": {"type": ["string", "null"]}, "limit": {"type": "number"},
               "filters": {"type": "object", "properties": {
                   "tags": {"type": "array", "items": {"type": "string"}},
                   "safe": {"type": "boolean"}}, "required": ["tags"]},
               "any": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}, ["query", "filters"])
EMPTY = tool("ping", "No parameters", {})


def call(name, arguments, number=1):
    return {"id": f"call_{number:05d}", "type": "function",
            "function": {"name": name, "arguments": arguments}}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def result(content, number=1, name="get_weather"):
    return {"role": "tool", "tool_call_id": f"call_{number:05d}", "name": name, "content": content}


def part(text):
    return {"type": "text", "text": text}


ASK = user("What's the weather in Paris?")
PARIS = {"city": "Paris", "unit": "c"}


def dialogues():
    """name: the variables that a template gets."""
    d = {}

    def add(name, messages, generate=True, **more):
        d[name] = {"messages": messages, "add_generation_prompt": generate,
                   "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>",
                   "unk_token": "<unk>", **more}

    add("user", [user("Hi")])
    add("system", [system(" Be brief.\n"), user("  One \n"), assistant("Two"), user("3")])
    add("no prompt", [user("One"), assistant("Two")], False)
    add("long", [system("S")] + [m for i in range(6) for m in (user(f"q{i}"), assistant(f"a{i}"))] +
        [user("last")])
    add("unicode", [system("Ünïcödé 漢字 😀"), user("e\u0301 \u2028 \u00a0 ß"), assistant("\t\"'\\"),
                    user("<|im_end|></s>[INST]<end_of_turn>")])
    add("tools", [system("S"), ASK], tools=[WEATHER, SEARCH])
    add("tools only", [ASK], tools=[WEATHER, EMPTY])
    add("call object", [ASK, assistant("", tool_calls=[call("get_weather", PARIS)])], False,
        tools=[WEATHER])
    add("call string", [ASK, assistant("", tool_calls=[call("get_weather", json.dumps(PARIS))]),
                        result('{"t": 21}')], tools=[WEATHER])
    add("call null", [ASK, assistant(None, tool_calls=[call("get_weather", PARIS)]),
                      result("21°C"), assistant("It is 21°C."), user("Thanks")], tools=[WEATHER])
    add("parallel", [system("S"), ASK,
                     assistant("Two at once.", tool_calls=[
                         call("get_weather", PARIS),
                         call("search", {"query": None, "filters": {"tags": ["a", "b"], "safe": True},
                                         "limit": 1.5, "n": [1, 2.0, {"x": []}]}, 2)]),
                     result("21"), result('[{"a": 1}]', 2, "search")], tools=[WEATHER, SEARCH])
    add("calls again", [ASK, assistant("", tool_calls=[call("ping", {})]), result("pong", 1, "ping"),
                        assistant("", tool_calls=[call("get_weather", {"city": "Rom"}, 2)]),
                        result("25", 2), assistant("25 in Rome."), user("And Oslo?")],
        tools=[EMPTY, WEATHER])
    add("thinking", [user("1+1?"), assistant("2", reasoning_content="Easy.\nOne more."),
                     user("2+2?")], enable_thinking=True)
    add("no thinking", [system("S"), user("1+1?")], enable_thinking=False)
    add("inline thinking", [user("1+1?"), assistant("<think>\nEasy.\n</think>\n\n2"), user("2+2?"),
                            assistant("<think>x</think>4"), user("?")])
    add("thinking call", [user("?"), assistant("", reasoning_content="Ask.", thinking="Ask.",
                                               tool_calls=[call("get_weather", PARIS)]),
                          result("21")], tools=[WEATHER], reasoning_effort="high")
    add("parts", [system([part("Be"), part(" brief")]), user([part("One"), part("Two")]),
                  assistant([part("Three")]), user([part("Four")])])
    add("image", [user([{"type": "image", "image": "x.png"}, part("What is this?")]),
                  assistant("A cat."), user("Sure?")])
    add("documents", [system("S"), user("Who?")],
        documents=[{"title": "T1", "text": "First\ntext", "doc_id": "1"},
                   {"title": "T2", "text": "Second", "url": "http://x"}])
    add("developer", [{"role": "developer", "content": "D"}, user("Hi"), assistant("Ho"),
                      user("Hu")])
    add("date", [system("S"), user("When?")], date_string="01 Jan 2020", tools=None, documents=None)
    add("names", [{"role": "user", "content": "Hi", "name": "Al"},
                  {"role": "assistant", "content": "Ho", "name": "Bo"}, user("?")],
        builtin_tools=["python", "brave_search"], custom_tools=[WEATHER], tools_in_user_message=False)
    add("strange", [user("x"), {"role": "ghost", "content": "boo"}])
    add("two users", [user("a"), user("b")])
    add("empty", [user("")])
    return d
