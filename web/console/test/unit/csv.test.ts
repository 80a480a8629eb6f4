import { describe, expect, it } from 'vitest'

import { csvText, decodeText, guessSeparator, parseTable } from '../../src/csv'

const cells = (text: string) => parseTable(text).map((r) => r.cells)

describe('parseTable', () => {
  it.each([
    ['commas and LF', 'a,b\n1,2\n', [['a', 'b'], ['1', '2']]],
    ['CRLF, no end', 'a,b\r\n1,2', [['a', 'b'], ['1', '2']]],
    ['CR alone', 'a,b\r1,2\r', [['a', 'b'], ['1', '2']]],
    ['a mark at the beginning', '\uFEFFopenid,x\n1,2', [['openid', 'x'], ['1', '2']]],
    ['quotes', 'a,"b, c","say ""hi"""\n', [['a', 'b, c', 'say "hi"']]],
    ['a line break in quotes', 'a,"b\nc"\nd,e', [['a', 'b\nc'], ['d', 'e']]],
    ['a quote inside a text', 'a,5" nail\n', [['a', '5" nail']]],
    ['tabs, as pasted', 'a\tb, c\n1\t2\n', [['a', 'b, c'], ['1', '2']]],
    ['semicolons', 'a;b,c;d\n', [['a', 'b,c', 'd']]],
    ['empty rows', 'a,b\n\n ,\n1,2\n\n', [['a', 'b'], ['1', '2']]],
    ['empty cells', 'a,,b\n', [['a', '', 'b']]],
    ['a row that ends in a separator', 'a,b,\n', [['a', 'b', '']]],
    ['a quoted empty cell', '"",b\n', [['', 'b']]],
    ['one column', 'a\nb\n', [['a'], ['b']]],
    ['a quote that does not end', 'a,"b\nc', [['a', 'b\nc']]],
    ['nothing', '', []],
  ])('reads %s', (_, text, want) => expect(cells(text)).toEqual(want))

  it('says in which line of the file a row begins', () => {
    expect(parseTable('h\n\n"a\r\nb"\r\nc\r\n').map((r) => r.line)).toEqual([1, 3, 5])
  })

  it('reads what csvText writes', () => {
    const rows = [['a', 'b,c', 'say "hi"', 'two\nlines'], ['', '中文', '-1', 'x']]
    expect(cells(csvText(rows))).toEqual(rows)
  })
})

it('disarms formulas', () => {
  expect(csvText([['=1+1', '-5', '@x']])).toContain("'=1+1,-5,'@x")
})

it('guesses by the first line that has a separator, outside of quotes', () => {
  expect(guessSeparator('"a,b,c";d\n1,2,3,4,5')).toBe(';')
  expect(guessSeparator('title\na;b')).toBe(';')
  expect(guessSeparator('a')).toBe(',')
})

describe('decodeText', () => {
  it('reads UTF-8', () => expect(decodeText(new TextEncoder().encode('订单'))).toBe('订单'))
  it('reads GBK', () => expect(decodeText(Uint8Array.from([0xb6, 0xa9, 0xb5, 0xa5, 0x2c, 0x31]))).toBe('订单,1'))
  it('reads UTF-16, which spreadsheets call Unicode text', () =>
    expect(decodeText(Uint8Array.from([0xff, 0xfe, 0xa2, 0x8b, 0x55, 0x53]))).toBe('订单'))
})
