// The sandbox phone: order, subscribe, receive, refuse. What it tells is checked at the server
// and at the sandbox.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { cardsOf, choose, eventually, grantOf, member, newApp, receives, sandbox, settled, v1, type Fresh } from './world'

const pictures = process.env.HONGYAN_PICTURES
if (pictures) mkdirSync(pictures, { recursive: true })

type Shop = Fresh & { paid: string; shipped: string; titles: { paid: string; shipped: string } }

test('subscribe, receive, refuse', async () => {
  const shop = await newShop(2)
  const openid = shop.users[1]!
  const page = await member({ theme: 'light', options: { viewport: { width: 1500, height: 1200 } } })
  await page.goto(`/console/phone?app=${shop.appid}`)
  await phone(page).waitFor()
  await choose(page, '这是谁的手机', new RegExp(openid.slice(-4)))
  await page.waitForURL((u) => u.searchParams.get('openid') === openid)

  await order(page, '羊毛混纺大衣 藏青')
  await told(page, /code → openid/)
  await picture(page, 'phone-1-shop')
  // One template is allowed, the other refused.
  await phone(page).getByRole('button', { name: '订阅发货通知' }).click()
  const sheet = phone(page).getByRole('dialog', { name: /申请发送以下消息/ })
  await sheet.getByRole('button', { name: `${shop.titles.shipped} 的示例` }).click()
  await sheet.getByRole('switch', { name: shop.titles.paid }).focus()
  await page.keyboard.press('Space')
  await picture(page, 'phone-2-sheet')
  await sheet.getByRole('button', { name: '允许' }).click()
  await told(page, /同意 1 \/ 2/)
  await told(page, /弹窗事件推送到鸿雁/)
  await told(page, /这次点击：授权共 \+1/)
  await counts(page, shop.titles.shipped, '1', '1')
  // Nothing is known of the times before the refusal.
  await counts(page, shop.titles.paid, '至少 0', '0')
  expect(await grantOf(shop, openid, shop.shipped)).toMatchObject({ standing: 'accept', available: 1 })
  expect(await grantOf(shop, openid, shop.paid)).toMatchObject({ standing: 'reject', available: 0 })
  await picture(page, 'phone-3-granted')

  // The shop ships; the card comes and opens the order.
  await ship(page, shop.titles.shipped)
  await told(page, /errcode 0，msgid \d+/)
  await told(page, `手机收到「${shop.titles.shipped}」`)
  const steps = await story(page).innerText() // the newest first
  expect(steps.indexOf('手机收到')).toBeLessThan(steps.indexOf('正在调用微信'))
  await home(page)
  await phone(page).getByRole('button', { name: /^服务通知.*1 条未读/ }).click()
  const cards = phone(page).getByRole('log', { name: '服务通知' }).getByRole('figure')
  await cards.filter({ hasText: shop.titles.shipped }).waitFor()
  await told(page, /已送达/)
  await picture(page, 'phone-4-card')
  const [card] = await cardsOf(shop)
  expect(card).toMatchObject({ openid, template_id: shop.shipped })
  await cards.first().getByRole('button', { name: '进入小程序查看' }).click()
  await phone(page).getByText('pages/order/detail').waitFor()
  await phone(page).getByText(card!.page.split('id=')[1]!).first().waitFor()
  await counts(page, shop.titles.shipped, '0', '0')
  expect(await grantOf(shop, openid, shop.shipped)).toMatchObject({ available: 0, spent: 1 })

  // A second grant is void once the user refuses on the card; a further notice fails, with words.
  await phone(page).getByRole('button', { name: '再订阅一次' }).click()
  await sheet.getByRole('button', { name: '允许' }).click()
  await counts(page, shop.titles.shipped, '1', '1')
  await home(page)
  await phone(page).getByRole('button', { name: /^服务通知/ }).click()
  await cards.first().getByRole('button', { name: /拒收|···|更多/ }).click()
  await phone(page).getByRole('dialog', { name: '通知的操作' }).getByRole('button', { name: `拒收「${shop.titles.shipped}」` }).click()
  await told(page, /变更事件推送到鸿雁/)
  await counts(page, shop.titles.shipped, '0', '0')
  expect(await grantOf(shop, openid, shop.shipped)).toMatchObject({ standing: 'reject', available: 0, voided: 1 })
  await ship(page, shop.titles.shipped)
  await told(page, /errcode 43101/)
  const why = story(page).getByRole('listitem').filter({ hasText: 'errcode 43101' })
  expect((await why.locator('.why').innerText()).length).toBeGreaterThan(10)
  await picture(page, 'phone-5-refused')
  await page.getByRole('radio', { name: '拒绝提交' }).check({ force: true })
  await ship(page, shop.titles.shipped)
  const refused = story(page).getByRole('listitem').filter({ hasText: '被拒绝：没有打扰微信' })
  await refused.getByRole('alert').waitFor()
  expect(await refused.innerText()).toMatch(/拒收|拒绝/)
  expect((await cardsOf(shop)).length).toBe(1)
}, 180_000)

test('what is always kept is not asked again', async () => {
  const shop = await newShop(1)
  const page = await member()
  await page.goto(`/console/phone?app=${shop.appid}`)
  await order(page, '桂花乌龙茶 100 克')
  await phone(page).getByRole('button', { name: '订阅发货通知' }).click()
  const sheet = phone(page).getByRole('dialog', { name: /申请发送以下消息/ })
  await sheet.getByLabel('总是保持以上选择，不再询问').check()
  await sheet.getByRole('button', { name: '允许' }).click()
  await told(page, /这次点击：授权共 \+2/)
  await phone(page).getByRole('button', { name: '再订阅一次' }).click()
  await told(page, /不弹窗，直接按记住的选择回答/)
  await counts(page, shop.titles.shipped, '2', '2')
  expect(await sheet.count()).toBe(0)
  for (const id of [shop.paid, shop.shipped]) expect(await grantOf(shop, shop.users[0]!, id)).toMatchObject({ available: 2 })
})

test('a fault is survived and the clock goes on', async () => {
  await sandbox('DELETE', '/faults') // spent ones of other specs stand in the list too
  const shop = await newShop(1)
  const page = await member()
  await page.goto(`/console/phone?app=${shop.appid}`)
  await order(page, '云南手冲咖啡豆')
  await phone(page).getByRole('button', { name: '订阅发货通知' }).click()
  await phone(page).getByRole('dialog').getByRole('button', { name: '允许' }).click()
  await counts(page, shop.titles.shipped, '1', '1')

  const faults = page.getByRole('region', { name: '故障' })
  await faults.getByRole('button', { name: '设置故障' }).click()
  await faults.getByText('还剩 1 次').waitFor()
  await ship(page, shop.titles.shipped)
  await told(page, /errcode -1.*稍后自动再试/)
  await faults.getByText('还剩 0 次 · 已生效 1 次').waitFor()
  await told(page, `手机收到「${shop.titles.shipped}」`)
  const { items } = await v1<{ items: { id: string }[] }>('GET', `/messages?app=${shop.appid}`)
  const m = await eventually(() => v1('GET', `/messages/${items[0]!.id}`), (m) => m.status === 'delivered', 'delivery')
  expect(m.attempts.map((a: { errcode: number }) => a.errcode)).toEqual([-1, 0])
  expect((await cardsOf(shop)).length).toBe(1)
  await faults.getByRole('button', { name: '清除 -1 系统繁忙' }).click()
  await faults.getByText('现在没有故障').waitFor()
  expect((await sandbox('GET', '/faults')).items).toEqual([])

  const clock = page.getByRole('region', { name: '时钟' })
  const before = (await sandbox<{ offset_s: number }>('GET', '/clock')).offset_s
  await clock.getByRole('button', { name: '+1 小时' }).click()
  await told(page, /时间前进到/)
  expect((await sandbox<{ offset_s: number }>('GET', '/clock')).offset_s).toBe(before + 3600)
  await clock.getByText(/比真实时间快/).waitFor()
})

/** A shop with the notices of paid and shipped orders, whose events are pushed. */
async function newShop(users: number): Promise<Shop> {
  const app = await newApp('街角小店', users) // no text of ours: English pages are searched for those
  await receives(app)
  const paid = await sandbox('POST', '/templates', { appid: app.appid, tid: '2001', kids: [1, 2, 3, 4, 11] })
  const shipped = await sandbox('POST', '/templates', { appid: app.appid, tid: '1458', kids: [2, 3, 5, 8, 12] })
  await v1('POST', `/apps/${app.appid}/templates/sync`)
  await v1('PUT', `/apps/${app.appid}/scenes/order_paid`, { templates: [{ template: paid.template_id }, { template: shipped.template_id }] })
  return { ...app, paid: paid.template_id, shipped: shipped.template_id, titles: { paid: paid.title, shipped: shipped.title } }
}

const phone = (page: Page) => page.getByRole('region', { name: '手机', exact: true })
const story = (page: Page) => page.getByRole('log', { name: '刚刚发生了什么' })
const told = (page: Page, what: string | RegExp) => story(page).getByText(what).first().waitFor()
const home = (page: Page) => phone(page).getByRole('button', { name: '主屏幕' }).click()

/** Opens the shop, orders and pays. */
async function order(page: Page, product: string) {
  await phone(page).getByRole('button', { name: '小商店' }).click()
  await phone(page).getByRole('button', { name: `购买 ${product}` }).click()
  await phone(page).getByRole('button', { name: /^支付/ }).click()
  await phone(page).getByText('支付成功').waitFor()
}

/** The shop's back end sends the notice of the newest order. */
async function ship(page: Page, title: string) {
  const backend = page.getByRole('region', { name: '商家后台' })
  await backend.getByRole('button', { name: `发送「${title}」` }).first().click()
}

/** What the table beside the phone says: ours, and WeChat's. */
async function counts(page: Page, title: string, here: string, there: string) {
  const cells = page.getByRole('table', { name: '授权次数' }).getByRole('row').filter({ hasText: title }).getByRole('cell')
  const read = async () => [await cells.nth(1).innerText(), (await cells.nth(2).innerText()).replace(/\s+/g, '')]
  await eventually(read, (v) => v[0] === here && v[1] === `${there}一致`, `the counts of ${title}`)
}

/** The phone and the story beside it, for those who read about it. */
async function picture(page: Page, name: string) {
  if (!pictures) return
  await settled(page)
  // The story scrolls in a box of its own; its newest is at the top, beside the phone.
  await story(page).evaluate((e) => e.scrollTo({ top: 0 }))
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur())
  await page.evaluate(() => scrollTo(0, 0))
  const box = await page.locator('.stage').boundingBox()
  const device = await phone(page).boundingBox()
  await page.screenshot({ path: join(pictures, `${name}.png`), clip: { x: box!.x - 16, y: box!.y - 16, width: 1280, height: device!.height + 32 } })
}
