// One message, from the form to the phone.
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { accepted, cardsOf, choose, eventually, grantOf, member, newApp, receives, refuses, sandbox, settled, v1 } from './world'

const title = '活动开始提醒'

test('a message is corrected, sent and followed until it arrives', async () => {
  const app = await newApp('send', 1)
  const [openid] = app.users as [string]
  await receives(app)
  await accepted(app, [openid])
  const page = await member()
  await page.goto(`/console/send?app=${app.appid}`)
  await choose(page, '模板', title)
  await page.getByLabel('收信人', { exact: true }).fill(openid)
  const badge = page.getByRole('status').filter({ hasText: '授权' })
  await badge.getByText('剩余 1 次').waitFor()
  await badge.getByText('会用掉一次授权').waitFor()

  // A wrong date is told of where it stands, and is not sent.
  await fill(page, { time2: '2027-02-30 19:30' })
  const date = page.getByLabel('活动时间', { exact: true })
  await eventually(() => date.getAttribute('aria-invalid'), (v) => v === 'true', 'the date is marked')
  await described(page, '活动时间', '没有这样的日期')
  await page.getByText('1 处错误').waitFor()
  await page.getByRole('button', { name: '发送', exact: true }).click()
  await page.getByText('请先改正上面的错误').waitFor()
  expect((await v1('GET', `/messages?app=${app.appid}`)).items).toEqual([])

  // What can be mended is mended by a click.
  await date.fill('2027年3月23日 19：30')
  const mend = page.getByRole('button', { name: '改为“2027年3月23日 19:30”' })
  await mend.focus()
  await page.keyboard.press('Enter')
  expect(await date.inputValue()).toBe('2027年3月23日 19:30')
  await page.getByText('内容符合规则').waitFor()
  await page.getByLabel('点击后打开的页面').fill('pages/event?id=7')
  await page.getByRole('button', { name: '发送', exact: true }).click()

  await page.waitForURL(/\/messages\/msg_/)
  await page.getByRole('region', { name: '现在的状态' }).getByText('已送达').first().waitFor()
  await page.getByText('微信发送结果推送').waitFor()
  const cards = await cardsOf(app)
  expect(cards.map((c) => [c.openid, c.page, c.data.time2?.value])).toEqual([[openid, 'pages/event?id=7', '2027年3月23日 19:30']])
  expect(await grantOf(app, openid)).toMatchObject({ available: 0, reserved: 0, spent: 1 })
})

test('without a grant it says so, and offers to wait or to try', async () => {
  const app = await newApp('no grant', 2)
  const [patient, bold] = app.users as [string, string]
  await receives(app)
  for (const openid of [patient, bold]) await refuses(app, openid)
  const page = await member()
  await page.goto(`/console/send?app=${app.appid}&template=${app.template}&to=${patient}`)
  await page.getByRole('status').getByText('会被拒绝（no_grant）').waitFor()
  await fill(page)
  await page.getByText('内容符合规则').waitFor()
  await page.getByRole('button', { name: '发送', exact: true }).click()
  const alert = page.getByRole('alert')
  await alert.waitFor()
  expect(await alert.innerText()).toMatch(/授权|订阅/)
  expect(await cardsOf(app)).toEqual([])

  await alert.getByRole('button', { name: '等用户下次同意' }).click()
  await page.waitForURL(/\/messages\/msg_/)
  const standing = page.getByRole('region', { name: '现在的状态' })
  await standing.getByText('等待授权').first().waitFor()
  // The user accepts, and the page follows.
  await sandbox('POST', '/taps', { appid: app.appid, openid: patient, template_ids: [app.template] })
  await standing.getByText('已送达').first().waitFor()
  expect((await cardsOf(app)).map((c) => c.openid)).toEqual([patient])

  await page.goto(`/console/send?app=${app.appid}&template=${app.template}&to=${bold}`)
  await fill(page)
  await page.getByText('内容符合规则').waitFor()
  await page.getByRole('button', { name: '发送', exact: true }).click()
  await page.getByRole('alert').getByRole('button', { name: '仍然尝试发送' }).click()
  await page.waitForURL(/\/messages\/msg_/)
  await standing.getByText('失败', { exact: true }).waitFor()
  await standing.getByText(/43101/).first().waitFor()
  await standing.getByRole('link', { name: /为什么发不出去/ }).click()
  await page.waitForURL(new RegExp(`/users/${bold}`))
  expect((await cardsOf(app)).map((c) => c.openid)).toEqual([patient])
})

test('a message for later stands as scheduled until it is canceled', async () => {
  const app = await newApp('later', 1)
  const [openid] = app.users as [string]
  await receives(app)
  await accepted(app, [openid])
  const page = await member()
  await page.goto(`/console/send?app=${app.appid}&template=${app.template}&to=${openid}`)
  await fill(page)
  await page.getByRole('radiogroup', { name: '发送时间' }).getByText('定时').click()
  await page.getByLabel('时间', { exact: true }).fill(await inTwoHours())
  await page.getByText(/即北京时间/).waitFor()
  await page.getByText('内容符合规则').waitFor()
  await page.getByRole('button', { name: '安排发送' }).click()
  await page.waitForURL(/\/messages\/msg_/)
  const id = page.url().split('/').at(-1)!
  const standing = page.getByRole('region', { name: '现在的状态' })
  await standing.getByText('已排期').waitFor()
  expect(await grantOf(app, openid)).toMatchObject({ available: 0, reserved: 1 })
  await standing.getByRole('button', { name: '取消发送' }).click()
  const sure = page.getByRole('dialog', { name: '取消这条消息？' })
  await sure.getByRole('button', { name: '取消发送' }).click()
  await standing.getByText('已取消').first().waitFor()
  expect((await v1('GET', `/messages/${id.split('?')[0]}`)).status).toBe('canceled')
  expect(await grantOf(app, openid)).toMatchObject({ available: 1, reserved: 0 })
  await page.getByRole('region', { name: '时间线' }).getByText('取消消息').waitFor()
  await settled(page)
})

/** Fills in the form's fields; what is not named gets a text that passes. */
async function fill(page: Page, data: { time2?: string } = {}) {
  await page.getByLabel('活动名称', { exact: true }).fill('秋季城市徒步')
  await page.getByLabel('活动时间', { exact: true }).fill(data.time2 ?? '2027-03-23 19:30')
  await page.getByLabel('集合地点', { exact: true }).fill('九溪公交站')
}

/** What a screen reader reads after the name of a field. */
async function described(page: Page, label: string, words: string) {
  const field = page.getByLabel(label, { exact: true })
  await eventually(async () => page.locator(`[id="${await field.getAttribute('aria-describedby')}"]`).innerText(), (text) => text.includes(words), `the words at ${label}`)
}

/** As an input of date and time takes it in Shanghai, by the clock that the specs may have moved. */
async function inTwoHours(): Promise<string> {
  const { now } = await sandbox<{ now: string }>('GET', '/clock')
  return new Date(new Date(now).getTime() + 10 * 3600_000).toISOString().slice(0, 16)
}
