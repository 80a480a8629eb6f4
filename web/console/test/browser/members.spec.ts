// Who may do what, and for how long.
import { expect, test } from 'vitest'

import { demo, eventually, findings, member, newMember, sandbox, settled, signIn, stranger, v1 } from './world'

test('a viewer sees, and changes nothing', async () => {
  const name = `viewer-${Date.now()}`
  const page = await newMember(name, 'look but not touch')
  const nav = page.getByRole('navigation').first()
  await nav.getByRole('link', { name: '消息', exact: true }).waitFor()
  for (const hidden of ['发送', 'API 密钥', '成员', '操作记录', '沙盒手机']) expect(await nav.getByRole('link', { name: hidden, exact: true }).count(), hidden).toBe(0)
  for (const path of ['/send', '/keys', '/members', '/audit', '/webhooks', '/phone', '/start']) {
    await page.goto('/console' + path)
    await page.getByRole('alert').getByText('你没有查看这里的权限').waitFor()
  }
  await page.goto(`/console/apps/${demo.appid}`)
  await settled(page)
  expect(await page.getByRole('button', { name: /保存|暂停|删除|更换/, disabled: false }).count()).toBe(0)
  // What the page does not offer the server does not do either.
  const answers = await page.evaluate(async (appid) => {
    const tries: [string, string, unknown][] = [
      ['POST', `/v1/apps/${appid}/pause`, { scope: 'app' }], ['POST', '/v1/keys', { name: 'k', scopes: ['manage'] }], ['POST', '/v1/messages', {}],
      ['POST', '/v1/members', { name: 'x', role: 'owner' }], ['GET', '/v1/sandbox/apps', undefined], ['GET', '/v1/audit', undefined],
      ['POST', `/v1/apps/${appid}/token`, {}],
    ]
    return Promise.all(tries.map(async ([method, url, body]) => (await fetch(url, { method, headers: { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) })).status))
  }, demo.appid)
  expect(answers).toEqual([403, 403, 403, 403, 403, 403, 403])
})

test('a session ends, and one goes on where one was', async () => {
  const page = await member()
  await page.goto(`/console/messages?app=${demo.appid}&status=failed`)
  await settled(page)
  await sandbox('POST', '/clock', { advance_s: 13 * 3600 })
  // The page goes by itself when it reads again, or when one goes on.
  await page.getByRole('link', { name: '模板', exact: true }).first().click({ timeout: 3000 }).catch(() => {})
  await page.waitForURL(/sign-in/)
  await page.getByText('登录已过期').waitFor()
  await signIn(page, demo.console_name, demo.console_password)
  await page.waitForURL(/\/console\/(templates|messages\?app=.*status=failed)/)
})

test('a signed-out session is worth nothing', async () => {
  const page = await member()
  const [kept] = (await page.context().cookies()).filter((c) => c.name === 'hongyan_session')
  await page.getByRole('button', { name: /帐号/ }).click()
  await page.getByRole('menuitem', { name: '退出登录' }).click()
  await page.waitForURL(/sign-in/)
  const other = await stranger()
  await other.context().addCookies([kept!])
  await other.goto('/console/')
  await other.waitForURL(/sign-in/)
})

test('guessing is slowed down, in words', async () => {
  const name = `guessed-${Date.now()}`
  await newMember(name, 'not to be guessed')
  const page = await stranger()
  await page.goto('/console/sign-in')
  const again = async (password: string) => {
    await page.locator('#name').fill(name)
    await page.locator('#password').fill(password)
    const [r] = await Promise.all([page.waitForResponse((r) => r.url().endsWith('/v1/session') && r.request().method() === 'POST'), page.locator('button[type=submit]').click()])
    return r.status()
  }
  const seen = await eventually(async () => again('wrong wrong wrong'), (s) => s === 429, 'guesses')
  expect(seen).toBe(429)
  expect(await again('not to be guessed')).toBe(429)
  await page.getByRole('alert').waitFor()
  expect(new URL(page.url()).pathname).toBe('/console/sign-in')
})

test('a one-time link says what it is for, and at once that it has ended', async () => {
  const name = `linked-${Date.now()}`
  const { link } = await v1<{ link: string }>('POST', '/members', { name, role: 'viewer' })
  const page = await stranger()
  const urls: string[] = []
  page.on('request', (r) => urls.push(r.url()))
  await page.goto(link)
  await page.getByText(`为 ${name} 设置密码`).waitFor()
  expect(await findings(page)).toEqual([])
  await page.reload() // looking does not use it up
  await page.getByLabel(/^密码/).fill('a long password')
  await page.getByLabel('再输入一次密码').fill('a long password')
  await page.getByRole('button', { name: '保存并登录' }).click()
  await page.locator('main#main').waitFor()

  const late = await stranger()
  late.on('request', (r) => urls.push(r.url()))
  await late.goto(link)
  await late.getByRole('alert').getByText('该链接已使用、已被替换或已过期').waitFor()
  expect(await late.locator('input').count(), 'a form that could only be refused').toBe(0)
  await late.getByRole('button', { name: /English/ }).click()
  await late.getByRole('alert').getByText('The link was used').waitFor()
  await late.getByRole('link', { name: 'To the sign-in' }).click()
  await late.locator('#name').waitFor()
  expect(urls.filter((u) => new URL(u).pathname.startsWith('/v1') && u.includes('token'))).toEqual([])
})
