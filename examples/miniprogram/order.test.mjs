// The mini program on a strict fake phone: node --test order.test.mjs
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import vm from 'node:vm'
import { createFakeWx } from '../../sdk/miniprogram/dist/testing.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), 'miniprogram')
const template = (id) => ({ template_id: id, title: id, kind: 'one_time', wanted: 1, available: 0, standing: 'unknown' })

/** Starts the app and opens its order page. */
async function start() {
  const fake = createFakeWx({ scenes: [{ name: 'order_paid', templates: [template('T1'), template('T2')] }] })
  const orders = []
  const request = fake.wx.request
  fake.wx.request = (o) => {
    if (!o.url.endsWith('/orders')) return request(o)
    orders.push(o.data)
    return Promise.resolve().then(() => o.success({ statusCode: 200, data: { message: 'msg_1', status: 'accepted' } }))
  }
  let app
  let page
  const context = vm.createContext({ wx: fake.wx, console, App: (a) => (app = a), getApp: () => app, Page: (p) => (page = p), setTimeout: fake.wx.setTimeout })
  const run = (file) => {
    const module = { exports: {} }
    const require = (name) => run(join(dirname(file), name + '.js'))
    vm.runInContext(`(function (module, exports, require) {${readFileSync(file, 'utf8')}\n})`, context)(module, module.exports, require)
    return module.exports
  }
  run(join(root, 'app.js'))
  app.onLaunch()
  run(join(root, 'pages/order/order.js'))
  page.setData = (data) => Object.assign(page.data, data)
  page.onShow()
  await fake.idle()
  return { fake, page, orders }
}

test('paying asks in the tap, counts the choices and orders', async () => {
  const { fake, page, orders } = await start()
  const paid = fake.tap(() => page.onPay({ type: 'tap' }))
  assert.deepEqual(Array.from(fake.dialogs, (ids) => [...ids]), [['T1', 'T2']])
  await paid
  await fake.idle()
  assert.equal(Object.values(fake.server.reports).length, 2)
  assert.equal(orders.length, 1)
  assert.equal(page.data.state, 'sent')
  assert.equal(page.data.notice, '订单有进展时会通知你')
})

test('a refusal orders all the same', async () => {
  const { fake, page, orders } = await start()
  fake.answers = { T1: 'reject', T2: 'reject' }
  await fake.tap(() => page.onPay({ type: 'tap' }))
  assert.equal(orders.length, 1)
  assert.equal(page.data.notice, '没有订阅，可在订单页随时开启')
})

test('with the main switch off the page offers the settings', async () => {
  const { fake, page } = await start()
  fake.mainSwitch = false
  await fake.tap(() => page.onPay({ type: 'tap' }))
  assert.equal(page.data.canOpenSetting, true)
  fake.mainSwitch = true
  await fake.tap(() => page.onOpenSetting())
  assert.equal(page.data.canOpenSetting, false)
})

test('without a network the choice waits and the page says so', async () => {
  const { fake, page } = await start()
  fake.offline = true
  await fake.tap(() => page.onPay({ type: 'tap' }))
  await fake.idle()
  assert.match(page.data.notice, /^下单失败/)
  fake.offline = false
  fake.show()
  await fake.idle()
  assert.equal(Object.values(fake.server.reports).length, 2)
})
