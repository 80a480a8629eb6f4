<?php
// A shop's back end in PHP 8 without packages: an order comes in, its buyer logs in, a
// subscription message goes out, and a webhook tells what became of it. See ../README.md.
//
//   php -S 127.0.0.1:8500 shop.php

declare(strict_types=1);

/** Hongyan said no, or nothing. $retry tells that a repeat may cure it. */
final class Refused extends RuntimeException
{
    public function __construct(public readonly string $reason, string $detail, public readonly bool $retry)
    {
        parent::__construct($detail);
    }
}

function env(string $name, string $otherwise = ''): string
{
    return getenv($name) ?: $otherwise;
}

function json(mixed $value): string
{
    return json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR);
}

/** Calls Hongyan. A refusal is thrown with its code. */
function hongyan(string $path, array $body, array $headers = []): array
{
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => ['Authorization: Bearer ' . env('HONGYAN_API_KEY'), 'Content-Type: application/json', ...$headers],
        'content' => json($body),
        'timeout' => 30,
        'ignore_errors' => true, // a problem has a body too
    ]]);
    $text = @file_get_contents(env('HONGYAN_API', 'http://127.0.0.1:8420') . $path, false, $context);
    if ($text === false) {
        throw new Refused('unreachable', 'Hongyan did not answer.', true);
    }
    $status = (int) explode(' ', $http_response_header[0])[1];
    $answer = json_decode($text, true) ?? [];
    if ($status < 300) {
        return $answer;
    }
    throw new Refused($answer['code'] ?? '', $answer['detail'] ?? "HTTP $status", $status >= 500 || $status === 429);
}

function order(array $o): array
{
    $app = env('HONGYAN_APP');
    $openid = hongyan("/v1/apps/$app/login", ['code' => $o['code']])['openid'];
    $message = [
        'app' => $app,
        'to' => $openid,
        'template' => env('HONGYAN_TEMPLATE', 'order_paid'),
        // All of it is the order's own. The time of the call would make a repeat another message.
        'data' => [
            'character_string1' => $o['number'],
            'thing2' => $o['item'],
            'amount3' => $o['amount'],
            'date4' => $o['paid_at'],
            'thing11' => '我们会尽快为您发货',
        ],
        'metadata' => ['order' => $o['number']], // comes back with the webhook
    ];
    for ($attempt = 1; ; $attempt++) {
        try {
            $sent = hongyan('/v1/messages', $message, ['Idempotency-Key: paid-' . $o['number']]);
            return ['message' => $sent['id'], 'status' => $sent['status']];
        } catch (Refused $e) {
            if ($e->reason === 'no_grant') {
                // The order stands all the same; the next tap on 订阅 brings a grant.
                return ['status' => 'not_told', 'reason' => 'no_grant'];
            }
            if (!$e->retry || $attempt === 3) {
                throw $e;
            }
            sleep(1);
        }
    }
}

/** Checks a webhook over its body as it came and returns the event. */
function verify(string $secret, string $id, string $time, string $signatures, string $body): array
{
    if (abs(time() - (int) $time) > 300) {
        throw new RuntimeException('too old');
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
    $want = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$time.$body", $key, true));
    foreach (explode(' ', $signatures) as $s) {
        if (hash_equals($want, $s)) {
            return json_decode($body, true, flags: JSON_THROW_ON_ERROR);
        }
    }
    throw new RuntimeException('wrong signature');
}

function told(array $event): void
{
    // At least once means that it may come twice. A real shop keeps the ids in its database.
    $seen = env('SHOP_SEEN', sys_get_temp_dir() . '/hongyan-shop');
    is_dir($seen) || mkdir($seen, 0700, true);
    if (@fopen("$seen/{$event['id']}", 'x') === false) {
        return;
    }
    $data = $event['data'];
    file_put_contents('php://stdout', "{$event['type']} {$data['id']} order " . ($data['metadata']['order'] ?? '') . "\n");
}

function answer(int $status, ?array $body = null): void
{
    http_response_code($status);
    header('Content-Type: application/json');
    echo $body === null ? '' : json($body);
}

$path = $_SERVER['REQUEST_METHOD'] . ' ' . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$body = file_get_contents('php://input');
switch ($path) {
    case 'POST /orders':
        try {
            answer(200, order(json_decode($body, true, flags: JSON_THROW_ON_ERROR)));
        } catch (Refused $e) {
            answer(502, ['error' => $e->getMessage(), 'code' => $e->reason]);
        }
        break;
    case 'POST /hook':
        try {
            $event = verify(env('HONGYAN_WEBHOOK_SECRET'), $_SERVER['HTTP_WEBHOOK_ID'] ?? '', $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '',
                $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '', $body);
            told($event);
            answer(204);
        } catch (RuntimeException | JsonException $e) {
            answer(401, ['error' => $e->getMessage()]);
        }
        break;
    default:
        answer(404, ['error' => 'POST /orders and POST /hook are all there is.']);
}
