// What strangers write stays text; what other sites do stays outside.
import { expect, test } from 'vitest'

import { places } from './places'
import { demo, member, newApp, sandbox, settled, stranger, v1 } from './world'

const script = `<img src=x onerror="window.hit=1"><script>window.hit=1</script>"'><svg/onload=hit=1>{{constructor.constructor('window.hit=1')()}}`

test('what others write stays text', async () => {
  const app = await newApp(script.slice(0, 90), 1)
  const openid = app.users[0]
  await sandbox('POST', '/taps', { appid: app.appid, openid, template_ids: [app.template], times: 3 })
  await sandbox('POST', '/faults', { appid: app.appid, path: '/cgi-bin/message/subscribe/send', errcode: 47003, errmsg: script, count: 1 })
  const bad = { app: app.appid, to: openid, template: app.template, on_no_grant: 'send', data: { thing1: script.slice(0, 20), time2: '2027-03-23 19:30', thing3: '<b>x</b>' }, tags: ['<b>tag</b>'], page: 'p?<script>=1' }
  const m = await v1<{ id: string }>('POST', '/messages', bad)
  await v1('PUT', `/apps/${app.appid}/templates/${app.template}/alias`, { alias: 'a' })
  const page = await member()
  const seen: string[] = []
  for (const p of [`/messages?app=${app.appid}`, `/messages/${m.id}`, `/users?app=${app.appid}`, `/users/${openid}?app=${app.appid}`, `/templates/${app.template}?app=${app.appid}`,
    `/apps/${app.appid}`, '/apps', '/', '/audit', `/send?app=${app.appid}`, '/phone', `/messages?app=${encodeURIComponent(script)}`, `/users/${encodeURIComponent(script)}?app=${app.appid}`, `/${encodeURIComponent(script)}`]) {
    await page.goto('/console' + p)
    await settled(page)
    seen.push(await page.locator('main').innerText())
    expect(await page.evaluate(() => (window as any).hit), p).toBeUndefined()
    expect(await page.locator('main img[src="x"], main script, main b').count(), p).toBe(0)
  }
  expect(seen.join('\n'), 'it is shown as it was written').toContain('<img src=x')
})

test('pages carry a policy that lets nothing else in', async () => {
  const page = await stranger()
  const answer = await page.goto('/console/')
  const h = answer!.headers()
  expect(h['content-security-policy']).toContain("default-src 'none'")
  expect(h['content-security-policy']).toContain("frame-ancestors 'none'")
  expect(h['content-security-policy']).not.toContain('unsafe-eval')
  expect(h['content-security-policy']).not.toMatch(/script-src[^;]*unsafe/)
  // The debugger may evaluate texts, a page's own timer may not; the refusal is no complaint here.
  page.removeAllListeners('console')
  expect(await page.evaluate(() => new Promise((done) => {
    document.addEventListener('securitypolicyviolation', (e) => done(e.violatedDirective))
    setTimeout('window.hit = 1', 0)
  }))).toBe('script-src')
  expect(await page.evaluate(() => (window as any).hit)).toBeUndefined()
})

test('another site can neither frame nor act', async () => {
  const page = await member()
  const cookies = await page.context().cookies()
  const session = cookies.find((c) => c.name === 'hongyan_session')!
  expect(session.httpOnly).toBe(true)
  expect(session.sameSite).toBe('Strict')
  // localhost is another site than 127.0.0.1.
  const evil = await page.context().newPage()
  await evil.route('http://localhost:1/**', (r) => r.fulfill({ contentType: 'text/html', body: `<iframe src="${demo.api}/console/"></iframe><form method=post action="${demo.api}/v1/apps/${demo.appid}/pause" enctype="text/plain"><input name='{"scope":"app","x":"' value='"}'></form>` }))
  await evil.goto('http://localhost:1/')
  const frame = evil.frames()[1]
  expect(await frame?.locator('#app').count()).toBeFalsy()
  const [answer] = await Promise.all([evil.waitForResponse((r) => r.url().endsWith('/pause')), evil.evaluate(() => document.forms[0]!.submit())])
  expect([401, 403, 415]).toContain(answer.status())
  expect((await v1<{ pauses: unknown[] }>('GET', `/apps/${demo.appid}`)).pauses).toEqual([])
})

test('every page says what it needs of the network: itself', async () => {
  const page = await member()
  const others: string[] = []
  page.on('request', (r) => {
    if (!r.url().startsWith(demo.api) && !r.url().startsWith('data:') && !r.url().startsWith('blob:')) others.push(r.url())
  })
  for (const p of await places()) {
    await page.goto('/console' + p.path)
    await settled(page)
  }
  expect(others).toEqual([])
})
