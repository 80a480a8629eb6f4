import type { Texts } from '../i18n'

export default {
  held: ['等待授权', 'Held'],
  scheduled: ['已排期', 'Scheduled'],
  queued: ['排队中', 'Queued'],
  sending: ['发送中', 'Sending'],
  accepted: ['微信已接收', 'Accepted'],
  delivered: ['已送达', 'Delivered'],
  undelivered: ['未送达', 'Undelivered'],
  failed: ['失败', 'Failed'],
  uncertain: ['不确定', 'Uncertain'],
  canceled: ['已取消', 'Canceled'],
  expired: ['已过期', 'Expired'],
} satisfies Texts
