// A shop's back end in Node, without packages: an order comes in, its buyer logs in, a
// subscription message goes out, and a webhook tells what became of it. See ../README.md.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const env = process.env
const api = env.HONGYAN_API ?? 'http://127.0.0.1:8420'
const app = env.HONGYAN_APP
const template = env.HONGYAN_TEMPLATE ?? 'order_paid'
const seen = new Set() // ids of events; a real shop keeps them in its database

/** Calls Hongyan. A refusal is thrown with its code; `retry` tells that a repeat may cure it. */
async function hongyan(path, body, headers = {}) {
  let res
  try {
    res = await fetch(api + path, {
      method: 'POST',
      headers: { authorization: 'Bearer ' + env.HONGYAN_API_KEY, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    })
  } catch (err) {
    throw Object.assign(new Error('Hongyan did not answer: ' + err.message), { code: 'unreachable', retry: true })
  }
  const answer = await res.json().catch(() => ({}))
  if (res.ok) return answer
  throw Object.assign(new Error(answer.detail ?? answer.title ?? 'HTTP ' + res.status), {
    code: answer.code,
    retry: res.status >= 500 || res.status === 429,
  })
}

async function order({ code, number, item, amount, paid_at }) {
  const { openid } = await hongyan(`/v1/apps/${app}/login`, { code })
  const message = {
    app,
    to: openid,
    template,
    // All of it is the order's own. The time of the call would make a repeat another message.
    data: { character_string1: number, thing2: item, amount3: amount, date4: paid_at, thing11: '我们会尽快为您发货' },
    metadata: { order: number }, // comes back with the webhook
  }
  for (let attempt = 1; ; attempt++) {
    try {
      const { id, status } = await hongyan('/v1/messages', message, { 'idempotency-key': 'paid-' + number })
      return { message: id, status }
    } catch (err) {
      // The order stands all the same; the next tap on 订阅 brings a grant.
      if (err.code === 'no_grant') return { status: 'not_told', reason: 'no_grant' }
      if (!err.retry || attempt === 3) throw err
      await sleep(1000)
    }
  }
}

/** Checks a webhook over its body as it came (a Buffer) and returns the event. */
function verify(secret, headers, body) {
  const id = headers['webhook-id']
  const time = headers['webhook-timestamp']
  if (!(Math.abs(Date.now() / 1000 - Number(time)) < 300)) throw new Error('too old')
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const want = createHmac('sha256', key).update(`${id}.${time}.`).update(body).digest()
  const right = (headers['webhook-signature'] ?? '').split(' ').some((s) => {
    const got = Buffer.from(s.replace(/^v1,/, ''), 'base64')
    return got.length === want.length && timingSafeEqual(got, want)
  })
  if (!right) throw new Error('wrong signature')
  return JSON.parse(body)
}

function told(event) {
  if (seen.has(event.id)) return // at least once means that it may come twice
  seen.add(event.id)
  console.log(event.type, event.data.id, 'order', event.data.metadata?.order ?? '')
}

async function read(req, most) {
  const chunks = []
  let length = 0
  for await (const chunk of req) {
    if ((length += chunk.length) > most) throw new Error('The body is too long.')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

async function route(req) {
  switch (`${req.method} ${req.url}`) {
    case 'POST /orders':
      try {
        return [200, await order(JSON.parse(await read(req, 65536)))]
      } catch (err) {
        return [502, { error: err.message, code: err.code }]
      }
    case 'POST /hook':
      try {
        told(verify(env.HONGYAN_WEBHOOK_SECRET, req.headers, await read(req, 1 << 20)))
        return [204]
      } catch (err) {
        return [401, { error: err.message }]
      }
  }
  return [404, { error: 'POST /orders and POST /hook are all there is.' }]
}

const server = createServer(async (req, res) => {
  const [status, body] = await route(req)
  res.writeHead(status, { 'content-type': 'application/json' }).end(body && JSON.stringify(body))
})
server.listen(Number(env.PORT ?? 8500), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
