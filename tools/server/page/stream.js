// SPDX-License-Identifier: Apache-2.0
//
// Stream: what the server is asked, and its answers as they come.

export class Refusal extends Error {
    constructor(message, status) {
        super(message);
        this.status = status;
    }
}

function headers(key) {
    const all = {"Content-Type": "application/json"};
    if (key) {
        all.Authorization = "Bearer " + key;
    }
    return all;
}

async function refusal(response) {
    let text = response.status + " " + response.statusText;
    try {
        const body = await response.json();
        text = (body.error && body.error.message) || text;
    } catch {
        // the status says enough
    }
    return new Refusal(text, response.status);
}

export async function get(path, key) {
    const response = await fetch(path, {headers: headers(key)});
    if (!response.ok) {
        throw await refusal(response);
    }
    return response.json();
}

export async function ask(body, key, signal) {
    const response = await fetch("v1/chat/completions",
        {method: "POST", headers: headers(key), body: JSON.stringify(body), signal});
    if (!response.ok) {
        throw await refusal(response);
    }
    return response;
}

// Events of a text/event-stream as objects, until [DONE].
export async function* events(response) {
    const reader = response.body.getReader(), decoder = new TextDecoder();
    let rest = "";
    for (;;) {
        const {value, done} = await reader.read();
        rest += done ? decoder.decode() : decoder.decode(value, {stream: true});
        const lines = rest.split(/\r?\n/);
        rest = lines.pop();
        for (const line of lines) {
            if (!line.startsWith("data:")) {
                continue; // a comment keeps the connection
            }
            const data = line.slice(5).trim();
            if (data === "[DONE]") {
                return;
            }
            const event = JSON.parse(data);
            if (event.error) {
                throw new Refusal(event.error.message || "the answer failed", 500);
            }
            yield event;
        }
        if (done) {
            throw new Refusal("the connection ended before the answer", 0);
        }
    }
}

// Adds what an event says to an answer: {content, reasoning, calls, ...}.
export function take(answer, event) {
    const choice = (event.choices || [])[0];
    if (event.usage) {
        answer.usage = event.usage;
    }
    if (event.timings) {
        answer.timings = event.timings;
    }
    if (event.system_fingerprint) {
        answer.fingerprint = event.system_fingerprint;
    }
    if (!choice) {
        return;
    }
    const delta = choice.delta || choice.message || {};
    answer.content += delta.content || "";
    answer.reasoning += delta.reasoning_content || delta.reasoning || "";
    for (const call of delta.tool_calls || []) {
        const at = call.index ?? answer.calls.length;
        const known = answer.calls[at] || (answer.calls[at] = {name: "", arguments: ""});
        known.name += (call.function && call.function.name) || "";
        known.arguments += (call.function && call.function.arguments) || "";
    }
    answer.finish = choice.finish_reason || answer.finish;
    answer.sha256 = choice.logits_sha256 || answer.sha256;
}
