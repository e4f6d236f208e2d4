#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clients_check.py SET URL: the checks of one client, in the environment that has it.

What a client makes of an answer is compared with what it makes of the same answer as a stream, and
of the same request by another API. Prints [PASS] or [FAIL] for each check.
"""
import json
import sys
import time
import urllib.error
import urllib.request

SET, URL = sys.argv[1], sys.argv[2]
CHECKS = []
TEXT = "Tell me a long story about a fox in the capital of France."
ASK = [{"role": "user", "content": TEXT}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}},
          "required": ["city"], "additionalProperties": False}
PARAMETERS = {"type": "object", "properties": {"x": {"type": "integer", "minimum": 0,
                                                     "maximum": 9}},
              "required": ["x"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "pick", "description": "Picks a number.",
                                         "parameters": PARAMETERS}}


def check(*sets):
    """A check of these sets."""
    def add(fn):
        if SET in sets:
            CHECKS.append(fn)
        return fn
    return add


def post(path, body):
    """A request without any client: the status and what came."""
    request = urllib.request.Request(URL + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=300) as r:
            return r.status, json.load(r)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


def plain(n=12, **more):
    """The text that the server gives for TEXT, asked for without a client."""
    status, r = post("/v1/chat/completions",
                     {"messages": ASK, "max_tokens": n, "temperature": 0, **more})
    assert status == 200, r
    return r["choices"][0]["message"]["content"]


def refused(fn, *words):
    """What a call is refused with; its message has these words."""
    try:
        fn()
    except Exception as e:  # pylint: disable=broad-except
        assert getattr(e, "status_code", 400) == 400, e
        assert all(w in str(e) for w in words), e
        return e
    raise AssertionError("was not refused")


# ---- Python alone ----

def events(path, body):
    """The JSON objects of a stream, of events or of lines."""
    request = urllib.request.Request(URL + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as r:
        lines = [line.strip() for line in r]
    lines = [line[6:] if line.startswith(b"data: ") else line for line in lines]
    return [json.loads(line) for line in lines if line.startswith(b"{")]


@check("alone")
def one_text_by_every_api():
    """The same dialogue, whole and as a stream, by the APIs of three makers."""
    text = plain()
    small = {"temperature": 0}
    chat_body = {"messages": ASK, "max_tokens": 12, **small}
    assert "".join(c["delta"].get("content", "") for e in events(
        "/v1/chat/completions", {"stream": True, **chat_body}) for c in e["choices"]) == text
    status, r = post("/v1/messages", chat_body)
    assert status == 200 and r["content"][0]["text"] == text, r
    assert "".join(e["delta"].get("text", "") for e in events(
        "/v1/messages", {"stream": True, **chat_body}) if "delta" in e) == text
    body = {"input": TEXT, "max_output_tokens": 12, **small}
    status, r = post("/v1/responses", body)
    assert status == 200 and r["output"][0]["content"][0]["text"] == text, r
    assert "".join(e["delta"] for e in events(
        "/v1/responses", {"stream": True, **body}) if "delta" in e) == text
    body = {"messages": ASK, "options": {"num_predict": 12, **small}}
    status, r = post("/api/chat", {"stream": False, **body})
    assert status == 200 and r["message"]["content"] == text, r
    assert "".join(e["message"]["content"] for e in events("/api/chat", body)) == text
    status, r = post("/apply-template", {"messages": ASK})
    status, r = post("/completion", {"prompt": r["prompt"], "n_predict": 12, **small})
    assert status == 200 and r["content"] == text, r


@check("alone")
def one_hash_by_every_api():
    """The logits behind an answer are the same, whoever asks."""
    more = {"temperature": 0, "logits_sha256": True}
    hashes = {post("/v1/chat/completions",
                   {"messages": ASK, "max_tokens": 4, **more})[1]["choices"][0]["logits_sha256"],
              post("/v1/messages", {"messages": ASK, "max_tokens": 4, **more})[1]["logits_sha256"],
              post("/v1/responses",
                   {"input": TEXT, "max_output_tokens": 4, **more})[1]["logits_sha256"],
              post("/api/generate", {"prompt": TEXT, "stream": False, "logits_sha256": True,
                                     "options": {"temperature": 0, "num_predict": 4}})[1][
                                         "logits_sha256"]}
    assert len(hashes) == 1, hashes


@check("alone")
def failed_answers():
    """An answer that can't be written is an error by its status, or ends its stream."""
    never = {"max_tokens": 4, "grammar": "root ::= <[100]>", "logit_bias": {"100": False}}
    for path, body in [("/v1/chat/completions", {"messages": ASK, **never}),
                       ("/v1/completions", {"prompt": "Hi", **never}),
                       ("/v1/messages", {"messages": ASK, **never}),
                       ("/completion", {"prompt": "Hi", **never})]:
        status, r = post(path, body)
        assert status == 400 and "-inf" in r["error"]["message"], (path, status, r)
        last = events(path, {"stream": True, **body})[-1]
        assert "-inf" in last["error"]["message"], (path, last)


@check("alone")
def counted_tokens():
    status, r = post("/v1/messages/count_tokens", {"messages": ASK})
    assert status == 200
    assert r["input_tokens"] == post("/v1/chat/completions", {
        "messages": ASK, "max_tokens": 1})[1]["usage"]["prompt_tokens"]


@check("alone")
def refusals_by_field():
    """Each API's own form of an error, with the field."""
    for path, body, field in [
            ("/v1/chat/completions", {"messages": ASK, "top_p": 2}, "top_p"),
            ("/v1/completions", {"prompt": "a", "n": 0}, "n"),
            ("/v1/embeddings", {}, "input"),
            ("/v1/responses", {"input": 1}, "input"),
            ("/v1/messages", {"messages": ASK}, "max_tokens"),
            ("/v1/messages/count_tokens", {"messages": 1}, "messages"),
            ("/api/chat", {"messages": ASK, "format": 1}, "format"),
            ("/api/generate", {"prompt": 1}, "prompt"),
            ("/api/embed", {}, "input"),
            ("/completion", {"prompt": "a", "n_probs": -1}, "n_probs")]:
        status, r = post(path, body)
        message = r["error"] if isinstance(r["error"], str) else r["error"]["message"]
        assert status == 400 and message.startswith(field + ":"), (path, status, r)


# ---- openai ----

def openai_client():
    """OpenAI's client."""
    import openai
    return openai.OpenAI(base_url=URL + "/v1", api_key="none", max_retries=0, timeout=300)


@check("openai", "openai-1")
def models():
    names = [m.id for m in openai_client().models.list()]
    assert names == ["small"], names
    assert openai_client().models.retrieve("small").id == "small"


@check("openai", "openai-1")
def chat():
    c = openai_client()
    r = c.chat.completions.create(model="small", messages=ASK, max_tokens=12, temperature=0,
                                  extra_body={"logits_sha256": True})
    assert r.choices[0].message.role == "assistant" and r.choices[0].finish_reason == "length"
    assert r.usage.completion_tokens == 12
    assert r.usage.total_tokens == r.usage.prompt_tokens + 12
    text, ids, last, usage = "", set(), None, None
    for chunk in c.chat.completions.create(model="small", messages=ASK, max_tokens=12,
                                           temperature=0, stream=True,
                                           stream_options={"include_usage": True},
                                           extra_body={"logits_sha256": True}):
        ids.add(chunk.id)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            last = choice if choice.finish_reason else last
    assert text == r.choices[0].message.content == plain()
    assert len(ids) == 1 and last.finish_reason == "length"
    assert last.logits_sha256 == r.choices[0].logits_sha256
    assert usage.completion_tokens == 12 and usage.prompt_tokens == r.usage.prompt_tokens


@check("openai", "openai-1")
def several_answers():
    c = openai_client()

    def ask():
        return [x.message.content for x in c.chat.completions.create(
            model="small", messages=ASK, max_tokens=8, temperature=1.0, seed=7, n=3).choices]
    first = ask()
    assert len(first) == 3 and len(set(first)) > 1 and ask() == first, first


@check("openai", "openai-1")
def logprobs():
    r = openai_client().chat.completions.create(model="small", messages=ASK, max_tokens=4,
                                                temperature=0, logprobs=True, top_logprobs=3)
    tokens = r.choices[0].logprobs.content
    assert len(tokens) == 4
    for t in tokens:
        assert len(t.top_logprobs) == 3 and t.top_logprobs[0].logprob == t.logprob <= 0
    text = b"".join(bytes(t.bytes) for t in tokens).decode(errors="replace")
    assert text.strip() == r.choices[0].message.content.strip(), text


@check("openai", "openai-1")
def stop():
    whole = plain(12)
    word = whole.split()[-2]
    r = openai_client().chat.completions.create(model="small", messages=ASK, max_tokens=12,
                                                temperature=0, stop=[word, "<never>"])
    assert r.choices[0].finish_reason == "stop"
    assert r.choices[0].message.content == whole[:whole.index(word)]


@check("openai", "openai-1")
def schema():
    r = openai_client().chat.completions.create(
        model="small", messages=ASK, max_tokens=60, temperature=0,
        response_format={"type": "json_schema",
                         "json_schema": {"name": "city", "strict": True, "schema": SCHEMA}})
    assert list(json.loads(r.choices[0].message.content)) == ["city"]


@check("openai", "openai-1")
def tools():
    c = openai_client()
    how = {"model": "small", "messages": ASK, "max_tokens": 80, "temperature": 0, "tools": [TOOL],
           "tool_choice": {"type": "function", "function": {"name": "pick"}},
           "parallel_tool_calls": False}
    r = c.chat.completions.create(**how)
    call = r.choices[0].message.tool_calls[0]
    assert r.choices[0].finish_reason == "tool_calls" and call.function.name == "pick"
    assert 0 <= json.loads(call.function.arguments)["x"] <= 9
    text, ids = "", []
    for chunk in c.chat.completions.create(stream=True, **how):
        for piece in chunk.choices[0].delta.tool_calls or []:
            text += piece.function.arguments or ""
            ids += [piece.id] if piece.id else []
    assert text == call.function.arguments and len(ids) == 1
    again = ASK + [r.choices[0].message.model_dump(exclude_none=True),
                   {"role": "tool", "tool_call_id": call.id, "content": "done"}]
    r = c.chat.completions.create(model="small", messages=again, max_tokens=4, tools=[TOOL])
    assert r.usage.completion_tokens <= 4


@check("openai", "openai-1")
def refusals():
    c = openai_client()
    e = refused(lambda: c.chat.completions.create(
        model="small", messages=[{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "x"}}]}]), "image_url")
    assert e.param == "messages[0].content[0].type", e.param
    e = refused(lambda: c.chat.completions.create(model="small", messages=ASK, temperature=-1))
    assert e.param == "temperature"
    refused(lambda: c.chat.completions.create(
        model="small", messages=[{"role": "user", "content": "a " * 9000}]), "context")


@check("openai", "openai-1")
def completions():
    c = openai_client()
    r = c.completions.create(model="small", prompt=["One, two,", "Red, green,"], max_tokens=4,
                             temperature=0, logprobs=2)
    assert [x.index for x in r.choices] == [0, 1] and r.usage.completion_tokens == 8
    assert len(r.choices[0].logprobs.tokens) == 4
    text = "".join(x.choices[0].text for x in c.completions.create(
        model="small", prompt="One, two,", max_tokens=4, temperature=0, stream=True))
    assert text == r.choices[0].text
    status, native = post("/completion", {"prompt": "One, two,", "n_predict": 4, "temperature": 0})
    assert status == 200 and native["content"] == text, native
    r = c.completions.create(model="small", prompt="One, two,", max_tokens=4, temperature=0,
                             echo=True)
    assert r.choices[0].text == "One, two," + text


@check("openai")
def responses():
    c = openai_client()
    r = c.responses.create(model="small", input=TEXT, max_output_tokens=12, temperature=0)
    assert r.output_text == plain() and r.status == "incomplete"
    with c.responses.stream(model="small", input=TEXT, max_output_tokens=12,
                            temperature=0) as stream:
        events = list(stream)
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert events[-1].type == "response.incomplete"
    whole = events[-1].response
    assert text == whole.output_text == r.output_text
    assert whole.usage.output_tokens == r.usage.output_tokens == 12
    refused(lambda: c.responses.create(model="small", input=TEXT, previous_response_id="x"),
            "stores nothing")


@check("openai", "openai-1")
def edits_as_aider_asks():
    """Streams of a growing dialogue with a long system text: each turn reuses the one before."""
    c = openai_client()
    messages = [{"role": "system", "content": "Act as an expert software developer. " * 20
                 + "Answer with SEARCH/REPLACE blocks."},
                {"role": "user", "content": "I have these files:\n\na.py\n```\nx = 1\n```"},
                {"role": "assistant", "content": "Ok."},
                {"role": "user", "content": "Make x 2."}]
    for turn in range(3):
        text, usage = "", None
        for chunk in c.chat.completions.create(model="small", messages=messages, max_tokens=16,
                                               temperature=0, stream=True,
                                               stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        assert text and (turn == 0 or usage.prompt_tokens_details.cached_tokens > 64), usage
        messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "More."}]


@check("openai")
def gone():
    """A client that goes ends its answer: the next one does not wait for it."""
    c = openai_client()
    stream = c.chat.completions.create(model="small", messages=ASK, max_tokens=2000, stream=True,
                                       extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    before = time.time()
    while json.loads(urllib.request.urlopen(URL + "/slots", timeout=60).read()):
        assert time.time() < before + 20, "it is still written"
        time.sleep(0.1)


# ---- anthropic ----

def anthropic_client():
    """Anthropic's client."""
    import anthropic
    return anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0, timeout=300)


@check("anthropic")
def messages():
    c = anthropic_client()
    how = {"model": "small", "max_tokens": 12, "messages": ASK,
           "extra_body": {"temperature": 0}}
    r = c.messages.create(**how)
    assert r.content[0].text == plain() and r.stop_reason == "max_tokens"
    with c.messages.stream(**how) as stream:
        text = "".join(stream.text_stream)
        whole = stream.get_final_message()
    assert text == r.content[0].text and whole.stop_reason == "max_tokens"
    assert whole.usage.output_tokens == r.usage.output_tokens == 12
    counted = c.messages.count_tokens(model="small", messages=ASK).input_tokens
    assert counted == r.usage.input_tokens + r.usage.cache_read_input_tokens


@check("anthropic")
def system_and_prefill():
    r = anthropic_client().messages.create(
        model="small", max_tokens=6, extra_body={"temperature": 0},
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=ASK + [{"role": "assistant", "content": "The capital of France is"}])
    assert not r.content[0].text.startswith("The capital"), r.content


@check("anthropic")
def stop_sequences():
    whole = plain(12)
    word = whole.split()[-2]
    r = anthropic_client().messages.create(model="small", max_tokens=12, messages=ASK,
                                           stop_sequences=["<never>", word],
                                           extra_body={"temperature": 0})
    assert r.stop_reason == "stop_sequence" and r.stop_sequence == word, r
    assert r.content[0].text == whole[:whole.index(word)]


@check("anthropic")
def message_tools():
    c = anthropic_client()
    tool = {"name": "pick", "description": "Picks a number.", "input_schema": PARAMETERS}
    how = {"model": "small", "max_tokens": 80, "messages": ASK, "tools": [tool],
           "tool_choice": {"type": "tool", "name": "pick", "disable_parallel_tool_use": True},
           "extra_body": {"temperature": 0}}
    r = c.messages.create(**how)
    use = [b for b in r.content if b.type == "tool_use"][0]
    assert r.stop_reason == "tool_use" and 0 <= use.input["x"] <= 9
    with c.messages.stream(**how) as stream:
        whole = stream.get_final_message()
    assert [b for b in whole.content if b.type == "tool_use"][0].input == use.input
    r = c.messages.create(model="small", max_tokens=4, tools=[tool], messages=ASK + [
        {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in r.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id,
                                      "content": "done"}]}])
    assert r.usage.output_tokens <= 4


@check("anthropic")
def message_refusals():
    c = anthropic_client()
    refused(lambda: c.messages.create(model="small", max_tokens=0, messages=ASK), "max_tokens")
    refused(lambda: c.messages.create(model="small", max_tokens=5, messages=[
        {"role": "user", "content": [{"type": "image", "source": {
            "type": "url", "url": "x"}}]}]), "messages[0].content[0].type", "image")


# ---- ollama ----

def ollama_client():
    """Ollama's client."""
    import ollama
    return ollama.Client(URL)


@check("ollama")
def ollama_models():
    c = ollama_client()
    assert [m.model for m in c.list().models] == ["small"]
    assert c.show("small").details.format == "gguf"
    assert [m.model for m in c.ps().models] == ["small"]
    assert c.generate("small", "").done_reason == "load"


@check("ollama")
def ollama_chat():
    c = ollama_client()
    how = {"model": "small", "messages": ASK, "options": {"temperature": 0, "num_predict": 12}}
    r = c.chat(**how)
    assert r.message.content == plain() and r.done_reason == "length" and r.eval_count == 12
    parts = list(c.chat(stream=True, **how))
    assert "".join(p.message.content for p in parts) == r.message.content
    assert parts[-1].done and parts[-1].eval_duration > 0 and not parts[0].done


@check("ollama")
def ollama_generate():
    c = ollama_client()
    how = {"temperature": 0, "num_predict": 12}
    r = c.generate("small", TEXT, options=how)
    assert r.response == plain()
    text = "".join(p.response for p in c.generate("small", TEXT, options=how, stream=True))
    assert text == r.response
    r = c.generate("small", TEXT, options={"temperature": 0, "num_predict": 60}, format=SCHEMA)
    assert list(json.loads(r.response)) == ["city"]
    assert c.generate("small", "One, two,", raw=True, options=how).response


@check("ollama")
def ollama_refusals():
    c = ollama_client()
    refused(lambda: c.chat("small", [{"role": "user", "content": "a", "images": ["aGk="]}]),
            "messages[0].images")
    refused(lambda: c.chat("small", ASK, options={"temperature": -1}), "options.temperature")


# ---- langchain ----

def langchain_client(n=12):
    """LangChain's model over OpenAI's API."""
    from langchain_openai import ChatOpenAI
    return ChatOpenAI(base_url=URL + "/v1", api_key="none", model="small", temperature=0,
                      max_tokens=n, max_retries=0, timeout=300)


@check("langchain")
def langchain_chat():
    m = langchain_client()
    r = m.invoke(TEXT)
    assert r.content == plain() and r.usage_metadata["output_tokens"] == 12
    whole = None
    for chunk in m.stream(TEXT):
        whole = chunk if whole is None else whole + chunk
    assert whole.content == r.content


@check("langchain")
def langchain_structure():
    m = langchain_client(80)
    r = m.with_structured_output({"title": "city", **SCHEMA}, method="json_schema").invoke(TEXT)
    assert list(r) == ["city"], r


@check("langchain")
def langchain_tools():
    m = langchain_client(80).bind_tools([TOOL], tool_choice="pick")
    r = m.invoke(TEXT)
    assert r.tool_calls[0]["name"] == "pick" and 0 <= r.tool_calls[0]["args"]["x"] <= 9
    whole = None
    for chunk in m.stream(TEXT):
        whole = chunk if whole is None else whole + chunk
    assert whole.tool_calls[0]["args"] == r.tool_calls[0]["args"]


def main():
    """Runs the checks of the set."""
    failed = 0
    for fn in CHECKS:
        try:
            fn()
            print("[PASS] %s: %s" % (SET, fn.__name__))
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            where = e.__traceback__
            while where.tb_next and where.tb_next.tb_frame.f_code.co_filename == __file__:
                where = where.tb_next
            print("[FAIL] %s: %s: line %d: %s: %s" % (SET, fn.__name__, where.tb_lineno,
                                                     type(e).__name__, str(e)[:300]))
        sys.stdout.flush()
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
