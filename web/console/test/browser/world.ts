// What the specs share: a demo server with its sandbox, a browser, somebody who is signed in.
// A page fails its spec if it throws, logs an error, or is stopped by its content policy.
import axe from 'axe-core'
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'

type Demo = {
  api: string
  console: string
  console_name: string
  console_password: string
  sandbox: string
  appid: string
  appsecret: string
  api_key: string
  template_ids: string[]
  openids: string[]
  example: Record<string, unknown>
}

export const demo: Demo = JSON.parse(process.env.HONGYAN_DEMO ?? 'null')
if (!demo) throw new Error('HONGYAN_DEMO is not set: run these by `go test ./web/console`')

let browser: Browser
const contexts: BrowserContext[] = []
const complaints: string[] = []

beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: process.env.HONGYAN_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--js-flags=--expose-gc'],
  })
})
afterEach(async () => {
  await Promise.all(contexts.splice(0).map((c) => c.close()))
  expect(complaints.splice(0)).toEqual([])
})
afterAll(() => browser.close())

export type Look = { language?: 'zh' | 'en'; theme?: 'light' | 'dark'; narrow?: boolean; name?: string; password?: string; options?: BrowserContextOptions }

/** A page of the console for somebody who is not signed in. */
export async function stranger(look: Look = {}): Promise<Page> {
  const context = await browser.newContext({
    baseURL: demo.api,
    locale: look.language === 'en' ? 'en-GB' : 'zh-CN',
    timezoneId: 'Asia/Shanghai',
    colorScheme: look.theme ?? 'light',
    viewport: look.narrow ? { width: 390, height: 844 } : { width: 1280, height: 800 },
    acceptDownloads: true,
    reducedMotion: 'reduce',
    ...look.options,
  })
  contexts.push(context)
  context.setDefaultTimeout(15_000)
  const page = await context.newPage()
  page.on('pageerror', (e) => complaints.push(`${page.url()}: ${e.message}`))
  page.on('console', (m) => {
    // A refusal is an answer; the browser reports it all the same.
    if (m.type() === 'error' && !m.text().startsWith('Failed to load resource')) complaints.push(`${page.url()}: ${m.text()}`)
  })
  return page
}

/** A page of the console for a member, by default the demo's owner. */
export async function member(look: Look = {}): Promise<Page> {
  const page = await stranger(look)
  await page.goto('/console/sign-in')
  await signIn(page, look.name ?? demo.console_name, look.password ?? demo.console_password)
  return page
}

export async function signIn(page: Page, name: string, password: string) {
  await page.locator('#name').fill(name)
  await page.locator('#password').fill(password)
  await page.locator('button[type=submit]').click()
  await page.locator('main#main').waitFor()
}

/** Waits until nothing is being read any more. */
export async function settled(page: Page) {
  await page.waitForFunction(() => !document.querySelector('.el-skeleton, .el-loading-mask, .is-loading'))
  await page.evaluate(() => document.fonts.ready)
}

/** A call of the sandbox's control surface. */
export function sandbox<T = any>(method: string, path: string, body?: unknown): Promise<T> {
  return call(method, `${demo.sandbox}/_sandbox${path}`, body)
}

/** A call of the API with the demo's key. */
export function v1<T = any>(method: string, path: string, body?: unknown): Promise<T> {
  return call(method, `${demo.api}/v1${path}`, body, { Authorization: `Bearer ${demo.api_key}` })
}

export async function call<T>(method: string, url: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  const r = await fetch(url, { method, headers: { 'Content-Type': 'application/json', ...headers }, body: body === undefined ? undefined : JSON.stringify(body) })
  const text = await r.text()
  if (!r.ok) throw new Error(`${method} ${url}: ${r.status} ${text}`)
  return (text ? JSON.parse(text) : undefined) as T
}

export type Fresh = { appid: string; secret: string; template: string; users: string[] }

/** An app of a spec's own, at the sandbox and, unless told otherwise, at the server. */
export async function newApp(name: string, users = 1, here = true): Promise<Fresh> {
  const app = await sandbox('POST', '/apps', {})
  const t = await sandbox('POST', '/templates', { appid: app.appid, tid: '5033', kids: [1, 2, 3] })
  const u = await sandbox('POST', '/users', { appid: app.appid, count: users })
  if (here) {
    await v1('POST', '/apps', { appid: app.appid, secret: app.secret, name, settings: { history: 'new' } })
    await v1('POST', `/apps/${app.appid}/templates/sync`)
  }
  return { appid: app.appid, secret: app.secret, template: t.template_id, users: u.openids }
}

/** Reads until what is wanted is there; pages and pushes take their time. */
export async function eventually<T>(read: () => Promise<T>, wanted: (v: T) => boolean, what: string, ms = 20_000): Promise<T> {
  const end = Date.now() + ms
  for (;;) {
    const v = await read()
    if (wanted(v)) return v
    if (Date.now() > end) throw new Error(`${what}: still ${JSON.stringify(v)}`)
    await new Promise((r) => setTimeout(r, 200))
  }
}

/** What axe finds serious. */
export async function findings(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate(() => (window as any).axe.run(document, { resultTypes: ['violations'] }))
  return violations
    .filter((v: any) => v.impact === 'serious' || v.impact === 'critical')
    .flatMap((v: any) => v.nodes.map((n: any) => `${v.id}: ${n.target.join(' ')}: ${n.failureSummary?.split('\n')[1]?.trim()}`))
}

/** Has the sandbox push an app's events to the server, as WeChat does once that is set up. */
export async function receives(app: Fresh) {
  const keys = await v1<{ path: string; token: string; encoding_aes_key: string }>('PUT', `/apps/${app.appid}/callback`, {})
  await sandbox('PUT', `/apps/${app.appid}/push`, { url: demo.api + keys.path, token: keys.token, encoding_aes_key: keys.encoding_aes_key })
}

/** Users accept a template, and the server knows of it. */
export async function accepted(app: Fresh, openids: string[], times = 1) {
  await sandbox('POST', '/taps', { appid: app.appid, openids, template_ids: [app.template], times })
  await sandbox('POST', '/pushes/flush')
  for (const openid of openids) await eventually(() => grantOf(app, openid), (g) => g.available === times, `the grants of ${openid}`)
}

/** A user accepts and then refuses on a card, and the server knows of it. */
export async function refuses(app: Fresh, openid: string, template = app.template) {
  await sandbox('POST', '/taps', { appid: app.appid, openid, template_ids: [template] })
  await sandbox('POST', '/refuse', { appid: app.appid, openid, template_id: template, where: 'card' })
  await eventually(() => grantOf(app, openid, template), (g) => g.standing === 'reject' && g.available === 0, 'the refusal')
}

export type Grant = { standing: string; available: number; reserved: number; spent: number; voided: number }

/** The grants of one user, as the server counts them. */
export async function grantOf(app: Fresh, openid: string, template = app.template): Promise<Grant> {
  const { items } = await v1<{ items: (Grant & { template_id: string })[] }>('POST', `/apps/${app.appid}/grants/query`, { openids: [openid] })
  return items.find((g) => g.template_id === template) ?? { standing: 'none', available: 0, reserved: 0, spent: 0, voided: 0 }
}

/** The cards that phones of an app have got. */
export async function cardsOf(app: Fresh): Promise<{ openid: string; template_id: string; msgid: string; data: Record<string, { value: string }>; page: string }[]> {
  return (await sandbox('GET', `/outbox?appid=${app.appid}&limit=1000`)).items
}

/** Chooses in a list that opens. */
export async function choose(page: Page, label: string, option: string | RegExp) {
  await page.locator('.el-select').filter({ has: page.getByRole('combobox', { name: label, exact: true }) }).click()
  await page.getByRole('option', { name: option }).locator('visible=true').click()
}

/** A viewer who has followed the one-time link and chosen a password. */
export async function newMember(name: string, password: string): Promise<Page> {
  const { link } = await v1<{ link: string }>('POST', '/members', { name, role: 'viewer' })
  const page = await stranger()
  await page.goto(link)
  await page.locator('#password').fill(password)
  await page.locator('#again').fill(password)
  await page.locator('button[type=submit]').click()
  await page.locator('main#main').waitFor()
  return page
}
