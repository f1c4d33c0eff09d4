<?php
// A receiver for mailhook's events, to begin your own with. PHP 8.1 or later
// with its SQLite module (Debian: php-cli php-sqlite3).
//
//     WEBHOOK_SECRET=whsec_… EVENT_STORE=/var/lib/me/events.sqlite \
//         php -S 127.0.0.1:8080 receiver.php
//
// or under PHP-FPM behind any web server. It checks the signature, keeps each
// event once (a row of an SQLite database, on disk before it answers), and
// says in the error log which numbers never came.

const TOLERANCE = 5 * 60; // seconds between their clock and ours
const BODY_MAX = 64 * 1024 * 1024; // of who is not known yet

// Standard Webhooks 1.0: HMAC-SHA256 over id.timestamp.body.
function is_signed(string $secret, string $body): bool
{
    $id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
    $timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    if (!ctype_digit($timestamp) || abs(time() - (int)$timestamp) > TOLERANCE)
        return false;
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
    $expected = 'v1,' . base64_encode(
        hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // Several while secrets are being changed: one of them is enough.
    foreach (explode(' ', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $given)
        if (hash_equals($expected, $given))
            return true;
    return false;
}

function open_store(string $path): PDO
{
    $store = new PDO("sqlite:$path");
    $store->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
    $store->exec('PRAGMA busy_timeout = 10000');
    $store->exec('CREATE TABLE IF NOT EXISTS events
        (id TEXT PRIMARY KEY, body TEXT NOT NULL)');
    $store->exec('CREATE TABLE IF NOT EXISTS numbers
        (stream TEXT, number INTEGER, PRIMARY KEY (stream, number))');
    $store->exec('CREATE TABLE IF NOT EXISTS floors
        (stream TEXT PRIMARY KEY, floor INTEGER NOT NULL)');
    return $store;
}

function add_numbers(PDO $store, array $event): void
{
    $insert = $store->prepare('INSERT OR IGNORE INTO numbers VALUES (?, ?)');
    $insert->execute([$event['stream'], (int)$event['sequence']]);
    $sequences = $event['data']['vnd.mailhook.sequences'] ?? null;
    if ($sequences === null)
        return;
    $ends = array_map('intval', explode('-', $sequences));
    for ($n = $ends[0]; $n <= ($ends[1] ?? $ends[0]); $n++)
        $insert->execute([$event['stream'], $n]);
}

// Everything up to the floor has been answered or announced by a Gap, so a
// number below it that neither came nor stands in a Gap is lost: ours, or
// between us and our store.
function raise_floor(PDO $store, string $stream, int $floor): void
{
    $query = $store->prepare('SELECT floor FROM floors WHERE stream = ?');
    $query->execute([$stream]);
    $before = $query->fetchColumn();
    $before = $before === false ? $floor : (int)$before;
    $query = $store->prepare('SELECT number FROM numbers
        WHERE stream = ? AND number <= ?');
    $query->execute([$stream, $floor]);
    $came = array_flip($query->fetchAll(PDO::FETCH_COLUMN));
    for ($n = $before + 1; $n <= $floor; $n++)
        if (!isset($came[$n]))
            error_log("lost: $stream $n");
    $store->prepare('DELETE FROM numbers WHERE stream = ? AND number <= ?')
        ->execute([$stream, $floor]);
    $store->prepare('REPLACE INTO floors VALUES (?, ?)')
        ->execute([$stream, max($before, $floor)]);
}

// True if the event is new.
function keep(PDO $store, array $event): bool
{
    $body = json_encode($event, JSON_UNESCAPED_UNICODE |
        JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR);
    $insert = $store->prepare('INSERT OR IGNORE INTO events VALUES (?, ?)');
    $insert->execute([$event['id'], $body]);
    $new = $insert->rowCount() === 1;
    // Tests and replays carry the number 0 and no floor.
    if ((int)$event['sequence'] > 0)
        add_numbers($store, $event);
    return $new;
}

// Yours. Whatever takes long belongs behind the store, not here.
function handle(array $event): void
{
    error_log($event['type'] . ' ' . ($event['subject'] ?? ''));
}

$body = file_get_contents('php://input');
// With compress = true. Signed is what was compressed.
if (($_SERVER['HTTP_CONTENT_ENCODING'] ?? '') === 'gzip')
    $body = (string)gzdecode($body, BODY_MAX);
if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    http_response_code(405);
} elseif (!is_signed(getenv('WEBHOOK_SECRET'), $body)) {
    http_response_code(401);
} else {
    $events = json_decode($body, true, 512, JSON_THROW_ON_ERROR);
    // An array with format = "cloudevents-batch".
    if (!array_is_list($events))
        $events = [$events];
    $store = open_store(getenv('EVENT_STORE') ?: 'events.sqlite');
    $store->exec('BEGIN IMMEDIATE');
    $new = array_filter($events, fn($event) => keep($store, $event));
    // After the request's own events: they are above it.
    if (isset($_SERVER['HTTP_MAILHOOK_FLOOR']))
        raise_floor($store, $events[0]['stream'],
            (int)$_SERVER['HTTP_MAILHOOK_FLOOR']);
    // On disk when this returns.
    $store->exec('COMMIT');
    array_map('handle', $new);
    // Any 2xx; what is not answered so comes again.
    http_response_code(204);
}
