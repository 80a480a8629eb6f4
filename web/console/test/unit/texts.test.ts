// Every text of the console stands in a table, in both languages, and nowhere else.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import type { Texts } from '../../src/i18n'

const src = join(import.meta.dirname, '../../src')
const han = /\p{Script=Han}/u
const files = (readdirSync(src, { recursive: true }) as string[]).filter((f) => /\.(vue|ts)$/.test(f))

const tables = Object.entries(import.meta.glob<{ default: Texts }>('../../src/texts/*.ts', { eager: true }))

// The name of the language in the language, and a word of the sandbox's own templates.
const asWritten = new Set(['chinese', 'orderWord'])

test('there are tables', () => expect(tables.length).toBeGreaterThan(8))

test.each(tables)('%s is whole', (_, { default: table }) => {
  for (const [key, pair] of Object.entries(table)) {
    expect(pair.length, key).toBe(2)
    const [zh, en] = pair
    expect(zh.trim(), key).not.toBe('')
    expect(en.trim(), key).not.toBe('')
    // Menus of WeChat's own, which has no English, stand in English texts as they are there.
    const count = (r: RegExp) => en.match(r)?.length ?? 0
    if (!asWritten.has(key)) expect(count(/[a-z]/gi), `${key}: English`).toBeGreaterThan(count(/\p{Script=Han}/gu) / 2)
    const names = (s: string) => [...new Set(s.match(/\{\w+\}/g))].sort().join()
    expect(names(zh).replace('{n}', ''), `${key}: what is filled in`).toBe(names(en).replace('{n}', ''))
  }
})

test('no text stands outside the tables', () => {
  const found: string[] = []
  for (const f of files) {
    if (f.startsWith('texts/') || f.startsWith('api/schema')) continue
    readFileSync(join(src, f), 'utf8').split('\n').forEach((line, i) => {
      const code = line.replace(/\/\/.*|<!--.*?-->|\/\*.*?\*\//g, '')
      const names = code.replaceAll('鸿雁 Hongyan', '').replaceAll("'中文'", '')
      if (han.test(names)) found.push(`${f}:${i + 1}: ${line.trim()}`)
    })
  }
  expect(found).toEqual([])
})
