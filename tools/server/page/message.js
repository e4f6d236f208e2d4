// SPDX-License-Identifier: Apache-2.0
//
// Message: one message as elements: its text, its thinking, its calls of tools, its buttons. Knows
// no server and no database; what a button does is told by whoever shows it.

import {Growing} from "./markdown.js";

export function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) {
        made.className = className;
    }
    if (text !== undefined) {
        made.textContent = text;
    }
    return made;
}

function button(label, title, act) {
    const made = element("button", "", label);
    made.type = "button";
    made.title = title;
    made.addEventListener("click", act);
    return made;
}

const short = (number) => number >= 100 ? number.toFixed(0) : number.toPrecision(2);

// "34 tokens/s, 212 tokens, first after 0.4 s"
function facts(node) {
    const t = node.timings, all = [];
    if (t && t.predicted_per_second) {
        all.push(short(t.predicted_per_second) + " tokens/s");
    }
    if (node.usage) {
        all.push(node.usage.completion_tokens + " tokens");
    }
    if (node.first) {
        all.push("first after " + (node.first / 1000).toFixed(1) + " s");
    }
    if (node.finish === "length") {
        all.push("cut at the limit");
    } else if (node.finish === "stopped") {
        all.push("stopped");
    }
    return all.join(", ");
}

// What is seen of a message; `acts` has what its buttons do. Returns {root, update(ended)}.
export function show(node, place, acts) {
    const root = element("article", "message " + node.role);
    root.dataset.id = node.id;
    root.setAttribute("aria-label", node.role === "user" ? "You" : "Answer");
    const view = {root, update() {}};
    if (node.role === "user") {
        showUser(node, root);
    } else {
        view.update = showAnswer(node, root, acts);
    }
    const tools = element("div", "tools");
    root.append(tools);
    view.finish = () => tools.replaceChildren(...buttons(node, place, acts, view));
    if (!acts.running(node)) {
        view.update(true);
        view.finish();
    }
    return view;
}

function showUser(node, root) {
    for (const file of node.files || []) {
        const fold = element("details", "file");
        fold.append(element("summary", "", file.name + " (" + file.text.length + " characters)"),
            element("pre", "", file.text));
        root.append(fold);
    }
    root.append(element("div", "body", node.content));
}

// Returns what brings the elements up to the message.
function showAnswer(node, root) {
    const thought = element("details", "thought"), title = element("summary", "", "Thinking");
    const inside = element("div"), calls = element("div"), body = element("div", "body");
    const error = element("div", "error");
    thought.append(title, inside);
    root.append(thought, body, calls, error);
    const thinking = new Growing(inside), text = new Growing(body);
    return (ended) => {
        thought.hidden = !node.reasoning;
        error.hidden = !node.error;
        error.textContent = node.error || "";
        if (node.reasoning) {
            title.textContent = ended || node.content ? "Thought" : "Thinking";
            thinking.put(node.reasoning, ended);
        }
        text.put(node.content, ended);
        body.classList.toggle("cursor", !ended);
        root.setAttribute("aria-busy", String(!ended));
        calls.replaceChildren(...(node.calls || []).filter(Boolean).map(showCall));
    };
}

function showCall(call) {
    const fold = element("details", "call");
    let text = call.arguments;
    try {
        text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
        // it is still coming, or is no JSON: shown as it is
    }
    fold.append(element("summary", "", "Calls " + call.name), element("pre", "", text));
    return fold;
}

// place: {at, of}: which branch of how many.
function buttons(node, place, acts, view) {
    const all = [];
    if (place.of > 1) {
        const before = button("\u2039", "The branch before", () => acts.branch(node, -1));
        const after = button("\u203a", "The next branch", () => acts.branch(node, 1));
        before.disabled = place.at === 0;
        after.disabled = place.at === place.of - 1;
        all.push(before, element("span", "", (place.at + 1) + "/" + place.of), after);
    }
    all.push(button("Copy", "Copy the text", () => acts.copy(node.content)));
    if (node.role === "user") {
        all.push(button("Edit", "Edit; the old text stays as a branch", () => edit(node, view, acts)));
        return all;
    }
    all.push(button("Again", "Another answer; this one stays as a branch", () => acts.again(node)));
    if (node.request && !node.error) {
        const check = button("Check this answer",
            "Repeats it on the CPU backend, with the same seed, and compares hashes of all logits",
            () => acts.check(node, view));
        check.disabled = !node.sha256;
        if (!node.sha256) {
            check.title = "There is no hash of this answer: it was stopped, or hashing is off";
        }
        all.push(check);
    }
    all.push(element("span", "facts", facts(node)));
    if (node.verdict) {
        all.push(element("span", "verdict " + (node.verdict.good ? "good" : "bad"), node.verdict.text));
    }
    return all;
}

function edit(node, view, acts) {
    const box = element("div", "edit"), field = element("textarea"), row = element("div", "row");
    const back = [...view.root.childNodes];
    const close = () => {
        view.root.classList.remove("edits");
        view.root.replaceChildren(...back);
    };
    const send = () => {
        if (field.value.trim()) {
            close();
            acts.edit(node, field.value);
        }
    };
    field.value = node.content;
    field.setAttribute("aria-label", "Edit the message");
    const ok = button("Send", "Send as a new branch (Enter)", send);
    ok.className = "main";
    row.append(button("Cancel", "Leave it as it is (Esc)", close), ok);
    field.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
            event.stopPropagation();
            close();
        } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            send();
        }
    });
    box.append(field, row);
    view.root.classList.add("edits");
    view.root.replaceChildren(box);
    field.focus();
}
