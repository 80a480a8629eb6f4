// Canceling several: what was chosen and nothing else, with a word about each that went another way.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { cardsOf, eventually, findings, member, newApp, settled, v1, type Fresh } from './world'

const pictures = process.env.HONGYAN_PICTURES
if (pictures) mkdirSync(pictures, { recursive: true })
const picture = async (page: Page, name: string) => pictures && page.screenshot({ path: join(pictures, `cancel-${name}.png`) })

type Sent = { id: string; status: string }

async function submit(app: Fresh, to: string[], more: object): Promise<string[]> {
  const messages = to.map((openid) => ({ app: app.appid, to: openid, template: app.template, data: { thing1: '城市徒步', time2: '2027-03-23 19:30', thing3: '北门' }, ...more }))
  const { items } = await v1<{ items: { message: Sent }[] }>('POST', '/messages/batch', { mode: 'strict', messages })
  return items.map((i) => i.message.id)
}

const statusOf = async (id: string) => (await v1<Sent>('GET', `/messages/${id}`)).status
const line = (page: Page) => page.locator('p[role=status]').filter({ hasText: /已选|正在取消|已取消/ })

test('the chosen are canceled, and what had gone or failed is said', async () => {
  const app = await newApp('cancel', 6)
  const [a, b, gone, fails, kept] = (await submit(app, app.users.slice(0, 5), { on_no_grant: 'hold' })) as [string, string, string, string, string]
  const page = await member()
  await page.goto(`/console/messages?app=${app.appid}`)
  const box = (id: string) => page.getByRole('checkbox', { name: new RegExp(id) })
  await box(kept).waitFor()

  // By the keyboard, one by one; all, and one less.
  await box(a).focus()
  await page.keyboard.press('Space')
  await page.getByText('已选 1 条').waitFor()
  await page.getByRole('checkbox', { name: '选择已读取的全部可取消消息' }).check()
  await page.getByText('已选 5 条').waitFor()
  await box(kept).uncheck()
  await page.getByText('已选 4 条').waitFor()
  await settled(page)
  expect(await findings(page)).toEqual([])
  await picture(page, 'chosen')

  await page.getByRole('button', { name: '取消所选' }).focus()
  await page.keyboard.press('Enter')
  const sure = page.getByRole('dialog', { name: '取消 4 条消息？' })
  await sure.waitFor()
  // While the question stands one is sent, and another cannot be canceled.
  await v1('POST', `/apps/${app.appid}/grants/${app.users[2]}/${app.template}/adjust`, { delta: 1, reason: 'test' })
  await eventually(() => statusOf(gone), (s) => s !== 'held', 'the message that goes')
  await eventually(() => statusOf(gone), (s) => s !== 'queued' && s !== 'sending', 'the message that goes')
  await page.route(`**/v1/messages/${fails}/cancel`, (r) =>
    r.fulfill({ status: 503, contentType: 'application/problem+json', body: JSON.stringify({ type: 'about:blank', title: '暂时不可用', status: 503, detail: 'x', code: 'unavailable', request_id: 'r' }) }),
  )
  await sure.getByRole('button', { name: '取消这 4 条消息' }).click()
  await page.getByText('已取消 2 条 · 1 条已发出或已结束，未取消 · 1 条取消失败').waitFor()
  await page.getByRole('alert').getByText('暂时不可用').waitFor()
  expect(await line(page).evaluate((e) => e === document.activeElement)).toBe(true)
  expect(await findings(page)).toEqual([])
  await picture(page, 'done')
  expect(await Promise.all([a, b, fails, kept].map(statusOf))).toEqual(['canceled', 'canceled', 'held', 'held'])
  await eventually(() => page.getByRole('checkbox', { name: /msg_/ }).count(), (n) => n === 2, 'what can still be canceled')
  await page.getByRole('button', { name: '知道了' }).click()
  await eventually(() => line(page).count(), (n) => n === 0, 'the line')
})

test('a hundred over two pages, after the number was typed', async () => {
  const app = await newApp('cancel many', 1)
  const user = app.users[0]!
  await v1('POST', `/apps/${app.appid}/grants/${user}/${app.template}/adjust`, { delta: 100, reason: 'test' })
  await submit(app, Array.from({ length: 100 }, () => user), { send_at: new Date(Date.now() + 48 * 3_600_000).toISOString() })
  const page = await member({ narrow: true })
  await page.goto(`/console/messages?app=${app.appid}`)
  const boxes = page.getByRole('checkbox', { name: /msg_/ })
  await eventually(() => boxes.count(), (n) => n === 50, 'the first page')
  await page.getByRole('button', { name: '读取更多' }).click()
  await eventually(() => boxes.count(), (n) => n === 100, 'the second page')
  await page.getByRole('checkbox', { name: '选择已读取的全部可取消消息' }).check()
  await page.getByText('已选 100 条').waitFor()
  await boxes.last().scrollIntoViewIfNeeded()
  await picture(page, 'narrow')
  await page.getByRole('button', { name: '取消所选' }).click() // from the end of the list
  const sure = page.getByRole('dialog', { name: '取消 100 条消息？' })
  await sure.getByRole('textbox').fill('100')
  await sure.getByRole('button', { name: '取消这 100 条消息' }).click()
  await page.getByText('已取消 100 条').waitFor({ timeout: 60_000 })
  expect(await boxes.count()).toBe(0)
  expect((await v1('GET', `/messages?app=${app.appid}&status=canceled&limit=500`)).items).toHaveLength(100)
  expect(await cardsOf(app)).toEqual([])
})
