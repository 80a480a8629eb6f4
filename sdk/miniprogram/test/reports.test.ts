import { describe, expect, test } from 'vitest'
import { createFakeWx } from '../src/testing'
import { day, tapped, world, type World } from './world'

const key = 'hongyan:wx1:reports'
const waiting = (w: World): any[] => w.fake.storage[key] || []
const grants = '/mp/v1/grants'

/** Lets n choices wait for a network. */
async function waits(w: World, n: number): Promise<void> {
  w.fake.offline = true
  for (let i = 0; i < n; i++) await tapped(w, () => w.push.subscribe(['T' + i]))
  w.fake.offline = false
}

describe('on the way', () => {
  test('a choice is in storage before it is posted and leaves it when it was taken', async () => {
    const w = world()
    const request = w.fake.wx.request
    const seen: any[][] = []
    w.fake.wx.request = (o: any) => {
      seen.push(waiting(w))
      request(o)
    }
    w.fake.answers.B = 'reject'
    await tapped(w, () => w.push.subscribe(['A', 'B']))
    expect(seen[0].map((r) => [r.template, r.choice])).toEqual([['A', 'accept'], ['B', 'reject']])
    expect(waiting(w)).toEqual([])
    expect(w.reported.flat().map((r) => r.counted)).toEqual([1, 0])
  })

  test('ids are new for every choice and at most 64 characters', async () => {
    const w = world()
    for (let i = 0; i < 20; i++) await tapped(w, () => w.push.subscribe(['A', 'B']))
    const ids = Object.keys(w.fake.server.reports)
    expect(ids).toHaveLength(40)
    for (const id of ids) expect(id).toMatch(/^[a-z0-9-]{24,64}$/)
  })

  test('a lost answer is repeated with the same id and counts once', async () => {
    const w = world()
    w.fake.faults[grants] = ['lost']
    await tapped(w, () => w.push.subscribe(['A']))
    expect(waiting(w)).toHaveLength(1)
    await w.push.flush()
    expect(w.posts()).toHaveLength(2)
    expect(w.posts()[0][0].id).toBe(w.posts()[1][0].id)
    expect(waiting(w)).toEqual([])
    expect(w.reported.flat().map((r) => r.counted)).toEqual([0])
  })

  test('the next start posts what waits', async () => {
    const w = world()
    await waits(w, 2)
    const again = w.restart()
    await again.push.init()
    expect(Object.keys(w.fake.server.reports)).toHaveLength(2)
    expect(waiting(w)).toEqual([])
  })

  test('so does coming to the front', async () => {
    const w = world()
    await w.push.init()
    await waits(w, 1)
    w.fake.show()
    await w.fake.idle()
    expect(waiting(w)).toEqual([])
  })

  test('waits grow from two seconds to five minutes, and end with the first success', async () => {
    const w = world()
    await w.push.init()
    await waits(w, 1)
    w.fake.offline = true
    const tries = () => w.fake.requests.length
    const before = tries()
    await w.fake.advance(999)
    expect(tries()).toBe(before)
    await w.fake.advance(3 * 3600000)
    const within = tries() - before
    expect(within).toBeGreaterThan(3 * 3600 / 450)
    expect(within).toBeLessThan(3 * 3600 / 150 + 12)
    w.fake.offline = false
    await w.fake.advance(450000)
    expect(waiting(w)).toEqual([])
    const after = tries()
    await w.fake.advance(day)
    expect(tries()).toBe(after)
    w.fake.server.sessions = {} // a day is longer than the session
    await waits(w, 1)
    await w.fake.advance(3000)
    expect(waiting(w)).toEqual([])
  })

  test('a flush that succeeds ends the wait for another', async () => {
    const w = world()
    await waits(w, 1)
    await w.push.flush()
    expect(waiting(w)).toEqual([])
    const tries = w.fake.requests.length
    await w.fake.advance(day)
    expect(w.fake.requests.length).toBe(tries)
  })

  test.each([408, 500, 502, 503])('%i keeps the report', async (statusCode) => {
    const w = world()
    w.fake.faults[grants] = [{ statusCode, data: '<html>' }]
    await tapped(w, () => w.push.subscribe(['A']))
    expect(waiting(w)).toHaveLength(1)
    expect(w.errors.map((e) => e.status)).toEqual([statusCode])
    await w.fake.advance(3000)
    expect(waiting(w)).toEqual([])
    expect(w.dropped).toEqual([])
  })

  test('200 that is not the server does not count', async () => {
    const w = world()
    w.fake.faults[grants] = [{ statusCode: 200, data: '<html>please log in to the Wi-Fi' }]
    await tapped(w, () => w.push.subscribe(['A']))
    expect(waiting(w)).toHaveLength(1)
  })

  test('429 is obeyed by timers, taps and flush', async () => {
    const w = world()
    w.fake.faults[grants] = [{ statusCode: 429, header: { 'retry-after': '600' } }]
    await tapped(w, () => w.push.subscribe(['A']))
    const before = w.fake.requests.length
    await w.push.flush()
    await tapped(w, () => w.push.subscribe(['B']))
    await w.fake.advance(599999)
    expect(w.fake.requests.length).toBe(before)
    expect(waiting(w)).toHaveLength(2)
    await w.fake.advance(1)
    expect(waiting(w)).toEqual([])
  })

  test('a refused report is dropped and the others go on', async () => {
    const w = world()
    w.fake.answers = { A: 'accept', B: 'surprise', C: 'accept' }
    await tapped(w, () => w.push.subscribe(['A', 'B', 'C']))
    expect(w.dropped).toMatchObject([{ reason: 'refused', report: { template: 'B' }, error: { status: 422, code: 'invalid_request' } }])
    expect(Object.values(w.fake.server.reports).map((r: any) => r.template)).toEqual(['A', 'C'])
    expect(waiting(w)).toEqual([])
  })

  test('where the server names none, they go one by one until it is found', async () => {
    const w = world()
    const bad = { statusCode: 400, data: { code: 'invalid_request' } }
    w.fake.faults[grants] = [bad, { statusCode: 422, data: { code: 'template_not_found', detail: 'No such template.' } }]
    await tapped(w, () => w.push.subscribe(['A', 'B', 'C']))
    expect(w.posts().map((p) => p.length)).toEqual([3, 1, 2])
    expect(w.dropped).toMatchObject([{ reason: 'refused', report: { template: 'A' }, error: { code: 'template_not_found', message: 'No such template.' } }])
    expect(waiting(w)).toEqual([])
  })

  test.each([403, 404, 405])('%i is about the app or the address: nothing is dropped', async (statusCode) => {
    const w = world()
    w.fake.faults[grants] = [{ statusCode }]
    await tapped(w, () => w.push.subscribe(['A']))
    expect(w.dropped).toEqual([])
    expect(waiting(w)).toHaveLength(1)
    await w.fake.advance(3000)
    expect(waiting(w)).toEqual([])
  })

  test('posts hold 50 at most', async () => {
    const w = world()
    await waits(w, 120)
    await w.push.flush()
    expect(w.posts().slice(-3).map((p) => p.length)).toEqual([50, 50, 20])
    expect(Object.keys(w.fake.server.reports)).toHaveLength(120)
  })

  test('200 are kept; the oldest goes with an event', async () => {
    const w = world()
    await waits(w, 202)
    expect(w.dropped.map((d) => [d.reason, d.report.template])).toEqual([['full', 'T0'], ['full', 'T1']])
    expect(waiting(w)).toHaveLength(200)
    expect(waiting(w)[0].template).toBe('T2')
  })

  test('after 30 days a report is dropped', async () => {
    const w = world()
    await waits(w, 1)
    w.fake.now += 30 * day
    await waits(w, 1)
    w.fake.now += 1
    await w.push.flush()
    expect(w.dropped.map((d) => [d.reason, d.report.template])).toEqual([['expired', 'T0']])
    expect(w.posts()[w.posts().length - 1]).toHaveLength(1)
    expect(waiting(w)).toEqual([])
  })

  test.each(['grants', 'scenes'])('a choice that comes while %s are under way is posted after it', async (path) => {
    const w = world()
    const request = w.fake.wx.request
    let second: Promise<unknown> | undefined
    w.fake.wx.request = (o: any) => {
      if (!second && o.url.endsWith(path)) second = w.fake.tap(() => w.push.subscribe(['B']))
      request(o)
    }
    await tapped(w, () => w.push.subscribe(['A']))
    await second
    await w.fake.idle()
    expect(Object.values(w.fake.server.reports).map((r: any) => r.template)).toEqual(['A', 'B'])
    expect(waiting(w)).toEqual([])
  })

  test('full storage is an event; the report is still posted', async () => {
    const w = world()
    w.fake.storageFull = true
    await tapped(w, () => w.push.subscribe(['A']))
    expect(w.errors.map((e) => e.code)).toContain('storage')
    expect(Object.keys(w.fake.server.reports)).toHaveLength(1)
  })
})

describe('what a report says', () => {
  test('its age is the time since the tap on the phone, never negative', async () => {
    const w = world()
    w.fake.manual = true
    const asking = w.fake.tap(() => w.push.subscribe(['A']))
    w.fake.now += 1500
    w.fake.close()
    await asking
    await w.fake.idle()
    expect(w.posts()[0][0].age_ms).toBe(1500)
    w.fake.manual = false
    w.fake.offline = true
    await tapped(w, () => w.push.subscribe(['A']))
    w.fake.offline = false
    w.fake.now -= day
    await w.push.flush()
    expect(w.posts()[w.posts().length - 1][0].age_ms).toBe(0)
  })

  test('silent: true, false, and left out while it is not known', async () => {
    const w = world()
    const silent = async () => {
      await tapped(w, () => w.push.subscribe(['A']))
      const posts = w.posts()
      return posts[posts.length - 1][0].silent
    }
    expect(await silent()).toBeUndefined() // never read
    expect(await silent()).toBe(false) // read after the tap before
    w.fake.always.A = 'accept' // ticked in the dialog that comes now
    expect(await silent()).toBe(false)
    expect(await silent()).toBe(true)
    w.fake.tellsSubscriptions = false
    await w.push.init()
    expect(await silent()).toBeUndefined()
  })

  test('a read of the settings that a tap overtook is not believed', async () => {
    const w = world()
    const getSetting = w.fake.wx.getSetting
    let release!: () => void
    w.fake.wx.getSetting = (o: any) => {
      release = () => getSetting(o)
    }
    void w.push.init()
    await w.fake.idle()
    const overtaken = release
    w.fake.manual = true
    const asking = w.fake.tap(() => w.push.subscribe(['A']))
    w.fake.close()
    await asking
    overtaken()
    await w.fake.idle()
    w.fake.manual = false
    await tapped(w, () => w.push.subscribe(['A']))
    expect(waiting(w).concat(w.posts().flat()).map((r) => r.silent)).toEqual([undefined, undefined])
  })
})

describe('the session', () => {
  const logins = (w: World) => w.fake.requests.filter((r) => r.path === '/mp/v1/session').length

  test('is kept over a restart and renewed when it ends', async () => {
    const w = world()
    await w.push.init()
    expect(w.fake.requests[0]).toMatchObject({ method: 'POST', path: '/mp/v1/session', data: { appid: 'wx1', code: 'code-1' } })
    await w.restart().push.init()
    expect(logins(w)).toBe(1)
    w.fake.now += 7200000
    await w.restart().push.init()
    expect(logins(w)).toBe(2)
  })

  test('is renewed once on 401, and the call repeated', async () => {
    const w = world()
    await w.push.init()
    w.fake.server.sessions = {}
    await tapped(w, () => w.push.subscribe(['A']))
    expect(logins(w)).toBe(2)
    expect(Object.keys(w.fake.server.reports)).toHaveLength(1)
    expect(w.errors).toEqual([])
  })

  test('401 twice keeps the report', async () => {
    const w = world()
    w.fake.faults[grants] = [{ statusCode: 401 }, { statusCode: 401 }]
    await tapped(w, () => w.push.subscribe(['A']))
    expect(waiting(w)).toHaveLength(1)
    expect(w.errors).toMatchObject([{ status: 401 }])
  })

  test('a login that fails drops nothing', async () => {
    const w = world()
    w.fake.faults['/mp/v1/session'] = [{ statusCode: 422, data: { code: 'invalid_login_code', detail: 'This code was used.' } }]
    await tapped(w, () => w.push.subscribe(['A']))
    expect(w.errors).toMatchObject([{ code: 'login_failed', message: 'This code was used.' }])
    expect(w.dropped).toEqual([])
    w.fake.faults.login = ['offline']
    await w.push.flush()
    expect(waiting(w)).toHaveLength(1)
    await w.push.flush()
    expect(waiting(w)).toEqual([])
  })

  test('the back end can vouch; wx.login is then never called', async () => {
    let given = 0
    const fake = createFakeWx()
    fake.wx.login = () => {
      throw new Error('wx.login was called')
    }
    const w = world({}, {
      adapter: fake.wx,
      getSession: () => {
        const token = 'own-' + ++given
        fake.server.sessions[token] = true
        return Promise.resolve({ token, expires_at: new Date(fake.now + 3600000).toISOString() })
      },
    })
    await w.push.init()
    await w.push.flush()
    expect(given).toBe(1)
    expect(fake.requests[0].header.authorization).toBe('Bearer own-1')
    fake.server.sessions = {}
    await w.push.flush()
    expect(given).toBe(2)
    fake.now += 3600000
    await w.push.flush()
    expect(given).toBe(3)
    expect(w.errors).toEqual([])
  })

  test('a back end that fails or throws is an event', async () => {
    const w = world({}, {
      getSession: () => {
        throw new Error('not signed in')
      },
    })
    await w.push.init()
    expect(w.errors).toMatchObject([{ code: 'login_failed', message: 'not signed in' }])
  })
})
