// The committed files: that they are what the sources give, small, and enough by themselves.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, mkdirSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import vm from 'node:vm'
import { transformSync } from 'esbuild'
import { afterAll, describe, expect, test } from 'vitest'
import { createFakeWx } from '../src/testing'
import { template } from './world'

const root = resolve(__dirname, '..')
const temp = mkdtempSync(join(tmpdir(), 'hongyan-sdk-'))
afterAll(() => rmSync(temp, { recursive: true, force: true }))

const read = (...path: string[]) => readFileSync(join(...path), 'utf8')

function files(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => join(e.parentPath, e.name).slice(dir.length))
    .sort()
}

test('dist and miniprogram_dist are what the sources give (make sdk)', () => {
  execFileSync(process.execPath, [join(root, 'build.mjs'), temp])
  for (const dir of ['dist', 'miniprogram_dist']) {
    expect(files(join(root, dir))).toEqual(files(join(temp, dir)))
    for (const f of files(join(temp, dir))) expect(read(root, dir, f), dir + f).toBe(read(temp, dir, f))
  }
})

test('the SDK has at most 8 KB minified', () => {
  const { code } = transformSync(read(root, 'miniprogram_dist/index.js'), { minify: true, format: 'cjs', charset: 'utf8', target: 'es2015' })
  expect(Buffer.byteLength(code)).toBeLessThanOrEqual(8192)
})

test('it is ES2015 without a runtime, and asks for nothing but wx', () => {
  const code = read(root, 'miniprogram_dist/index.js')
  expect(code).not.toMatch(/regenerator|\beval\b|new Function|\brequire\(|\bcrypto\b|\bprocess\b|\bwindow\b|\bglobalThis\b|\bconsole\b|__async/)
  const as = (target: string) => transformSync(code, { target, charset: 'utf8' }).code
  expect(as('es2015')).toBe(as('esnext'))
})

test('the lock file names no host but the public registry', () => {
  const hosts = Array.from(read(root, 'package-lock.json').matchAll(/"resolved": "https?:\/\/([^/"]+)/g), (m) => m[1])
  expect(new Set(hosts).size === 0 || new Set(hosts)).toSatisfy((h: any) => h === true || (h.size === 1 && h.has('registry.npmjs.org')))
  expect(JSON.parse(read(root, 'package.json')).dependencies).toBeUndefined()
})

describe('alone in a bare context', () => {
  function load() {
    const fake = createFakeWx({ scenes: [{ name: 'paid', templates: [template('A'), template('B')] }] })
    const { now: _now, setTimeout: _later, ...wx } = fake.wx // a phone has no clock for tests
    const timers: (() => void)[] = []
    const context = vm.createContext({ wx, exports: {}, setTimeout: (fn: () => void) => timers.push(fn) }, { codeGeneration: { strings: false, wasm: false } })
    vm.runInContext(read(root, 'miniprogram_dist/index.js'), context)
    context.push = vm.runInContext(`exports.createPush({ baseURL: 'https://push.test', appId: 'wx1' })`, context)
    return { fake, context, timers, run: (code: string) => vm.runInContext(code, context) }
  }

  test('a tap asks at once, and the choice reaches the server', async () => {
    const { fake, run } = load()
    await run('push.init()')
    const asked = fake.tap(() => {
      const p = run(`push.subscribe({ scene: 'paid' })`)
      expect(fake.dialogs).toEqual([['A', 'B']])
      return p
    })
    expect(JSON.parse(JSON.stringify(await asked))).toEqual({ ok: true, choices: { A: 'accept', B: 'accept' }, accepted: ['A', 'B'], rejected: [], left: [] })
    await fake.idle()
    expect(Object.values(fake.server.reports)).toMatchObject([{ template: 'A', choice: 'accept', silent: false }, { template: 'B' }])
    expect((Object.values(fake.server.reports)[0] as any).age_ms).toBeLessThan(60000)
  })

  test('after an await WeChat refuses, as on a phone', async () => {
    const { fake, run } = load()
    const r = await fake.tap(() => run(`Promise.resolve().then(() => push.subscribe(['A']))`))
    expect(r.error.code).toBe('no_gesture')
  })

  test('what found no network is repeated by a timer', async () => {
    const { fake, run, timers } = load()
    await run('push.init()')
    fake.offline = true
    await fake.tap(() => run(`push.subscribe(['A'])`))
    await fake.idle()
    fake.offline = false
    expect(timers.length).toBeGreaterThan(0)
    timers[timers.length - 1]()
    await fake.idle()
    expect(Object.keys(fake.server.reports)).toHaveLength(1)
  })
})

describe('types', () => {
  const sample = `
import { createPush, type Push, type Result } from '@hongyan/miniprogram'
import { createFakeWx } from '@hongyan/miniprogram/testing'

const push: Push = createPush({ baseURL: 'https://push.example.com', appId: 'wx1', adapter: wx, maxPerCall: 5 })
createPush({ baseURL: 'https://push.example.com', appId: 'wx1', adapter: createFakeWx().wx })
createPush({ baseURL: 'https://push.example.com', appId: 'wx1', getSession: () => Promise.resolve({ token: 't', expires_at: '2026-01-01T00:00:00Z' }) })
Page({
  onLoad() { void push.init() },
  onPay: push.tap({ scene: 'order_paid' }, function (e: WechatMiniprogram.TouchEvent, r: Result) { return e.type + r.accepted.length }),
  async onTap() {
    const { error, left } = await push.subscribe(['A'], { force: true })
    if (error) wx.showToast({ title: error.hint.zh })
    for (const { id, reason } of left) if (reason === 'limit') wx.showToast({ title: id })
  },
})
const off: () => void = push.on('dropped', (d) => d.report.template + d.reason)
off()
// @ts-expect-error four is no limit of WeChat
createPush({ baseURL: 'https://push.example.com', appId: 'wx1', maxPerCall: 4 })
// @ts-expect-error a scene is named
void push.subscribe('order_paid')
`
  const alone = `
import { createPush } from '@hongyan/miniprogram'
createPush({ baseURL: 'https://push.example.com', appId: 'wx1' }).init()
declare const wx: { anything: true }
`
  function compile(name: string, source: string, options: object): string {
    const dir = join(temp, name)
    mkdirSync(join(dir, 'node_modules/@hongyan'), { recursive: true })
    symlinkSync(root, join(dir, 'node_modules/@hongyan/miniprogram'))
    symlinkSync(join(root, 'node_modules/miniprogram-api-typings'), join(dir, 'node_modules/miniprogram-api-typings'))
    writeFileSync(join(dir, 'sample.ts'), source)
    const compilerOptions = { strict: true, noEmit: true, target: 'ES2020', lib: ['ES2020'], types: ['miniprogram-api-typings'], preserveSymlinks: true, ...options }
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['sample.ts'] }))
    try {
      execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', dir])
      return ''
    } catch (err: any) {
      return String(err.stdout)
    }
  }

  test.each([
    ['bundler', { module: 'ESNext', moduleResolution: 'bundler' }],
    ['node10', { module: 'CommonJS', moduleResolution: 'node10', skipLibCheck: true }],
    ['node16', { module: 'Node16', moduleResolution: 'Node16', skipLibCheck: true }],
  ])('a sample compiles beside miniprogram-api-typings (%s)', (name, options) => {
    expect(compile(name, sample, options)).toBe('')
  })

  test('and without any typings of WeChat', () => {
    expect(compile('alone', alone, { module: 'ESNext', moduleResolution: 'bundler', types: [] })).toBe('')
  })
})
