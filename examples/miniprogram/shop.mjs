// The smallest back end of a shop: an order comes in, a subscription message goes out.
//
//   hongyan demo --json > demo.json &   # or write such a file: api, api_key, appid, example.template, example.data
//   node shop.mjs demo.json             # PORT=8500
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const { api, api_key: key, appid, example } = config

/** Calls Hongyan; a problem becomes an error with its words. */
async function hongyan(path, body, headers = {}) {
  const res = await fetch(api + path, {
    method: 'POST',
    headers: { authorization: 'Bearer ' + key, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  const answer = await res.json()
  if (!res.ok) throw new Error(`${answer.code}: ${answer.detail ?? answer.title}`)
  return answer
}

/** Who ordered. A demo has customers but no phones, so there the first of them does. */
async function customer(code) {
  if (config.openids) return config.openids[0]
  return (await hongyan(`/v1/apps/${appid}/login`, { code })).openid
}

async function order({ code }) {
  const message = { app: appid, to: await customer(code), template: example.template, data: example.data }
  // The key makes a repeat of this call harmless; wait lets us tell the page what became of it.
  const { id, status } = await hongyan('/v1/messages', message, { 'idempotency-key': randomUUID(), prefer: 'wait=10' })
  return { message: id, status }
}

async function read(req) {
  let text = ''
  for await (const chunk of req) {
    text += chunk
    if (text.length > 65536) throw new Error('The order is too long.')
  }
  return JSON.parse(text)
}

const server = createServer(async (req, res) => {
  let status = 200
  let body
  try {
    if (req.method !== 'POST' || req.url !== '/orders') [status, body] = [404, { error: 'POST /orders is all there is.' }]
    else body = await order(await read(req))
  } catch (err) {
    ;[status, body] = [502, { error: err.message }]
  }
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
})
server.listen(Number(process.env.PORT ?? 8500), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
