// SPDX-License-Identifier: Apache-2.0
//
// Markdown: text of a model, which is data, as elements. They are made one by one out of the tokens
// that marked finds, so no HTML of a model is ever read as HTML: tags are shown as they are written.
// Nothing makes the browser ask another host: images are named, links wait to be clicked. While an
// answer grows only its last block is made again. Libraries are globals; without them text is shown
// as it is.

const marked = window.marked, hljs = window.hljs;
export const rich = Boolean(marked && marked.lexer);

if (rich) {
    marked.setOptions({gfm: true, breaks: false});
}

function make(tag, inside) {
    const element = document.createElement(tag);
    element.append(...inside);
    return element;
}

// Text as it was meant: marked leaves entities in it. The document that reads them is inert, and
// only its text is taken.
function plain(text) {
    if (!text.includes("&")) {
        return text;
    }
    return new DOMParser().parseFromString(text.replaceAll("<", "&lt;"), "text/html").body.textContent;
}

// ---- text within a block ----

const MARKS = {strong: "strong", em: "em", del: "del"};
const TAGS = {"<br>": "br", "<br/>": "br", "<br />": "br"}; // models write them in tables

function link(token) {
    const href = plain(token.href), inside = spans(token.tokens || []);
    if (!/^(https?:|mailto:)/i.test(href)) {
        return make("span", inside);
    }
    const a = make("a", inside);
    a.href = href;
    a.title = token.title ? plain(token.title) + " (" + href + ")" : href;
    a.rel = "noopener noreferrer nofollow";
    a.target = "_blank";
    return a;
}

// An address of another host would tell it what was said.
function image(token) {
    const href = plain(token.href), name = plain(token.text);
    if (/^data:image\/(png|jpeg|gif|webp);base64,/i.test(href)) {
        const img = document.createElement("img");
        img.src = href;
        img.alt = name;
        return img;
    }
    return make("span", ["[image: " + (name || "not loaded") + "]"]);
}

function span(token) {
    if (MARKS[token.type]) {
        return make(MARKS[token.type], spans(token.tokens || []));
    }
    switch (token.type) {
    case "link":
        return link(token);
    case "image":
        return image(token);
    case "br":
        return make("br", []);
    case "codespan":
        return make("code", [plain(token.text)]);
    case "html":
        return TAGS[token.raw.toLowerCase()] ? make("br", []) : token.raw;
    case "escape":
    case "text":
        return token.tokens ? make("span", spans(token.tokens)) : plain(token.text);
    default:
        return token.raw;
    }
}

const spans = (tokens) => tokens.map(span);

// ---- blocks ----

// What highlight.js writes is read in an inert document, and of it only spans with its own classes
// and text are taken.
function colours(from) {
    return [...from.childNodes].map((node) => {
        if (node.nodeType !== Node.ELEMENT_NODE) {
            return node.textContent;
        }
        const copy = make("span", colours(node));
        copy.className = [...node.classList].filter((c) => /^hljs-[\w-]+$/.test(c)).join(" ");
        return copy;
    });
}

// A block of code with its language and a button that copies it.
function code(token) {
    const language = (token.lang || "").trim().split(/\s/)[0].slice(0, 30);
    const known = language && hljs && hljs.getLanguage && hljs.getLanguage(language);
    const inside = document.createElement("code");
    if (known && token.text.length < 100000) {
        const html = hljs.highlight(language, token.text, true).value;
        inside.append(...colours(new DOMParser().parseFromString(html, "text/html").body));
        if (inside.textContent !== token.text) {
            inside.textContent = token.text; // whatever the colours did: the text is the model's
        }
    } else {
        inside.textContent = token.text;
    }
    const copy = make("button", ["Copy"]);
    copy.type = "button";
    copy.dataset.copy = "code";
    const head = make("div", [make("span", [plain(language)]), copy]);
    head.className = "head";
    const box = make("div", [head, make("pre", [inside])]);
    box.className = "codebox";
    return box;
}

function item(from) {
    const made = make("li", []);
    if (from.task) {
        const tick = document.createElement("input");
        tick.type = "checkbox";
        tick.disabled = true;
        tick.ariaLabel = from.checked ? "done" : "open";
        tick.checked = Boolean(from.checked);
        tick.toggleAttribute("checked", Boolean(from.checked));
        made.append(tick, " ");
        made.className = "task";
    }
    for (const token of from.tokens) {
        const inline = token.type === "text" && token.tokens;
        if (inline && from.loose) {
            made.append(make("p", spans(token.tokens)));
        } else if (inline) {
            made.append(...spans(token.tokens));
        } else {
            made.append(...block(token));
        }
    }
    return made;
}

function list(token) {
    const made = make(token.ordered ? "ol" : "ul", token.items.map(item));
    if (token.ordered && Number.isInteger(token.start) && token.start !== 1) {
        made.start = token.start;
    }
    return made;
}

function table(token) {
    const row = (cells, tag) => make("tr", cells.map((cell, i) => {
        const made = make(tag, spans(cell.tokens || []));
        if (token.align[i]) {
            made.align = token.align[i];
        }
        return made;
    }));
    return make("table", [make("thead", [row(token.header, "th")]),
        make("tbody", token.rows.map((cells) => row(cells, "td")))]);
}

// The elements of a token, most often one.
function block(token) {
    switch (token.type) {
    case "space":
    case "def":
        return [];
    case "heading":
        return [make("h" + Math.min(Math.max(token.depth, 1), 6), spans(token.tokens))];
    case "paragraph":
        return [make("p", spans(token.tokens))];
    case "code":
        return [code(token)];
    case "blockquote":
        return [make("blockquote", token.tokens.flatMap(block))];
    case "list":
        return [list(token)];
    case "table":
        return [table(token)];
    case "hr":
        return [make("hr", [])];
    case "text":
        return [make("p", token.tokens ? spans(token.tokens) : [plain(token.text)])];
    default: { // HTML, or what this page does not know
        const raw = make("p", [token.raw.trimEnd()]);
        raw.className = "plain";
        return [raw];
    }
    }
}

// ---- text that grows, in an element; put() takes all of it so far ----

export class Growing {
    constructor(element) {
        this.element = element;
        this.done = 0; // characters of the text in finished blocks
        this.last = [];
        element.classList.add(rich ? "prose" : "plain");
    }

    put(text, ended) {
        if (!rich) {
            this.element.textContent = text;
            return;
        }
        const tokens = marked.lexer(text.slice(this.done));
        // All blocks but the last can't change any more.
        let stable = ended ? tokens.length : Math.max(tokens.length - 1, 0);
        if (!ended && stable > 0 && tokens[stable].type === "space") {
            stable--; // a list goes on after an empty line
        }
        for (const old of this.last) {
            old.remove();
        }
        for (const token of tokens.slice(0, stable)) {
            this.element.append(...block(token));
            this.done += token.raw.length;
        }
        this.last = tokens.slice(stable).flatMap(block);
        this.element.append(...this.last);
    }
}
