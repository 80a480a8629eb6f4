// From the one-time link of a server that nobody opened yet to the first card, as whoever
// installs it goes: with a wrong secret, and an IP that WeChat does not know, on the way.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { call, eventually, settled, stranger } from './world'

type FirstRun = { api: string; sandbox: string; link: string; api_key: string }
const run: FirstRun = JSON.parse(process.env.HONGYAN_FIRST_RUN ?? 'null')
if (!run) throw new Error('HONGYAN_FIRST_RUN is not set: run these by `go test ./web/console`')

const sandbox = <T = any>(method: string, path: string, body?: unknown) => call<T>(method, `${run.sandbox}/_sandbox${path}`, body)
const v1 = <T = any>(path: string) => call<T>('GET', `${run.api}/v1${path}`, undefined, { Authorization: `Bearer ${run.api_key}` })
const visitor = () => stranger({ options: { baseURL: run.api, permissions: ['clipboard-read', 'clipboard-write'] } })

const pictures = process.env.HONGYAN_PICTURES
if (pictures) mkdirSync(pictures, { recursive: true })
const picture = async (page: Page, name: string) => pictures && page.screenshot({ path: join(pictures, `first-${name}.png`), fullPage: true })

/** What the copy button beside a text puts on the clipboard. */
async function copied(page: Page, name: string | RegExp): Promise<string> {
  await page.evaluate(() => navigator.clipboard.writeText(''))
  await page.getByRole('button', { name }).click()
  return eventually(() => page.evaluate(() => navigator.clipboard.readText()), (text) => text !== '', `a copy of ${name}`)
}

test('from the link to the first card', async () => {
  const wechat = await sandbox('POST', '/apps', {})
  await sandbox('PUT', `/apps/${wechat.appid}/rules`, { ip_whitelist: ['203.0.113.9'] })

  // Whoever comes without the link is told where it is.
  const page = await visitor()
  await page.goto('/console/')
  await page.getByText('打开服务器日志中的一次性链接').waitFor()
  await page.goto(run.link)
  await page.getByRole('heading', { name: '创建管理员' }).waitFor()
  await picture(page, '1-link')
  await page.getByLabel('用户名').fill('鸿雁')
  await page.getByLabel(/^密码/).fill('a long password')
  await page.getByLabel('再输入一次密码').fill('another password')
  await page.getByText('两次输入的密码不一致').waitFor()
  expect(await page.getByRole('button', { name: '创建并登录' }).isDisabled()).toBe(true)
  await page.getByLabel('再输入一次密码').fill('a long password')
  await page.getByRole('button', { name: '创建并登录' }).click()
  await page.getByRole('heading', { name: '开始使用' }).waitFor()
  expect(await v1('/members')).toMatchObject({ items: [{ name: '鸿雁', role: 'owner' }] })

  // A wrong AppSecret: what to look at, and nothing is stored.
  const now = page.locator('li[aria-current=step]')
  const stepIs = (title: string) => now.getByRole('heading', { name: title }).waitFor()
  await stepIs('添加小程序')
  await now.getByLabel(/^AppID/).fill(wechat.appid)
  await now.getByLabel('AppSecret').fill('0123456789abcdef0123456789abcdef')
  await now.getByLabel(/^名称/).fill('第一个小程序')
  const add = now.getByRole('button', { name: '验证并添加' })
  await add.click()
  await now.getByRole('alert').getByText('检查 AppSecret 是否复制完整').waitFor()
  expect(await now.getByRole('alert').innerText()).toContain('40125')
  await picture(page, '2-secret')
  expect((await v1('/apps')).items).toEqual([])

  // The right one, from an IP that is not on WeChat's list: it is named, and copied as it stands.
  await now.getByLabel('AppSecret').fill(wechat.secret)
  await add.click()
  await now.getByRole('alert').getByText('IP 白名单，添加上面的 IP').waitFor()
  expect(await now.getByRole('alert').innerText()).toContain('40164')
  await picture(page, '3-ip')
  const ip = await copied(page, /^复制 [\d.]+$/)
  expect(ip).toBe('127.0.0.1')
  await sandbox('PUT', `/apps/${wechat.appid}/rules`, { ip_whitelist: [ip] })
  await add.click()

  // No template at WeChat yet: it says so. Then there is one.
  await stepIs('同步模板')
  expect((await v1('/apps')).items).toMatchObject([{ appid: wechat.appid, name: '第一个小程序' }])
  await now.getByRole('button', { name: '同步模板' }).click()
  await now.getByText('微信那边还没有模板').waitFor()
  await picture(page, '4-none')
  const { template_id } = await sandbox('POST', '/templates', { appid: wechat.appid, tid: '5033', kids: [1, 2, 3] })
  await now.getByRole('button', { name: '同步模板' }).click()

  // What the page gives is what mp.weixin.qq.com asks for; its check turns the page green.
  await stepIs('接收消息推送')
  expect((await v1(`/apps/${wechat.appid}/templates`)).items).toMatchObject([{ template_id }])
  await now.getByRole('button', { name: '生成配置' }).click()
  await now.getByText('等待微信验证').waitFor()
  await picture(page, '5-callback')
  const values = now.locator('dt')
  const value = (name: string) => values.filter({ hasText: name }).locator('xpath=following-sibling::dd[1]').locator('code').innerText()
  const push = { url: await value('URL'), token: await value('Token'), encoding_aes_key: await value('EncodingAESKey'), mode: 'secure', format: 'xml' }
  for (const text of Object.values(push).slice(0, 3)) expect(await copied(page, `复制 ${text}`)).toBe(text)
  expect(push.url).toBe(`${run.api}/callback/${wechat.appid}`)
  await sandbox('PUT', `/apps/${wechat.appid}/push`, push)
  await page.getByRole('status').getByText('微信已验证').waitFor()
  await picture(page, '6-green')
  await now.getByRole('button', { name: '下一步' }).click()

  // Nobody accepted yet; somebody does, and WeChat's push brings them to the page.
  await stepIs('发送第一条消息')
  await now.getByText('还没有用户授权').waitFor()
  const { openids } = await sandbox('POST', '/users', { appid: wechat.appid, count: 1 })
  await sandbox('POST', '/taps', { appid: wechat.appid, openid: openids[0], template_ids: [template_id] })
  await now.getByText(openids[0]).waitFor()
  await picture(page, '7-message')
  await now.getByRole('button', { name: '发送', exact: true }).dblclick()
  await now.getByRole('status').getByText('已送达').waitFor()
  await picture(page, '8-sent')
  const { items } = await sandbox('GET', `/outbox?appid=${wechat.appid}`)
  expect(items).toMatchObject([{ openid: openids[0], template_id }])
  expect((await v1(`/messages?app=${wechat.appid}`)).items).toMatchObject([{ status: 'delivered' }])
  await now.getByRole('button', { name: '下一步' }).click()
  await stepIs('完成')
  await now.getByRole('link', { name: '创建 API 密钥，接到你的后端' }).waitFor()
  await picture(page, '9-done')

  // It is all on the server: whoever comes back finds it done.
  await page.reload()
  await settled(page)
  await stepIs('完成')
  expect(await page.getByText('已完成').count()).toBe(4)
}, 240_000)

test('the link works once', async () => {
  const page = await visitor()
  await page.goto(run.link)
  await page.getByRole('alert').getByText('该链接已使用').waitFor()
  expect(await page.locator('input').count()).toBe(0)
  await picture(page, 'link-again')
  expect((await v1('/members')).items).toHaveLength(1)
  // And the password that was chosen still stands.
  await page.goto('/console/sign-in')
  await page.getByLabel('用户名').fill('鸿雁')
  await page.getByLabel('密码').fill('a long password')
  await page.getByRole('button', { name: '登录' }).click()
  await page.locator('main#main').waitFor()
})
