// The whole way, with nothing of ours replaced: the built SDK alone in a bare context, a real
// server, a local WeChat that pushes, and a webhook. Run by e2e_test.go with the line that
// `hongyan demo --json` prints on standard input.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import vm from 'node:vm'

const demo = JSON.parse(readFileSync(0, 'utf8'))
const template = demo.template_ids[1]
const openid = 'oEndToEnd_0123456789abcdefgh'

async function json(method, url, body, headers = {}) {
  const res = await fetch(url, { method, headers: { 'Content-Type': 'application/json', ...headers }, body: body && JSON.stringify(body) })
  const text = await res.text()
  assert.ok(res.ok, `${method} ${url}: ${res.status} ${text}`)
  return text ? JSON.parse(text) : undefined
}
const api = (method, path, body) => json(method, demo.api + path, body, { Authorization: 'Bearer ' + demo.api_key })
const box = (method, path, body) => json(method, demo.sandbox + '/_sandbox/' + path, body)
const app = '/v1/apps/' + demo.appid

async function until(what, ask) {
  const end = Date.now() + 30000
  for (;;) {
    const got = await ask()
    if (got) return got
    assert.ok(Date.now() < end, 'never happened: ' + what)
    await new Promise((r) => setTimeout(r, 50))
  }
}

// An integrator who hears of everything, and believes only what is signed.
const heard = []
let secret
const hook = createServer(async (req, res) => {
  const chunks = []
  for await (const c of req) chunks.push(c)
  const body = Buffer.concat(chunks)
  const want = createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
    .update(`${req.headers['webhook-id']}.${req.headers['webhook-timestamp']}.`).update(body).digest('base64')
  assert.ok(req.headers['webhook-signature'].split(' ').includes('v1,' + want), 'the signature is wrong')
  heard.push(JSON.parse(body))
  res.end()
}).listen(0, '127.0.0.1')
await once(hook, 'listening')
const webhook = await api('POST', '/v1/webhooks', { url: `http://127.0.0.1:${hook.address().port}/`, events: ['grant.*', 'message.*'] })
secret = webhook.secret
const event = (type, of = () => true) => until(type, () => heard.find((e) => e.type === type && of(e.data)))

// A phone: WeChat's own calls go to the local WeChat, the network is real.
await box('POST', 'users', { appid: demo.appid, openid })
let gesture = false
const storage = {}
const wx = {
  request({ url, method, data, header, success, fail }) {
    fetch(url, { method, headers: { 'Content-Type': 'application/json', ...header }, body: data === undefined ? undefined : typeof data === 'string' ? data : JSON.stringify(data) })
      .then(async (res) => success({ statusCode: res.status, header: Object.fromEntries(res.headers), data: JSON.parse((await res.text()) || 'null') }))
      .catch((e) => fail({ errMsg: 'request:fail ' + e }))
  },
  login: ({ success, fail }) => box('POST', 'login', { appid: demo.appid, openid }).then((r) => success({ code: r.code, errMsg: 'login:ok' }), (e) => fail({ errMsg: 'login:fail ' + e })),
  getSetting({ success }) {
    box('GET', `grants?appid=${demo.appid}&openid=${openid}&template_id=${template}`).then((g) =>
      success({ subscriptionsSetting: { mainSwitch: g.main_switch, itemSettings: g.always ? { [template]: g.always } : {} } }))
  },
  openSetting: ({ success }) => success({}),
  requestSubscribeMessage({ tmplIds, success, fail }) {
    if (!gesture) return fail({ errMsg: 'requestSubscribeMessage:fail can only be invoked by user TAP gesture.' })
    box('POST', 'taps', { appid: demo.appid, openid, template_ids: tmplIds }).then((r) => (r.success ? success(r.success) : fail(r.fail)))
  },
  getStorageSync: (k) => (k in storage ? JSON.parse(storage[k]) : ''),
  setStorageSync: (k, v) => void (storage[k] = JSON.stringify(v)),
  removeStorageSync: (k) => void delete storage[k],
}
const context = vm.createContext({ wx, exports: {}, setTimeout }, { codeGeneration: { strings: false, wasm: false } })
vm.runInContext(readFileSync(new URL('../miniprogram_dist/index.js', import.meta.url), 'utf8'), context)
context.options = { baseURL: demo.api, appId: demo.appid }
const push = vm.runInContext('exports.createPush(options)', context)
const problems = []
push.on('error', (e) => problems.push(e))
push.on('dropped', (e) => problems.push(e))

// Login, scenes, tap.
await api('PUT', app + '/scenes/order_paid', { templates: [{ template, wanted: 2 }] })
await push.init()
gesture = true
const asked = push.subscribe({ scene: 'order_paid' })
gesture = false
assert.deepEqual(JSON.parse(JSON.stringify(await asked)), { ok: true, choices: { [template]: 'accept' }, accepted: [template], rejected: [], left: [] })
await push.flush()

// Reported by the phone and told by WeChat's event: counted once.
const popup = await until('the popup event', async () => (await api('GET', `${app}/callbacks?event=subscribe_msg_popup_event&openid=${openid}`)).items.find((c) => c.status === 'done'))
assert.equal(popup.encrypted, true)
let grant = await api('GET', `${app}/grants/${openid}/${template}`)
assert.equal(grant.available, 1)
assert.equal(grant.granted, 1)
assert.equal(grant.baseline, 'exact')
await event('grant.accepted', (d) => d.openid === openid && d.template_id === template)
assert.equal(heard.filter((e) => e.type === 'grant.accepted' && e.data.openid === openid).length, 1)

// Push, card, sent event.
const { items: templates } = await api('GET', app + '/templates')
const data = Object.fromEntries(templates.find((t) => t.template_id === template).keywords.map((k) => [k.key, k.example]))
const message = await api('POST', '/v1/messages', { app: demo.appid, to: openid, template, data })
await until('the delivery', async () => (await api('GET', '/v1/messages/' + message.id)).status === 'delivered')
const cards = (await box('GET', 'outbox?openid=' + openid)).items
assert.equal(cards.length, 1)
const delivered = await event('message.delivered', (d) => d.id === message.id)
assert.equal(delivered.data.msgid, cards[0].msgid)
grant = await api('GET', `${app}/grants/${openid}/${template}`)
assert.deepEqual([grant.available, grant.spent], [0, 1])

// The user refuses on the card.
await box('POST', 'refuse', { appid: demo.appid, openid, template_id: template, where: 'card' })
await event('grant.rejected', (d) => d.openid === openid)
grant = await api('GET', `${app}/grants/${openid}/${template}`)
assert.equal(grant.standing, 'reject')
assert.deepEqual(problems, [])

console.log(`from the tap to the webhook: ${heard.map((e) => e.type).join(', ')}`)
hook.close()
hook.closeAllConnections()
