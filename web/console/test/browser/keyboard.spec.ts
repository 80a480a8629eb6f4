// The keyboard alone: to sign in, to add an app, to send. Keys go to whatever has the focus, as
// they do for people, and whatever has it shows it.
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { demo, eventually, newApp, sandbox, stranger, v1 } from './world'

type Focus = { role: string; name: string }

/** What has the focus, in the words that it is announced by. */
function focused(page: Page): Promise<Focus> {
  return page.evaluate(() => {
    const e = document.activeElement as HTMLElement | null
    if (!e || e === document.body) return { role: '', name: '' }
    const by = (ids: string | null) => (ids ?? '').split(' ').map((id) => document.getElementById(id)?.innerText ?? '').join(' ')
    const labels = [...((e as HTMLInputElement).labels ?? [])].map((l) => l.innerText).join(' ')
    const name = e.getAttribute('aria-label') || by(e.getAttribute('aria-labelledby')).trim() || labels || e.innerText || ''
    const type = e.getAttribute('type') ?? ''
    const own: Record<string, string> = { A: 'link', BUTTON: 'button', SUMMARY: 'button', INPUT: ['checkbox', 'radio'].includes(type) ? type : 'textbox', TEXTAREA: 'textbox' }
    return { role: e.getAttribute('role') || own[e.tagName] || e.tagName.toLowerCase(), name: name.trim() }
  })
}

/** How the focused element and what surrounds it closely look now; kept for the look afterwards. */
async function look(page: Page, whose: 'focused' | 'left'): Promise<string> {
  return page.evaluate(async (whose) => {
    const w = window as any
    if (whose === 'focused') {
      w.looked = [document.activeElement]
      for (let i = 0; i < 3; i++) w.looked.push(w.looked.at(-1)?.parentElement)
      // A box that hides its input draws the ring beside it.
      w.looked.push(w.looked[0].nextElementSibling, ...(w.looked[0].labels?.[0]?.children ?? []))
    }
    const running = document.getAnimations().filter((a) => a instanceof CSSTransition)
    await Promise.all(running.map((a) => a.finished.catch(() => {})))
    return w.looked.filter((e: Element | null) => e?.isConnected).map((e: Element) => {
      const s = getComputedStyle(e)
      const outline = s.outlineStyle === 'none' || s.outlineWidth === '0px' ? 'none' : `${s.outlineStyle} ${s.outlineWidth} ${s.outlineColor}`
      return `${outline}, ${s.boxShadow}`
    }).join('; ')
  }, whose)
}

/** Presses Tab until this has the focus, and notes what on the way shows no focus. */
async function tabTo(page: Page, role: string, name: string | RegExp, hidden: string[] = []) {
  const passed: string[] = []
  const there = (f: Focus) => f.role === role && (typeof name === 'string' ? f.name === name : name.test(f.name))
  for (let i = 0; i < 100; i++) {
    const f = await focused(page)
    if (f.role && there(f)) return
    passed.push(`${f.role} “${f.name}”`)
    const before = f.role ? await look(page, 'focused') : ''
    await page.keyboard.press('Tab')
    const still = f.role && (await page.evaluate(() => (window as any).looked[0].isConnected))
    // The page itself, to which the skip link leads, is no control.
    if (still && f.role !== 'main' && before === (await look(page, 'left'))) hidden.push(`${f.role} “${f.name}”: ${before}`)
  }
  throw new Error(`Tab does not reach the ${role} ${name}; it passed ${passed.join(', ')}`)
}

/** Waits for something to be on the page, as people do before they go on. */
const seen = (page: Page, text: string) => page.locator('body').getByText(text).first().waitFor()

test('signing in, adding an app and sending take no mouse', async () => {
  const app = await newApp('', 1, false)
  const openid = app.users[0]!
  await sandbox('POST', '/taps', { appid: app.appid, openid, template_ids: [app.template] })
  const page = await stranger()
  const hidden: string[] = []
  const to = (role: string, name: string | RegExp) => tabTo(page, role, name, hidden)
  const keys = page.keyboard

  // The name has the focus from the beginning.
  await page.goto('/console/sign-in?next=/start?add=1')
  await page.locator('#name:focus').waitFor()
  await keys.type(demo.console_name)
  await to('textbox', '密码')
  await keys.type(demo.console_password)
  await keys.press('Enter')
  await seen(page, 'AppSecret 会先向微信验证')

  // Past the navigation by the link that only the keyboard shows.
  await to('link', /^跳到/)
  await keys.press('Enter')
  await page.locator('main:focus').waitFor()
  await to('textbox', /^AppID/)
  await keys.type(app.appid)
  await to('textbox', 'AppSecret')
  await keys.type(app.secret)
  await to('textbox', /^名称/)
  await keys.type('键盘')
  await to('checkbox', /^全新的小程序/)
  await keys.press('Space')
  await keys.press('Space')
  await to('button', '验证并添加')
  await keys.press('Enter')
  // The step that comes next takes the focus on.
  await page.locator('li[aria-current=step]').getByRole('heading', { name: '同步模板' }).waitFor()
  expect(await v1('GET', `/apps/${app.appid}`)).toMatchObject({ name: '键盘' })
  await page.locator('li[aria-current=step]:focus').waitFor()
  await keys.press('Tab')
  expect(await focused(page)).toEqual({ role: 'button', name: '同步模板' })
  await keys.press('Enter')
  await page.locator('li[aria-current=step]').getByRole('heading', { name: '接收消息推送' }).waitFor()

  // Sending: from the navigation, all fields typed.
  await to('link', '发送')
  await keys.press('Enter')
  await to('combobox', '模板')
  await keys.press('Enter')
  await keys.type('活动开始')
  await page.getByRole('option', { name: /活动开始提醒/ }).waitFor()
  await keys.press('ArrowDown')
  await keys.press('Enter')
  await page.locator('#recipient').waitFor()
  await to('textbox', '收信人')
  await keys.type(openid)
  for (const [label, value] of [['活动名称', '键盘大赛'], ['活动时间', '2027-03-23 19:30'], ['集合地点', '北门']]) {
    await to('textbox', label!)
    await keys.type(value!)
  }
  await seen(page, '内容符合规则')
  await to('button', '发送')
  await keys.press('Enter')
  await page.waitForURL(/\/console\/messages\/msg_/)

  const sent = await eventually(() => sandbox<{ items: any[] }>('GET', `/outbox?appid=${app.appid}`), (o) => o.items.length > 0, 'a card')
  expect(sent.items).toMatchObject([{ openid, template_id: app.template, data: { thing1: { value: '键盘大赛' }, thing3: { value: '北门' } } }])
  expect(hidden, 'what showed no focus').toEqual([])
}, 240_000)

test('a control that shows no focus is found', async () => {
  const page = await stranger()
  await page.goto('/console/sign-in')
  await page.locator('#name:focus').waitFor()
  await page.evaluate(() => {
    const sheet = new CSSStyleSheet()
    sheet.replaceSync('* { outline: none !important; box-shadow: none !important }')
    document.adoptedStyleSheets.push(sheet)
  })
  const hidden: string[] = []
  await tabTo(page, 'button', /English|语言/, hidden)
  expect(hidden.join('\n')).toMatch(/textbox “用户名”[^]*textbox “密码”/)
})
