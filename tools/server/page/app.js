// SPDX-License-Identifier: Apache-2.0
//
// App: the chat page: what is shown, what is running, what keys and buttons do.

import * as store from "./store.js";
import * as panel from "./settings.js";
import {ask, events, get, take} from "./stream.js";
import {element, show} from "./message.js";
import {rich} from "./markdown.js";

const $ = (name) => document.getElementById(name);
const settings = panel.settings;
let conversations = [], current = store.fresh(), running = null, props = {}, files = [];
let views = new Map();

// ---- small things ----

let toastTimer = 0;
function toast(text, label, act) {
    const box = $("toast");
    box.replaceChildren(text);
    if (label) {
        const button = element("button", "", label);
        button.addEventListener("click", () => {
            box.hidden = true;
            act();
        });
        box.append(" ", button);
    }
    box.hidden = false;
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => { box.hidden = true; }, label ? 8000 : 4000);
}

async function copy(text) {
    try {
        await navigator.clipboard.writeText(text);
    } catch { // not allowed off the loopback without TLS
        const field = element("textarea");
        field.value = text;
        document.body.append(field);
        field.select();
        document.execCommand("copy");
        field.remove();
    }
    toast("Copied");
}

async function save(conversation) {
    try {
        await store.put(conversation);
    } catch (error) {
        toast("This browser does not keep conversations: " + error.message);
    }
}

function theme() {
    if (settings.theme) {
        document.documentElement.dataset.theme = settings.theme;
    } else {
        delete document.documentElement.dataset.theme;
    }
}

// ---- the list ----

function drawList() {
    const wanted = $("search").value.trim().toLowerCase();
    const found = conversations.filter((c) => !wanted || store.text(c).includes(wanted));
    $("list").replaceChildren(...found.map((c) => {
        const entry = element("div", "entry" + (c.id === current.id ? " on" : ""));
        const title = element("button", "title", c.title || "Untitled");
        const rename = element("button", "icon act", "\u270e"), gone = element("button", "icon act", "\u2715");
        title.title = c.title;
        title.addEventListener("click", () => open(c));
        rename.title = "Rename";
        rename.setAttribute("aria-label", "Rename " + c.title);
        rename.addEventListener("click", () => renameIn(entry, c));
        gone.title = "Delete";
        gone.setAttribute("aria-label", "Delete " + c.title);
        gone.addEventListener("click", () => removeConversation(c));
        entry.append(title, rename, gone);
        return entry;
    }));
    if (!found.length) {
        $("list").append(element("p", "dim", wanted ? "Nothing found" : ""));
    }
}

function renameIn(entry, c) {
    const field = element("input");
    field.value = c.title;
    field.setAttribute("aria-label", "Name of the conversation");
    const done = (keep) => {
        if (keep && field.value.trim()) {
            c.title = field.value.trim();
            save(c);
        }
        drawList();
    };
    field.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === "Escape") {
            event.stopPropagation();
            done(event.key === "Enter");
        }
    });
    field.addEventListener("blur", () => done(true));
    entry.replaceChildren(field);
    field.select();
}

async function removeConversation(c) {
    if (running && running.conversation === c) {
        running.stop.abort();
    }
    conversations = conversations.filter((other) => other !== c);
    await store.remove(c.id);
    if (current === c) {
        open(store.fresh());
    }
    drawList();
    toast("Deleted", "Undo", () => {
        conversations.unshift(c);
        save(c);
        drawList();
    });
}

function open(c) {
    current = c;
    side(false);
    drawList();
    draw();
    $("scroll").scrollTop = $("scroll").scrollHeight;
    $("input").focus({preventScroll: true});
}

function side(opened) {
    $("side").classList.toggle("open", opened);
    $("shade").hidden = !opened;
}

// ---- messages ----

function draw() {
    const path = store.path(current), box = $("messages");
    views = new Map();
    if (!path.length) {
        const empty = element("div", "empty");
        empty.append(element("h1", "", "What shall we talk about?"),
            element("p", "", "Every answer here can be repeated, bit by bit, and checked."));
        box.replaceChildren(empty);
    } else {
        box.replaceChildren(...path.map((node) => {
            const branches = store.children(current, node.parent);
            const place = {at: branches.indexOf(node), of: branches.length};
            const view = show(node, place, acts);
            views.set(node.id, view);
            return view.root;
        }));
        if (running && views.has(running.node.id)) {
            views.get(running.node.id).update(false);
        }
    }
    meter();
}

function meter() {
    const last = store.path(current).filter((n) => n.usage).pop();
    const used = last ? last.usage.total_tokens ?? last.usage.prompt_tokens + last.usage.completion_tokens : 0;
    $("meter").textContent = used && props.n_ctx ?
        used.toLocaleString("en") + " of " + props.n_ctx.toLocaleString("en") + " tokens" :
        used ? used.toLocaleString("en") + " tokens" : "";
}

const acts = {
    running: (node) => Boolean(running && running.node === node),
    copy,
    branch(node, step) {
        const branches = store.children(current, node.parent);
        current.chosen[node.parent] = branches[branches.indexOf(node) + step].id;
        save(current);
        draw();
    },
    edit(node, text) {
        if (!busy()) {
            store.add(current, node.parent, {role: "user", content: text, files: node.files});
            answer();
        }
    },
    again(node) {
        if (!busy()) {
            current.chosen[node.parent] = "";
            answer(node.parent);
        }
    },
    check,
};

function busy() {
    if (running) {
        toast("An answer is being written: stop it first (Esc)");
    }
    return Boolean(running);
}

// ---- asking ----

function contentOf(node) {
    const parts = (node.files || []).map((f) => "File " + f.name + ":\n```\n" + f.text + "\n```\n");
    return [...parts, node.content].join("\n");
}

function messagesTo(c, last, system) {
    const all = [];
    for (let at = c.nodes[last]; at; at = c.nodes[at.parent]) {
        all.unshift({role: at.role, content: contentOf(at)});
    }
    if (system) {
        all.unshift({role: "system", content: system});
    }
    return all;
}

const randomSeed = () => {
    const parts = crypto.getRandomValues(new Uint32Array(2));
    return (parts[0] & 0xfffff) * 0x100000000 + parts[1];
};

// The next answer after message `parent` of the branch that is looked at.
async function answer(parent) {
    const c = current, stop = new AbortController();
    parent = parent ?? store.path(c).pop().id;
    const request = {model: $("model").value || undefined, seed: randomSeed(), ...settings.sampling,
        system: c.system};
    const node = store.add(c, parent, {role: "assistant", content: "", reasoning: "", calls: [], request});
    running = {conversation: c, node, stop};
    if (!conversations.includes(c)) {
        conversations.unshift(c);
    }
    c.title = c.title || store.path(c)[0].content.trim().replace(/\s+/g, " ").slice(0, 60);
    save(c);
    drawList();
    draw();
    follow(true);
    buttons();
    await write(c, node, messagesTo(c, parent, c.system), stop.signal);
    running = null;
    save(c);
    buttons();
    if (current === c) {
        finishView(node);
        follow(false);
    }
}

function finishView(node) {
    const view = views.get(node.id);
    if (view) {
        view.update(true);
        view.finish();
    }
    meter();
}

async function write(c, node, messages, signal) {
    const {system, ...asked} = node.request, began = performance.now();
    let frame = 0, error = null;
    const drawNode = () => {
        frame = 0;
        const view = current === c && views.get(node.id);
        if (view && running && running.node === node) {
            view.update(false);
            follow(false);
        }
    };
    state("waiting");
    try {
        const response = await ask({...asked, messages, stream: true, timings: true,
            stream_options: {include_usage: true}, logits_sha256: settings.hashed}, settings.key, signal);
        for await (const event of events(response)) {
            take(node, event);
            if (!node.first && (node.content || node.reasoning)) {
                node.first = performance.now() - began;
                state("");
            }
            frame = frame || requestAnimationFrame(drawNode);
        }
    } catch (caught) {
        error = caught;
    }
    cancelAnimationFrame(frame);
    state("");
    if (signal.aborted) {
        node.finish = "stopped";
    } else if (error) {
        node.error = error.message;
        if (error.status === 401) {
            $("settings").showModal();
            $("key").focus();
        }
    }
}

// Repeats an answer on the CPU and compares hashes of the logits of all its tokens.
async function check(node, view) {
    if (busy()) {
        return;
    }
    const {system, ...asked} = node.request, c = current;
    const told = (good, text) => {
        node.verdict = {good, text};
        save(c);
        view.finish();
    };
    running = {conversation: c, node: {}, stop: new AbortController()};
    buttons();
    state("checking: the answer is written again on the CPU");
    try {
        const response = await ask({...asked, messages: messagesTo(c, node.parent, system), stream: false,
            logits_sha256: true, backend: "cpu"}, settings.key, running.stop.signal);
        const body = await response.json(), choice = body.choices[0];
        const content = (choice.message && choice.message.content) || "";
        if (!choice.logits_sha256) {
            told(false, "The server sent no hash");
        } else if (choice.logits_sha256 === node.sha256 && content === node.content) {
            told(true, "Same bits: logits SHA-256 " + node.sha256 +
                (body.system_fingerprint ? ", " + body.system_fingerprint : ""));
        } else if (body.system_fingerprint && node.fingerprint && body.system_fingerprint !== node.fingerprint) {
            told(false, "Another model or version answers now: " + body.system_fingerprint + ", then " + node.fingerprint);
        } else {
            told(false, "Different: logits SHA-256 " + choice.logits_sha256 + ", then " + node.sha256);
        }
    } catch (error) {
        if (!running.stop.signal.aborted) {
            told(false, "Not checked: " + error.message);
        }
    }
    running = null;
    state("");
    buttons();
}

// ---- the field ----

function buttons() {
    $("send").textContent = running ? "Stop" : "Send";
    $("send").title = running ? "Stop (Esc)" : "Send (Enter)";
}

function grow() {
    const field = $("input");
    field.style.height = "auto";
    field.style.height = field.scrollHeight + "px";
}

function send() {
    const text = $("input").value;
    if ((!text.trim() && !files.length) || busy()) {
        return;
    }
    const last = store.path(current).pop();
    store.add(current, last ? last.id : "", {role: "user", content: text, files});
    files = [];
    drawFiles();
    $("input").value = "";
    grow();
    answer();
}

function drawFiles() {
    $("files").replaceChildren(...files.map((file) => {
        const chip = element("span", "chip", file.name + ", about " +
            Math.ceil(file.text.length / 4).toLocaleString("en") + " tokens ");
        const gone = element("button", "", "\u2715");
        gone.type = "button";
        gone.setAttribute("aria-label", "Leave out " + file.name);
        gone.addEventListener("click", () => {
            files = files.filter((other) => other !== file);
            drawFiles();
        });
        chip.append(gone);
        return chip;
    }));
}

async function addFiles(list) {
    for (const file of list) {
        if (file.size > 4 << 20) {
            toast(file.name + " is larger than 4 MiB");
            continue;
        }
        const text = await file.text();
        if (text.includes("\0") || text.includes("\ufffd")) {
            toast(file.name + " is no text");
            continue;
        }
        files.push({name: file.name, text});
    }
    drawFiles();
}

// ---- scrolling: the end is followed until the reader goes up ----

let follows = true;
function follow(always) {
    const box = $("scroll");
    if (always) {
        follows = true;
    }
    if (follows) {
        box.scrollTop = box.scrollHeight;
    }
}

$("scroll").addEventListener("scroll", () => {
    const box = $("scroll");
    follows = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    $("down").hidden = follows;
});

// ---- the server ----

function state(text) {
    $("state").textContent = text;
}

async function readProps() {
    const model = $("model").value;
    try {
        props = await get("props" + (model ? "?model=" + encodeURIComponent(model) : ""), settings.key);
        panel.defaults(props);
        $("about").textContent = ["lockstep " + (props.build_info || ""), props.backend,
            props.system_fingerprint, rich ? "" : "This build has no Markdown: answers are shown as they are."]
            .filter(Boolean).join(" \u00b7 ");
        if (props.state === "loading") {
            state("loading the model");
            setTimeout(readProps, 1500);
        } else {
            state(props.state === "failed" ? "the model could not be loaded" : "");
        }
    } catch (error) {
        state(error.message);
    }
    meter();
}

async function readModels() {
    try {
        const list = (await get("v1/models", settings.key)).data;
        $("model").replaceChildren(...list.map((m) => {
            const option = element("option", "", m.id);
            option.value = m.id;
            return option;
        }));
        if (list.some((m) => m.id === settings.model)) {
            $("model").value = settings.model;
        }
        await readProps();
    } catch (error) {
        state(error.message);
        if (error.status === 401) {
            openSettings();
            $("key").focus();
        }
    }
}

// ---- settings ----

function openSettings() {
    $("system").value = current.system;
    $("hashed").checked = settings.hashed;
    $("theme").value = settings.theme;
    $("key").value = settings.key;
    $("settings").showModal();
}

$("settings").addEventListener("close", () => {
    const key = $("key").value.trim(), again = key !== settings.key;
    settings.key = key;
    panel.keep();
    if (again) {
        readModels();
    }
});
$("system").addEventListener("input", () => {
    current.system = $("system").value;
    if (conversations.includes(current)) {
        save(current);
    }
});
$("hashed").addEventListener("change", () => {
    settings.hashed = $("hashed").checked;
    panel.keep();
});
$("theme").addEventListener("change", () => {
    settings.theme = $("theme").value;
    panel.keep();
    theme();
});
$("reset").addEventListener("click", panel.reset);
$("settings-open").addEventListener("click", openSettings);
$("model").addEventListener("change", () => {
    settings.model = $("model").value;
    panel.keep();
    readProps();
});

// ---- files of conversations ----

$("export").addEventListener("click", () => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([store.exported(conversations)], {type: "application/json"}));
    link.download = "lockstep-conversations.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
$("import").addEventListener("click", () => $("import-file").click());
$("import-file").addEventListener("change", async () => {
    const file = $("import-file").files[0];
    $("import-file").value = "";
    try {
        const added = store.imported(await file.text());
        for (const c of added) {
            await store.put(c);
        }
        conversations = [...added, ...conversations].sort((a, b) => b.updated - a.updated);
        drawList();
        toast(added.length + (added.length === 1 ? " conversation" : " conversations") + " added");
    } catch (error) {
        toast("Not added: " + error.message);
    }
});

// ---- keys and clicks ----

$("compose").addEventListener("submit", (event) => {
    event.preventDefault();
    if (running) {
        running.stop.abort();
    } else {
        send();
    }
});
$("input").addEventListener("input", grow);
$("input").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
    } else if (event.key === "ArrowUp" && !$("input").value) {
        const last = [...document.querySelectorAll(".message.user")].pop();
        const edit = last && [...last.querySelectorAll(".tools button")].find((b) => b.textContent === "Edit");
        if (edit) {
            event.preventDefault();
            edit.click();
        }
    }
});
document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !$("settings").open) {
        if ($("side").classList.contains("open")) {
            side(false);
        } else if (running) {
            running.stop.abort();
        }
    } else if (event.ctrlKey && event.shiftKey && event.key.toLowerCase() === "o") {
        event.preventDefault();
        open(store.fresh());
    } else if (event.ctrlKey && event.key === ",") {
        event.preventDefault();
        openSettings();
    }
});
$("new").addEventListener("click", () => open(store.fresh()));
$("search").addEventListener("input", drawList);
$("side-open").addEventListener("click", () => side(true));
$("side-close").addEventListener("click", () => side(false));
$("shade").addEventListener("click", () => side(false));
$("down").addEventListener("click", () => follow(true));
$("attach").addEventListener("click", () => $("attach-file").click());
$("attach-file").addEventListener("change", () => {
    addFiles([...$("attach-file").files]);
    $("attach-file").value = "";
});
$("messages").addEventListener("click", (event) => {
    if (event.target.dataset && event.target.dataset.copy === "code") {
        copy(event.target.closest(".codebox").querySelector("pre").textContent);
    }
});
for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
        event.preventDefault();
        $("compose").classList.toggle("drop", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length) {
            addFiles([...event.dataTransfer.files]);
        }
    });
}
window.addEventListener("beforeunload", (event) => {
    if (running) {
        event.preventDefault();
    }
});

// ---- begin ----

theme();
panel.build($("sampling"));
buttons();
draw();
store.all().then((found) => {
    conversations = found;
    drawList();
}, () => toast("This browser does not keep conversations"));
readModels();
$("input").focus();
