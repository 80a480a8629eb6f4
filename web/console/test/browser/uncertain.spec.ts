// WeChat's answer is lost: the message stands as uncertain until somebody says what became of it.
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { cardsOf, demo, eventually, grantOf, member, newApp, sandbox, settled, v1, type Fresh } from './world'

const send = '/cgi-bin/message/subscribe/send'

test('uncertain messages show live and are settled by hand', async () => {
  const app = await newApp('uncertain', 2)
  const [came, lost] = app.users as [string, string]
  for (const openid of app.users) await report(app, openid)
  const page = await member()
  await page.goto(`/console/messages?app=${app.appid}`)
  await settled(page)
  // A mark on the page that a reload would wipe away.
  await page.evaluate(() => ((window as any).stays = true))

  // The card arrives, the answer does not.
  await sandbox('POST', '/faults', { appid: app.appid, path: send, drop: true, when: 'after', count: 1 })
  const first = await submit(app, came)
  const table = page.getByRole('region', { name: '消息列表' })
  const row = (openid: string) => table.getByRole('row').filter({ hasText: openid })
  await row(came).getByText('不确定').waitFor()
  expect((await cardsOf(app)).map((c) => c.openid)).toEqual([came])

  // Neither does.
  await sandbox('POST', '/faults', { appid: app.appid, path: send, drop: true, when: 'before', count: 1 })
  const second = await submit(app, lost)
  await row(lost).getByText('不确定').waitFor()
  expect(await page.evaluate(() => (window as any).stays)).toBe(true)
  for (const openid of app.users) expect(await grantOf(app, openid)).toMatchObject({ available: 0, reserved: 1 })

  await page.getByRole('link', { name: '结果不确定' }).click()
  await eventually(() => table.locator('tbody tr').count(), (n) => n === 2, 'the uncertain ones')
  await row(came).getByRole('link').first().click()
  await page.waitForURL(new RegExp(first))
  await settle(page, '算作已送达')
  await standing(page).getByText('已送达', { exact: true }).waitFor()
  await standing(page).getByText('有人核对后认定：用户已收到').waitFor()
  await timeline(page).getByText(`由 ${demo.console_name} 操作`).waitFor()
  expect(await v1('GET', `/messages/${first}`)).toMatchObject({ status: 'delivered', reason: 'resolved' })
  expect(await grantOf(app, came)).toMatchObject({ available: 0, reserved: 0, spent: 1 })

  await page.goto(`/console/messages/${second}`)
  await settle(page, '算作失败')
  await standing(page).getByText('失败', { exact: true }).waitFor()
  await standing(page).getByText('授权次数已退回').waitFor()
  expect(await v1('GET', `/messages/${second}`)).toMatchObject({ status: 'failed', reason: 'resolved' })
  expect(await grantOf(app, lost)).toMatchObject({ available: 1, reserved: 0, spent: 0 })

  // Who it was stands in the audit log.
  await timeline(page).getByRole('link', { name: '操作记录' }).click()
  await page.waitForURL(/\/audit\?object=msg_/)
  const entry = page.getByRole('region', { name: '操作记录' }).locator('tbody tr')
  await entry.getByText('核对不确定的消息').waitFor()
  expect(await entry.count()).toBe(1)
  expect(await entry.innerText()).toContain(demo.console_name)
  const { items } = await v1('GET', `/audit?object=${second}`)
  expect(items).toMatchObject([{ action: 'resolve-message', actor: { name: demo.console_name }, changes: [{ pointer: '/status', before: 'uncertain', after: 'failed' }] }])
})

const standing = (page: Page) => page.getByRole('region', { name: '现在的状态' })
const timeline = (page: Page) => page.getByRole('region', { name: '时间线' })

/** Each way says what it does, and is asked once more. */
async function settle(page: Page, way: string) {
  await standing(page).getByText('不确定', { exact: true }).waitFor()
  await standing(page).getByRole('button', { name: way }).click()
  const sure = page.getByRole('dialog', { name: `确定${way}？` })
  await sure.getByRole('button', { name: way }).click()
  await sure.waitFor({ state: 'hidden' })
}

/** The app's only witness of a tap is its report: without pushes nothing settles a message by itself. */
async function report(app: Fresh, openid: string) {
  await sandbox('POST', '/taps', { appid: app.appid, openid, template_ids: [app.template] })
  await v1('POST', `/apps/${app.appid}/grants/report`, { reports: [{ id: crypto.randomUUID(), openid, template: app.template, choice: 'accept', age_ms: 0 }] })
  expect(await grantOf(app, openid)).toMatchObject({ available: 1 })
}

async function submit(app: Fresh, openid: string): Promise<string> {
  const data = { thing1: '秋季城市徒步', time2: '2027-03-23 19:30', thing3: '九溪公交站' }
  return (await v1<{ id: string }>('POST', '/messages', { app: app.appid, to: openid, template: app.template, data })).id
}
