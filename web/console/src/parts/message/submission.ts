// What one would submit to send the same once more.
import type { Schemas } from '../../api'

export function submissionOf(m: Schemas['Message']): Record<string, unknown> {
  const s: Record<string, unknown> = { app: m.app, to: m.to, template: m.template, data: m.data ?? {} }
  if (m.page) s.page = m.page
  if (m.miniprogram_state !== 'formal') s.miniprogram_state = m.miniprogram_state
  if (m.lang !== 'zh_CN') s.lang = m.lang
  if (m.on_no_grant !== 'fail') s.on_no_grant = m.on_no_grant
  if (m.priority !== 'normal') s.priority = m.priority
  if (m.tags?.length) s.tags = m.tags
  if (m.metadata && Object.keys(m.metadata).length > 0) s.metadata = m.metadata
  return s
}
