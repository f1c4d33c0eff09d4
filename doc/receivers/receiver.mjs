#!/usr/bin/env node
// A receiver for mailhook's events, to begin your own with. Node 18 or later,
// nothing else.
//
//     WEBHOOK_SECRET=whsec_… node receiver.mjs [PORT [STORE]]
//
// It checks the signature, keeps each event once (a line of JSON in STORE, on
// disk before it answers), and says which numbers never came. Put it behind a
// TLS proxy; it listens on loopback.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { gunzipSync } from "node:zlib";
import { existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";

const secret = process.env.WEBHOOK_SECRET;
const port = Number(process.argv[2] ?? 8080);
const storePath = process.argv[3] ?? "events.jsonl";
const tolerance = 5 * 60; // seconds between their clock and ours
const bodyMax = 64 * 1024 * 1024; // of who is not known yet

// Standard Webhooks 1.0: HMAC-SHA256 over id.timestamp.body.
function isSigned(headers, body) {
    const id = headers["webhook-id"] ?? "";
    const timestamp = headers["webhook-timestamp"] ?? "";
    if (!/^\d+$/.test(timestamp) ||
        Math.abs(Date.now() / 1000 - Number(timestamp)) > tolerance)
        return false;
    const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    const expected = Buffer.from("v1," + createHmac("sha256", key)
        .update(`${id}.${timestamp}.`).update(body).digest("base64"));
    // Several while secrets are being changed: one of them is enough.
    return (headers["webhook-signature"] ?? "").split(" ").some((given) => {
        const bytes = Buffer.from(given);
        return bytes.length === expected.length &&
            timingSafeEqual(bytes, expected);
    });
}

// Which numbers of each stream have come. Everything up to the floor has been
// answered or announced by a Gap, so a number below it that neither came nor
// stands in a Gap is lost: ours, or between us and our store.
const floors = new Map(); // stream -> floor
const above = new Map(); // stream -> numbers above the floor

function addNumbers(event) {
    const numbers = above.get(event.stream) ?? new Set();
    above.set(event.stream, numbers);
    numbers.add(Number(event.sequence));
    const sequences = event.data["vnd.mailhook.sequences"];
    if (sequences === undefined)
        return;
    const [first, last = first] = sequences.split("-").map(Number);
    for (let n = first; n <= last; n++)
        numbers.add(n);
}

function raiseFloor(stream, floor) {
    const numbers = above.get(stream) ?? new Set();
    const before = floors.get(stream) ?? floor;
    for (let n = before + 1; n <= floor; n++)
        if (!numbers.has(n))
            console.log(`lost: ${stream} ${n}`);
    floors.set(stream, Math.max(before, floor));
    above.set(stream, new Set([...numbers].filter((n) => n > floor)));
}

const ids = new Set();
if (existsSync(storePath)) {
    for (const line of readFileSync(storePath, "utf8").split("\n")) {
        if (line === "")
            continue;
        const event = JSON.parse(line);
        ids.add(event.id);
        addNumbers(event);
    }
}
const store = openSync(storePath, "a");

// True if the event is new. On disk when this returns.
function keep(event) {
    const isNew = !ids.has(event.id);
    if (isNew) {
        writeSync(store, JSON.stringify(event) + "\n");
        fsyncSync(store);
        ids.add(event.id);
    }
    // Tests and replays carry the number 0 and no floor.
    if (Number(event.sequence) > 0)
        addNumbers(event);
    return isNew;
}

// Yours. Whatever takes long belongs behind the store, not here.
function handle(event) {
    console.log(event.type, event.subject ?? "");
}

const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
        let body = Buffer.concat(chunks);
        try {
            // With compress = true. Signed is what was compressed.
            if (request.headers["content-encoding"] === "gzip")
                body = gunzipSync(body, { maxOutputLength: bodyMax });
        } catch {
            return response.writeHead(400).end();
        }
        if (!isSigned(request.headers, body))
            return response.writeHead(401).end();
        // An array with format = "cloudevents-batch".
        const events = [JSON.parse(body.toString("utf8"))].flat();
        for (const event of events)
            if (keep(event))
                handle(event);
        // After the request's own events: they are above it.
        const floor = request.headers["mailhook-floor"];
        if (floor !== undefined)
            raiseFloor(events[0].stream, Number(floor));
        // Any 2xx; what is not answered so comes again.
        response.writeHead(204).end();
    });
});
server.listen(port, "127.0.0.1", () =>
    console.log(`listening on 127.0.0.1:${server.address().port}`));
