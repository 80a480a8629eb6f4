import { createPush, type Config, type Dropped, type Fault, type Reported, type Result } from '../src/index'
import { createFakeWx, type FakeOptions, type FakeWx } from '../src/testing'

export const day = 24 * 3600000

/** One template of a scene; by default one that is wanted once and not there. */
export function template(id: string, more: object = {}) {
  return { template_id: id, title: 'title of ' + id, kind: 'one_time', wanted: 1, available: 0, standing: 'unknown', ...more }
}

export interface World {
  fake: FakeWx
  push: ReturnType<typeof createPush>
  results: Result[]
  reported: Reported[][]
  dropped: Dropped[]
  errors: Fault[]
  /** What the server was sent in reports, one entry a post. */
  posts(): any[][]
  /** Another start of the mini program on the same phone. */
  restart(config?: Partial<Config>): World
}

export function world(options: FakeOptions = {}, config: Partial<Config> = {}): World {
  return start(createFakeWx(options), config)
}

function start(fake: FakeWx, config: Partial<Config>): World {
  const push = createPush({ baseURL: 'https://push.test/', appId: 'wx1', adapter: fake.wx, ...config })
  const w: World = {
    fake,
    push,
    results: [],
    reported: [],
    dropped: [],
    errors: [],
    posts: () => fake.requests.filter((r) => r.path === '/mp/v1/grants').map((r) => r.data.reports),
    restart: (again) => start(fake, { ...config, ...again }),
  }
  push.on('result', (r) => w.results.push(r))
  push.on('reported', (r) => w.reported.push(r))
  push.on('dropped', (d) => w.dropped.push(d))
  push.on('error', (e) => w.errors.push(e))
  return w
}

/** Taps and waits until everything that follows is done. */
export async function tapped<T>(w: World, fn: () => Promise<T>): Promise<T> {
  const r = await w.fake.tap(fn)
  await w.fake.idle()
  return r
}
