/** JSON with indents; what is not JSON as it is. */
export function pretty(text: unknown): string {
  if (typeof text !== 'string') return JSON.stringify(text, null, 2)
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}
