// SPDX-License-Identifier: Apache-2.0
//
// Store: conversations in the browser's own database, and as a file. A conversation is a tree of
// messages: an edit or another answer is a branch, and `chosen` says which one is looked at.

const NAME = "lockstep", TABLE = "conversations", FORMAT = "lockstep-conversations";

let opened = null;
function database() {
    opened = opened || new Promise((resolve, reject) => {
        const request = indexedDB.open(NAME, 1);
        request.onupgradeneeded = () => request.result.createObjectStore(TABLE, {keyPath: "id"});
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });
    return opened;
}

async function within(mode, run) {
    const db = await database();
    return new Promise((resolve, reject) => {
        const transaction = db.transaction(TABLE, mode);
        const request = run(transaction.objectStore(TABLE));
        transaction.oncomplete = () => resolve(request && request.result);
        transaction.onerror = () => reject(transaction.error);
        transaction.onabort = () => reject(transaction.error);
    });
}

export const all = async () =>
    (await within("readonly", (t) => t.getAll())).sort((a, b) => b.updated - a.updated);
export const put = (conversation) => within("readwrite", (t) => t.put(conversation));
export const remove = (id) => within("readwrite", (t) => t.delete(id));

export const id = () => [...crypto.getRandomValues(new Uint8Array(9))]
    .map((b) => b.toString(36).padStart(2, "0")).join("").slice(0, 16);

export function fresh() {
    const now = Date.now();
    return {id: id(), title: "", system: "", created: now, updated: now, nodes: {}, chosen: {}};
}

// ---- the tree; the parent of a first message is "" ----

export const children = (c, parent) =>
    Object.values(c.nodes).filter((n) => n.parent === parent).sort((a, b) => a.order - b.order);

export function add(c, parent, message) {
    const node = {id: id(), parent, order: Object.keys(c.nodes).length, ...message};
    c.nodes[node.id] = node;
    c.chosen[parent] = node.id;
    c.updated = Date.now();
    return node;
}

// The messages of the branch that is looked at, from the first on.
export function path(c) {
    const found = [];
    for (let at = ""; ;) {
        const below = children(c, at);
        const next = below.find((n) => n.id === c.chosen[at]) || below[below.length - 1];
        if (!next) {
            return found;
        }
        found.push(next);
        at = next.id;
    }
}

export function removeBranch(c, node) {
    for (const child of children(c, node.id)) {
        removeBranch(c, child);
    }
    delete c.nodes[node.id];
    delete c.chosen[node.id];
    if (c.chosen[node.parent] === node.id) {
        delete c.chosen[node.parent];
    }
}

export const text = (c) =>
    [c.title, c.system, ...Object.values(c.nodes).map((n) => n.content)].join("\n").toLowerCase();

// ---- files ----

export const exported = (conversations) =>
    JSON.stringify({format: FORMAT, version: 1, conversations}, null, 1);

const ID = /^[a-z0-9]{4,40}$/;
const isText = (value) => typeof value === "string";

function checkNode(node, nodes) {
    if (!node || !ID.test(node.id) || !(node.parent === "" || ID.test(node.parent)) || !isText(node.content) ||
        !["user", "assistant"].includes(node.role) || (node.parent && !nodes[node.parent])) {
        throw new Error("a message is not as it should be");
    }
    for (let at = node, n = 0; at.parent; at = nodes[at.parent]) {
        if (++n > 100000 || !nodes[at.parent]) {
            throw new Error("messages follow each other in a circle");
        }
    }
    const calls = Array.isArray(node.calls) ? node.calls : [];
    const files = Array.isArray(node.files) ? node.files : [];
    return {id: node.id, parent: node.parent, order: Number(node.order) || 0, role: node.role,
        content: node.content, reasoning: isText(node.reasoning) ? node.reasoning : "",
        files: files.map((f) => ({name: String(f.name), text: String(f.text)})),
        calls: calls.map((k) => ({name: String(k.name), arguments: String(k.arguments)})),
        error: isText(node.error) ? node.error : undefined, finish: node.finish,
        sha256: isText(node.sha256) ? node.sha256 : undefined,
        fingerprint: isText(node.fingerprint) ? node.fingerprint : undefined,
        request: node.request, usage: node.usage, timings: node.timings};
}

// The conversations of a file, as new ones; an error says what is wrong with it.
export function imported(json) {
    const file = JSON.parse(json);
    if (!file || file.format !== FORMAT || !Array.isArray(file.conversations)) {
        throw new Error("this is no file of conversations");
    }
    return file.conversations.map((from) => {
        const c = fresh();
        if (!from || typeof from.nodes !== "object" || !isText(from.title)) {
            throw new Error("a conversation is not as it should be");
        }
        c.title = from.title;
        c.system = isText(from.system) ? from.system : "";
        c.updated = Number(from.updated) || c.updated;
        for (const node of Object.values(from.nodes)) {
            c.nodes[node.id] = checkNode(node, from.nodes);
        }
        for (const [parent, chosen] of Object.entries(from.chosen || {})) {
            if (c.nodes[chosen] && c.nodes[chosen].parent === parent) {
                c.chosen[parent] = chosen;
            }
        }
        return c;
    });
}
