// A submission as a call in the languages people write: complete, without secrets.

export type CallLanguage = 'curl' | 'go' | 'node' | 'python' | 'java' | 'php'

/** Their names, in the order they are offered. */
export const callLanguages: Record<CallLanguage, string> = { curl: 'curl', go: 'Go', node: 'Node.js', python: 'Python', java: 'Java', php: 'PHP' }

/** The text of a program that submits it. server is where the API is. */
export function apiCall(language: CallLanguage, submission: object, server: string): string {
  return writers[language](submission, server.replace(/\/$/, ''))
}

const writers: Record<CallLanguage, (s: object, server: string) => string> = { curl, go, node, python, java, php }

function pretty(s: object, indent = 2): string {
  return JSON.stringify(s, null, indent)
}

/** Lines after the first, moved in. */
function shift(text: string, by: string): string {
  return text.replaceAll('\n', '\n' + by)
}

// The quoted mark keeps the shell's hands off what is between; no line of JSON is the mark alone.
function curl(s: object, server: string): string {
  return `curl -sS ${server}/v1/messages \\
  -H "Authorization: Bearer $HONGYAN_API_KEY" \\
  -H "Content-Type: application/json" \\
  -H "Idempotency-Key: $(openssl rand -hex 16)" \\
  -d @- <<'JSON'
${pretty(s)}
JSON
`
}

function go(s: object, server: string): string {
  const text = pretty(s)
  const literal = text.includes('`') ? JSON.stringify(JSON.stringify(s)) : '`' + shift(text, '\t\t') + '`'
  return `package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

func main() {
	c, err := client.New(client.Config{BaseURL: "${server}", APIKey: os.Getenv("HONGYAN_API_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	var sub hongyan.Submission
	if err := json.Unmarshal([]byte(${literal}), &sub); err != nil {
		log.Fatal(err)
	}
	m, err := c.Submit(context.Background(), sub, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.ID, m.Status)
}
`
}

function node(s: object, server: string): string {
  return `import { randomUUID } from 'node:crypto'

const answer = await fetch('${server}/v1/messages', {
  method: 'POST',
  headers: {
    Authorization: \`Bearer \${process.env.HONGYAN_API_KEY}\`,
    'Content-Type': 'application/json',
    'Idempotency-Key': randomUUID(),
  },
  body: JSON.stringify(${shift(pretty(s), '  ')}),
})
const message = await answer.json()
if (!answer.ok) throw new Error(\`\${message.code}: \${message.detail}\`)
console.log(message.id, message.status)
`
}

function python(s: object, server: string): string {
  return `import json, os, urllib.error, urllib.request, uuid

submission = ${pythonValue(s)}
request = urllib.request.Request(
    "${server}/v1/messages",
    data=json.dumps(submission).encode(),
    headers={
        "Authorization": "Bearer " + os.environ["HONGYAN_API_KEY"],
        "Content-Type": "application/json",
        "Idempotency-Key": str(uuid.uuid4()),
    },
)
try:
    with urllib.request.urlopen(request, timeout=10) as answer:
        message = json.load(answer)
    print(message["id"], message["status"])
except urllib.error.HTTPError as e:
    problem = json.load(e)
    raise SystemExit(problem["code"] + ": " + problem["detail"])
`
}

// What JSON.stringify writes of a string is a Python string too; only three words differ.
function pythonValue(v: unknown, pad = ''): string {
  if (v === true) return 'True'
  if (v === false) return 'False'
  if (v === null || typeof v !== 'object') return JSON.stringify(v ?? null).replace(/^null$/, 'None')
  const inner = pad + '    '
  const list = Array.isArray(v)
  const items = list ? v.map((x) => pythonValue(x, inner)) : entries(v).map(([k, x]) => `${JSON.stringify(k)}: ${pythonValue(x, inner)}`)
  const [open, shut] = list ? '[]' : '{}'
  return items.length === 0 ? open + shut : `${open}\n${items.map((i) => `${inner}${i},\n`).join('')}${pad}${shut}`
}

function java(s: object, server: string): string {
  const text = pretty(s).replaceAll('\\', '\\\\').replaceAll('"""', '\\"""')
  return `import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.UUID;

public class Send {
    public static void main(String[] args) throws Exception {
        String submission = """
            ${shift(text, '            ')}
            """;
        HttpRequest request = HttpRequest.newBuilder(URI.create("${server}/v1/messages"))
            .header("Authorization", "Bearer " + System.getenv("HONGYAN_API_KEY"))
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", UUID.randomUUID().toString())
            .POST(HttpRequest.BodyPublishers.ofString(submission))
            .build();
        HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.body());
    }
}
`
}

function php(s: object, server: string): string {
  return `<?php
$submission = ${phpValue(s)};

$context = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => [
        'Authorization: Bearer ' . getenv('HONGYAN_API_KEY'),
        'Content-Type: application/json',
        'Idempotency-Key: ' . bin2hex(random_bytes(16)),
    ],
    'content' => json_encode($submission, JSON_UNESCAPED_UNICODE),
    'ignore_errors' => true,
    'timeout' => 10,
]]);
$message = json_decode(file_get_contents('${server}/v1/messages', false, $context), true);
if (isset($message['code'])) {
    exit($message['code'] . ': ' . $message['detail'] . PHP_EOL);
}
echo $message['id'], ' ', $message['status'], PHP_EOL;
`
}

function phpValue(v: unknown, pad = ''): string {
  if (typeof v === 'string') return phpString(v)
  if (v === null || typeof v !== 'object') return JSON.stringify(v ?? null)
  const inner = pad + '    '
  const items = Array.isArray(v) ? v.map((x) => phpValue(x, inner)) : entries(v).map(([k, x]) => `${phpString(k)} => ${phpValue(x, inner)}`)
  return items.length === 0 ? '[]' : `[\n${items.map((i) => `${inner}${i},\n`).join('')}${pad}]`
}

function phpString(s: string): string {
  return `'${s.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

/** As JSON.stringify has them: what is undefined is not there. */
function entries(o: object): [string, unknown][] {
  return Object.entries(o).filter(([, v]) => v !== undefined)
}
