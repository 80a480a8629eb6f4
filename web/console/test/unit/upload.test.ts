import { describe, expect, it } from 'vitest'

import type { Template } from '../../src/templates'
import { dedupKey, isHeading, mapByPlace, mapColumns, peopleOf, rowsOf, uploadTag, type Common } from '../../src/upload'

const rule = { en: '', zh: '' }
const template = {
  app: 'wx1', template_id: 't1', title: '发货', kind: 'one_time', content: '', example: '', stale: false,
  keywords: [
    { key: 'thing1', type: 'thing', label: '商品名称', rule },
    { key: 'character_string2', type: 'character_string', label: '快递单号', rule },
  ],
} satisfies Template
const openid = 'o'.padEnd(28, 'A')
const common: Common = { app: 'wx1', template: 't1' }
const lines = (...rows: string[][]) => rows.map((cells, i) => ({ line: i + 2, cells }))

describe('mapColumns', () => {
  it('knows labels and keys', () => {
    expect(mapColumns(['OpenID', '快递单号', 'thing1', '备注'], template)).toEqual({
      to: 0, toKind: 'openid', page: { column: -1 }, fields: { thing1: { column: 2 }, character_string2: { column: 1 } },
    })
  })
  it('looks through case, spaces and marks', () => {
    const m = mapColumns([' 商品 名称：', 'Character_String2', '用户 ID', '页面路径'], template)
    expect(m).toMatchObject({ to: 2, toKind: 'user', page: { column: 3 }, fields: { thing1: { column: 0 }, character_string2: { column: 1 } } })
  })
  it('knows the headings of the blank table', () => {
    expect(mapColumns(['商品名称（thing1）'], template).fields.thing1).toEqual({ column: 0 })
  })
  it('gives no column to two fields', () => {
    const twins = { ...template, keywords: template.keywords.map((k) => ({ ...k, label: '备注' })) }
    const m = mapColumns(['备注', '备注'], twins)
    expect([m.fields.thing1.column, m.fields.character_string2.column]).toEqual([0, 1])
  })
  it('leaves open what it does not know', () => expect(mapColumns(['', 'x'], template).to).toBe(-1))
  it('gives a field its label before the usual words', () => {
    const paths = { ...template, keywords: [{ ...template.keywords[0], label: '页面' }] }
    expect(mapColumns(['页面'], paths)).toMatchObject({ page: { column: -1 }, fields: { thing1: { column: 0 } } })
  })
})

it('maps by place where there are no headings', () => {
  expect(isHeading([openid, '大衣'], template)).toBe(false)
  expect(isHeading(['用户', '商品'], template)).toBe(true)
  expect(mapByPlace(2, template, [openid])).toEqual({
    to: 0, toKind: 'openid', page: { column: -1 }, fields: { thing1: { column: 1 }, character_string2: { column: -1 } },
  })
  expect(mapByPlace(4, template, ['u-1'])).toMatchObject({ toKind: 'user', page: { column: 3 } })
})

describe('rowsOf', () => {
  const m = mapColumns(['openid', '商品名称', '快递单号'], template)

  it('makes submissions', () => {
    const [row] = rowsOf(lines([openid, '大衣', 'SF1']), { ...m, page: { column: -1, fixed: 'pages/order' } }, { ...common, tags: ['x'] })
    expect(row.submission).toMatchObject({ app: 'wx1', template: 't1', to: openid, data: { thing1: '大衣', character_string2: 'SF1' }, page: 'pages/order', tags: ['x'] })
    expect(row.trouble).toEqual([])
  })
  it('uses one text for all, and leaves out what has no source', () => {
    const fields = { thing1: { column: -1, fixed: '大衣' }, character_string2: { column: -1 } }
    const [row] = rowsOf(lines(['u1']), { ...m, toKind: 'user', fields }, common)
    expect(row.submission).toMatchObject({ to: { user: 'u1' }, data: { thing1: '大衣' } })
    expect(row.submission.data).not.toHaveProperty('character_string2')
  })
  it('finds rows without a recipient, and rounded numbers', () => {
    const rows = rowsOf(lines(['', '大衣', 'SF1'], [openid, '大衣', '2.02611E+15']), m, common)
    expect(rows.map((r) => r.trouble)).toEqual([[{ kind: 'noRecipient' }], [{ kind: 'scientific', value: '2.02611E+15' }]])
  })
  it('finds the same row twice, but not another text for the same person', () => {
    const rows = rowsOf(lines([openid, '大衣', 'SF1'], [openid, '大衣', 'SF2'], [openid, '大衣', 'SF1']), m, common)
    expect(rows.map((r) => r.trouble)).toEqual([[], [], [{ kind: 'twice', line: 2 }]])
    expect(peopleOf(rows)).toBe(1)
  })
})

describe('dedupKey', () => {
  const s = { ...common, to: openid, data: { thing1: 'a', character_string2: 'b' } }
  it('is the same for the same message, whatever upload it is in', () => {
    expect(dedupKey({ ...s, data: { character_string2: 'b', thing1: 'a' }, tags: ['other'] })).toBe(dedupKey(s))
  })
  it.each([
    ['another person', { ...s, to: openid + 'x' }],
    ['an id of ours', { ...s, to: { user: openid } }],
    ['another text', { ...s, data: { thing1: 'b', character_string2: 'a' } }],
    ['another time', { ...s, send_at: '2026-12-01T00:00:00Z' }],
  ])('differs for %s', (_, other) => expect(dedupKey(other)).not.toBe(dedupKey(s)))
  it('differs by the salt', () => expect(dedupKey(s, '1')).not.toBe(dedupKey(s)))
  it('hides the openid and fits', () => {
    expect(dedupKey(s)).not.toContain(openid)
    expect(dedupKey(s).length).toBeLessThanOrEqual(128)
  })
})

it('tags an upload by its time', () => expect(uploadTag(new Date(2026, 10, 7, 9, 5, 1))).toBe('upload-20261107-090501'))
