// From a title of WeChat's library to a template that code can call by a name.
import { expect, test } from 'vitest'

import { demo, eventually, member, newApp, sandbox, settled, v1 } from './world'

/** The templates of an app as WeChat itself lists them. */
async function atWeChat(app: { appid: string; secret: string }): Promise<{ priTmplId: string; title: string; content: string }[]> {
  const { access_token } = await (await fetch(`${demo.sandbox}/cgi-bin/stable_token`, { method: 'POST', body: JSON.stringify({ grant_type: 'client_credential', appid: app.appid, secret: app.secret }) })).json()
  return (await (await fetch(`${demo.sandbox}/wxaapi/newtmpl/gettemplate?access_token=${access_token}`)).json()).data
}

test('a title of the library becomes a template', async () => {
  const app = await newApp('酒店', 3)
  const page = await member()
  await page.goto(`/console/templates?app=${app.appid}`)
  await page.getByRole('button', { name: '从模板库添加' }).click()

  const titles = page.getByRole('region', { name: '1. 选标题' })
  await titles.getByRole('combobox', { name: '类目' }).click()
  await page.getByRole('option', { name: '酒店服务' }).click()
  await titles.getByRole('button', { name: '酒店预订成功通知' }).waitFor()
  await titles.getByLabel('在标题中搜索').fill('没有这样的标题')
  await titles.getByText('没有符合的标题').waitFor()
  await titles.getByLabel('在标题中搜索').fill('退房')
  expect(await titles.getByRole('listitem').count()).toBe(1)
  await titles.getByRole('button', { name: '退房提醒' }).click()

  // The card follows what is chosen, in its order.
  const keywords = page.getByRole('region', { name: '2. 选关键词' })
  const card = page.getByRole('figure')
  const add = page.getByRole('button', { name: '添加到我的模板' })
  for (const name of ['退房时间', '房间号', '押金', '酒店名称']) await keywords.getByRole('button', { name: `添加 ${name}` }).click()
  await keywords.getByRole('button', { name: '上移 酒店名称' }).click()
  await keywords.getByRole('button', { name: '上移 酒店名称' }).click()
  await keywords.getByRole('button', { name: '上移 酒店名称' }).click()
  await keywords.getByRole('button', { name: '下移 退房时间' }).click()
  await keywords.getByRole('button', { name: '移除 押金' }).click()
  const wanted = ['酒店名称', '房间号', '退房时间']
  expect(await card.getByRole('term').allInnerTexts()).toEqual(wanted)
  expect(await card.innerText()).toContain('退房提醒')
  expect(await add.isDisabled(), 'without a scene').toBe(true)
  await page.getByText('请填写服务场景说明').waitFor()
  await page.getByLabel('服务场景说明').fill('退房前提醒客人')
  await add.click()

  // Its page; and WeChat has it, with exactly these keywords in this order.
  await page.getByRole('heading', { name: '退房提醒', level: 1 }).waitFor()
  await page.getByText('已添加到你的模板').waitFor()
  const made = (await atWeChat(app)).filter((t) => t.title === '退房提醒')
  expect(made).toHaveLength(1)
  const keys = [...made[0]!.content.matchAll(/^(.+?)[:：]\{\{(\w+)\.DATA\}\}$/gm)]
  expect(keys.map((m) => m[1])).toEqual(wanted)
  expect(keys.map((m) => m[2])).toEqual(['thing3', 'character_string1', 'time2'])
  expect(await page.getByRole('figure').getByRole('term').allInnerTexts()).toEqual(wanted)

  // A name for it, for code to call it by.
  const id = made[0]!.priTmplId
  await page.getByLabel('别名').fill('check_out')
  await page.getByRole('button', { name: '保存' }).click()
  await page.getByText('别名已保存').waitFor()
  expect(await v1('GET', `/apps/${app.appid}/templates/check_out`)).toMatchObject({ template_id: id, alias: 'check_out', title: '退房提醒' })

  // Its reach: nobody, and then those who accepted, without a reload.
  const reach = page.getByRole('region', { name: '可触达的用户' })
  await reach.getByText('还没有人订阅过它').waitFor()
  for (const [i, times] of [1, 1, 3].entries()) {
    await sandbox('POST', '/taps', { appid: app.appid, openid: app.users[i], template_ids: [id], times })
    for (let n = 0; n < times; n++) await v1('POST', `/apps/${app.appid}/grants/report`, { openid: app.users[i], template: 'check_out', choice: 'accept', id: `tap-${i}-${n}` })
  }
  const reachable = async () => (await reach.innerText()).replace(/\s+/g, ' ')
  await eventually(reachable, (text) => text.includes('3 可发送 / 已知用户 3'), 'the reach')
  expect(await reachable()).toMatch(/剩余 3 次及以上 1 剩余 2 次 0 剩余 1 次 2/)

  // It is in the list, found by its name.
  await page.getByRole('button', { name: '所有模板' }).click()
  await settled(page)
  await page.getByRole('textbox', { name: /^搜索/ }).fill('check_out')
  await eventually(() => page.locator('tbody tr').count(), (n) => n === 1, 'rows')
  const row = page.getByRole('row', { name: /退房提醒/ })
  expect(await row.innerText()).toContain('check_out')
  await row.getByRole('link', { name: '退房提醒' }).click()
  await page.getByRole('heading', { name: '退房提醒', level: 1 }).waitFor()
})
