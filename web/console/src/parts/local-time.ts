// Between a time in the address (RFC 3339) and what <input type="datetime-local"> holds, the
// reader's own clock without a zone.

export function toLocal(iso: string): string {
  const at = new Date(iso)
  if (!iso || Number.isNaN(at.getTime())) return ''
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}

export function fromLocal(local: string): string {
  const at = new Date(local)
  return !local || Number.isNaN(at.getTime()) ? '' : at.toISOString()
}
