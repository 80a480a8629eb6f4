// A list of people, from a file and from a spreadsheet, to each phone once.
import { readFile } from 'node:fs/promises'

import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { accepted, cardsOf, eventually, member, newApp, receives, refuses, settled, v1, type Fresh } from './world'

const title = '活动开始提醒'

test('of 200 rows 195 are sent, each once, and 5 come back with why', async () => {
  const app = await newApp('list', 197)
  await receives(app)
  const good = app.users.slice(0, 195)
  const [willing, refused] = app.users.slice(195) as [string, string]
  await accepted(app, [...good, willing])
  await refuses(app, refused)

  const rows = good.map((openid, i) => [openid, '2027-03-23 19:30', `第 ${i + 1} 组，北门`, '秋季城市徒步'])
  const bad = {
    8: [willing, '2027-56-23 19:30', '北门', '秋季城市徒步'],
    41: [willing, '2027-03-23 19:30', '', '秋季城市徒步'],
    77: [willing, '2027-03-23 19:30', '北门', '一个比二十个字长得多而且没有人愿意截断它的活动名称'],
    120: ['不是 openid', '2027-03-23 19:30', '北门', '秋季城市徒步'],
    199: [refused, '2027-03-23 19:30', '北门', '秋季城市徒步'],
  }
  for (const [at, row] of Object.entries(bad)) rows.splice(Number(at), 0, row)
  expect(rows.length).toBe(200)
  // Columns stand in an order of their own, one has a comma in it.
  const csv = [['OpenID', '活动时间', '集合地点', '活动名称'], ...rows].map((r) => r.map((c) => `"${c}"`).join(',')).join('\r\n')

  const page = await member()
  await page.goto(`/console/send?app=${app.appid}&template=${app.template}&mode=many`)
  await choose(page, csv)
  await page.getByText('已读取 名单.csv：200 行').waitFor()
  const columns = page.getByRole('region', { name: '对应列' }).getByRole('row')
  for (const [field, first] of [['收信人', rows[0]![0]], ['活动名称', '秋季城市徒步'], ['活动时间', '2027-03-23 19:30'], ['集合地点', '第 1 组，北门']]) {
    expect(await columns.filter({ hasText: field }).locator('td').last().innerText(), field).toBe(first)
  }
  await page.getByRole('button', { name: '检查 200 行' }).click()
  await page.getByText('195 行可发送，5 行有问题').waitFor({ timeout: 60_000 })
  expect(await cardsOf(app), 'a check sends nothing').toEqual([])

  await page.getByText('只看有问题的').click()
  const table = page.getByRole('region', { name: '名单检查结果' }).locator('tbody tr')
  await eventually(() => table.count(), (n) => n === 5, 'the bad rows')
  const reasons = [/没有这样的日期/, /不能为空/, /太长了/, /openid 写法不对/, /没有可用的订阅次数/]
  const lines = Object.keys(bad).map((at) => String(Number(at) + 2)) // the headings are line 1
  for (const [i, why] of reasons.entries()) {
    const cells = table.nth(i).locator('td')
    expect(await cells.nth(0).innerText()).toBe(lines[i])
    expect(await cells.nth(2).innerText()).toMatch(why)
  }

  const back = await downloaded(page, '下载有问题的行')
  expect(back[0]).toBe('OpenID,活动时间,集合地点,活动名称,原因')
  expect(back.length).toBe(6)
  for (const [i, row] of Object.values(bad).entries()) {
    expect(back[i + 1]).toContain(row[0])
    expect(back[i + 1]!.split(',').at(-1) || '', back[i + 1]).toMatch(reasons[i]!)
  }

  await send(page, 195)
  await count(page, '已受理', 195)
  await each(app, good)

  await page.getByRole('button', { name: '查看这批消息' }).click()
  await page.waitForURL(/\/messages\?.*tag=upload-/)
  const shown = page.getByRole('region', { name: '消息列表' }).locator('tbody tr')
  for (const more = page.getByRole('button', { name: '读取更多' }); await eventually(async () => shown.count(), (n) => n > 0, 'messages') < 195; ) {
    const had = await shown.count()
    await more.click()
    await eventually(() => shown.count(), (n) => n > had, 'more messages')
  }
  expect(await shown.count()).toBe(195)
  const tag = new URL(page.url()).searchParams.get('tag')!
  const { items } = await v1<{ items: { to: string; tags: string[] }[] }>('GET', `/messages?app=${app.appid}&tag=${tag}&limit=500`)
  expect(items.map((m) => m.to).sort()).toEqual([...good].sort())

  // The same list again: nobody has a grant left, but nobody is asked either.
  await accepted(app, good)
  await page.goto(`/console/send?app=${app.appid}&template=${app.template}&mode=many`)
  await choose(page, csv)
  await page.getByRole('button', { name: '检查 200 行' }).click()
  await page.getByText('195 行可发送，5 行有问题').waitFor({ timeout: 60_000 })
  await send(page, 195)
  await count(page, '之前发过，未重复发送', 195)
  await count(page, '已受理', 0)
  await each(app, good)
}, 300_000)

test('cells pasted from a spreadsheet', async () => {
  const app = await newApp('pasted', 3)
  await receives(app)
  await accepted(app, app.users)
  const page = await member()
  await page.goto(`/console/send?app=${app.appid}&template=${app.template}&mode=many`)
  const cells = [['活动名称', '集合地点', '活动时间', '微信 openid'], ...app.users.map((o, i) => [`第 ${i + 1} 场，晚`, '九溪, 东口', '2027年3月23日 19:30', o])]
  const box = page.getByLabel('粘贴表格内容')
  await box.focus()
  await box.evaluate((e, text) => {
    const data = new DataTransfer()
    data.setData('text/plain', text)
    e.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))
  }, cells.map((r) => r.join('\t')).join('\r\n') + '\r\n')
  await page.getByText('已读取 粘贴的内容：3 行').waitFor()
  await page.getByRole('button', { name: '检查 3 行' }).click()
  await page.getByText('3 行可发送，0 行有问题').waitFor()
  await page.getByRole('button', { name: '发送给 3 人' }).click()
  await page.getByRole('dialog', { name: '确认发送' }).getByRole('button', { name: '发送给 3 人' }).click()
  await count(page, '已受理', 3)
  const cards = await each(app, app.users)
  expect(new Set(cards.map((c) => c.data.thing3?.value))).toEqual(new Set(['九溪, 东口']))
  expect(cards.map((c) => c.data.thing1?.value).sort()).toEqual(['第 1 场，晚', '第 2 场，晚', '第 3 场，晚'])
  await settled(page)
  expect(title).toBe((await v1('GET', `/apps/${app.appid}/templates`)).items[0].title)
})

async function choose(page: Page, csv: string) {
  await page.locator('input[type=file]').setInputFiles({ name: '名单.csv', mimeType: 'text/csv', buffer: Buffer.from(csv) })
}

/** Many are sent to only after their number was typed. */
async function send(page: Page, people: number) {
  await page.getByRole('button', { name: `发送给 ${people} 人` }).click()
  const sure = page.getByRole('dialog', { name: '确认发送' })
  await sure.getByRole('textbox').fill(String(people))
  await sure.getByRole('button', { name: `发送给 ${people} 人` }).click()
  await page.getByRole('heading', { name: '提交完成' }).waitFor({ timeout: 60_000 })
}

async function count(page: Page, what: string, n: number) {
  await page.locator('dl > div').filter({ hasText: what }).locator('dd').getByText(String(n), { exact: true }).waitFor()
}

/** Every phone got one card, once nothing is on its way any more. */
async function each(app: Fresh, openids: string[]) {
  await eventually(async () => (await v1('GET', `/messages?app=${app.appid}&status=queued,sending&limit=1`)).items.length, (n) => n === 0, 'the queue', 60_000)
  const cards = await eventually(() => cardsOf(app), (c) => c.length >= openids.length, 'the cards', 60_000)
  expect(cards.map((c) => c.openid).sort()).toEqual([...openids].sort())
  return cards
}

/** The lines of a file that a button gives. */
async function downloaded(page: Page, button: string): Promise<string[]> {
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: button }).click()])
  expect(file.suggestedFilename()).toMatch(/^upload-.*\.csv$/)
  return (await readFile(await file.path(), 'utf8')).replace(/^\uFEFF/, '').trim().split('\r\n')
}
