// SPDX-License-Identifier: Apache-2.0
//
// Settings: what is asked for beside messages, kept in the browser. An empty field is the server's
// default, which the field shows.

const FIELDS = [
    ["temperature", "Temperature", 0, 5, "0.05"],
    ["top_p", "Top-p", 0, 1, "0.01"],
    ["top_k", "Top-k", 0, 1000000, "1"],
    ["min_p", "Min-p", 0, 1, "0.01"],
    ["repeat_penalty", "Repeat penalty", 0, 10, "0.01"],
    ["presence_penalty", "Presence penalty", -2, 2, "0.05"],
    ["frequency_penalty", "Frequency penalty", -2, 2, "0.05"],
    ["max_tokens", "Tokens at most", 1, 10000000, "1"],
    ["seed", "Seed", 0, 9007199254740991, "1"],
];
const KEPT = "lockstep-settings";

export const settings = {hashed: true, theme: "", key: "", model: "", sampling: {}};
try {
    Object.assign(settings, JSON.parse(localStorage.getItem(KEPT) || "{}"));
} catch {
    // what was kept is not readable: defaults
}

export function keep() {
    try {
        localStorage.setItem(KEPT, JSON.stringify(settings));
    } catch {
        // this browser keeps nothing
    }
}

const shown = (value) => String(Number(Number(value).toPrecision(6)));

export function build(fieldset) {
    for (const [name, title, min, max, step] of FIELDS) {
        const label = document.createElement("label"), input = document.createElement("input");
        label.textContent = title;
        Object.assign(input, {type: "number", min, max, step, id: "set-" + name});
        if (settings.sampling[name] !== undefined) {
            input.value = settings.sampling[name];
        }
        input.addEventListener("input", () => {
            if (input.value === "" || !Number.isFinite(input.valueAsNumber)) {
                delete settings.sampling[name];
            } else if (input.validity.rangeOverflow || input.validity.rangeUnderflow) {
                return; // the browser shows that it is out of range
            } else {
                settings.sampling[name] = input.valueAsNumber;
            }
            keep();
        });
        label.append(input);
        fieldset.append(label);
    }
}

export function defaults(props) {
    const from = props.default_generation_settings || {}, params = from.params || from;
    for (const [name] of FIELDS) {
        const value = params[name];
        document.getElementById("set-" + name).placeholder =
            name === "seed" ? "random" : name === "max_tokens" ? "all there is room for"
                : value === undefined ? "" : shown(value);
    }
}

export function reset() {
    settings.sampling = {};
    for (const [name] of FIELDS) {
        document.getElementById("set-" + name).value = "";
    }
    keep();
}
