// Tables as people have them: CSV of any program, or cells pasted from a spreadsheet.

/** The text of a file. Spreadsheet programs in China save GBK; GB 18030 contains it. */
export function decodeText(bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return new TextDecoder('gb18030').decode(bytes)
  }
}

/** What stands between the cells of the first line: pasted cells have tabs, and may have commas in them. */
export function guessSeparator(text: string): string {
  let quoted = false
  const seen = { '\t': 0, ',': 0, ';': 0 }
  for (const c of text) {
    if (c === '"') quoted = !quoted
    else if (!quoted && (c === '\n' || c === '\r')) {
      if (seen['\t'] + seen[','] + seen[';'] > 0) break
    } else if (!quoted && c in seen) seen[c as ',']++
  }
  if (seen['\t'] > 0) return '\t'
  return seen[';'] > seen[','] ? ';' : ','
}

/** A row and the line of the file that it begins in. */
export type Line = { line: number; cells: string[] }

/** Reads a table. Rows without any text are left out; cells lose the spaces around them. */
export function parseTable(text: string, separator = guessSeparator(text)): Line[] {
  const s = text.replace(/^\uFEFF/, '')
  const rows: Line[] = []
  let cells: string[] = []
  let cell = ''
  let at = 1 // the line being read
  let begun = 1 // the line the row began in
  let quoted = false
  const endCell = () => {
    cells.push(cell.trim())
    cell = ''
  }
  const endRow = () => {
    endCell()
    if (cells.some((c) => c !== '')) rows.push({ line: begun, cells })
    cells = []
    begun = at
  }
  for (let i = 0; i < s.length; i++) {
    const c = s[i]
    if (c === '\n' || (c === '\r' && s[i + 1] !== '\n')) at++
    if (quoted) {
      if (c !== '"') cell += c
      else if (s[i + 1] === '"') cell += s[i++]
      else quoted = false
    } else if (c === '"' && cell.trim() === '') {
      quoted = true
      cell = ''
    } else if (c === separator) endCell()
    else if (c === '\n' || (c === '\r' && s[i + 1] !== '\n')) endRow()
    else if (c !== '\r') cell += c
  }
  if (cell !== '' || cells.length > 0) endRow()
  return rows
}

// A cell that a spreadsheet would take for a formula begins with an apostrophe.
function csvCell(s: string): string {
  if (/^[=+\-@\t\r]/.test(s) && !/^-?\d+(\.\d+)?$/.test(s)) s = `'${s}`
  return /[",\r\n]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s
}

/** A CSV that spreadsheet programs open as UTF-8, which the mark at its beginning tells them. */
export function csvText(rows: string[][]): string {
  return '\uFEFF' + rows.map((r) => r.map(csvCell).join(',')).join('\r\n') + '\r\n'
}

export function downloadText(name: string, text: string, type = 'text/csv;charset=utf-8') {
  const a = document.createElement('a')
  a.href = URL.createObjectURL(new Blob([text], { type }))
  a.download = name
  a.click()
  setTimeout(() => URL.revokeObjectURL(a.href), 1000)
}
